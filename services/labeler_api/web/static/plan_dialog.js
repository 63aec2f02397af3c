// A new rebalance: what it would generate and cost is seen first, and only that is started.

import * as api from "./api.js";
import { element, find } from "./dom.js";
import { durationText, planRows, samePlan, usdText } from "./figures.js";
import { newKey } from "./outbox.js";
import { CONDITIONS, conditionText } from "./review.js";

const fact = (name, text) => element("div", {}, element("dt", {}, name), element("dd", {}, text));

/** Ids of campaigns to be, one for each thing asked for: sent twice, as after an answer that was lost, it is started once. */
export function requestIds(newId) {
  const ids = new Map();
  return {
    of(asked) {
      const name = JSON.stringify(asked);
      if (!ids.has(name)) ids.set(name, newId());
      return ids.get(name);
    },
    started: () => ids.clear(),
  };
}

/** Mount the dialog. `started()` is called once a rebalance is under way. */
export function mountPlanDialog({ started }) {
  const dialog = find("plan");
  let shown = null; // the plan that is seen, with what was asked for
  const ids = requestIds(newKey);

  find("plan-conditions").append(...CONDITIONS.map((condition) =>
    element("label", {}, element("input", { type: "checkbox", name: "plan-condition", value: condition, checked: true }), ` ${conditionText(condition)}`)));

  const say = (text) => {
    find("plan-said").textContent = text;
  };

  function asked() {
    const conditions = [...document.querySelectorAll("input[name=plan-condition]:checked")].map(({ value }) => value);
    return { target_per_condition: find("plan-target").value, conditions };
  }

  function show(plan) {
    find("plan-shown").hidden = plan === null;
    if (plan === null) return;
    const rows = planRows(plan).map(({ condition, target, missing, mild, moderate, severe }) =>
      element("tr", {}, element("th", { scope: "row" }, conditionText(condition)),
        ...[target, missing, mild, moderate, severe].map((count) => element("td", {}, String(count)))));
    const heads = ["Condition", "Target", "Missing", "Mild", "Moderate", "Severe"].map((text) => element("th", { scope: "col" }, text));
    find("plan-rows").replaceChildren(element("table", { className: "numbers" },
      element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows)));
    find("plan-facts").replaceChildren(
      fact("Pictures", plan.total.toLocaleString("en")),
      fact("If each first one is accepted", usdText(plan.cost_usd)),
      fact(`At most, with ${plan.max_attempts} attempts`, usdText(plan.worst_cost_usd)),
      fact("Takes at least", plan.total === 0 ? "no time" : durationText(plan.duration_s)));
    find("plan-warnings").replaceChildren(...plan.warnings.map(({ message }) => element("li", {}, message)));
    find("plan-start").textContent = plan.total === 0 ? "Nothing is missing: train on what there is" : `Start, for at most ${usdText(plan.worst_cost_usd)}`;
  }

  function forget() {
    shown = null;
    show(null);
    say("");
  }

  /** Run what asks the server; what goes wrong is said in the dialog. */
  async function attempt(work) {
    find("plan-start").disabled = true;
    try {
      await work();
    } catch (error) {
      if (!(error instanceof api.ApiError)) throw error;
      say(`${error.message} ${error.advice ?? ""}`.trim());
    } finally {
      find("plan-start").disabled = false;
    }
  }

  find("plan-form").addEventListener("input", forget);
  find("plan-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (asked().conditions.length === 0) {
      say("Choose at least one condition.");
      return;
    }
    await attempt(async () => {
      const of = asked();
      shown = { of, plan: await api.plan(of) };
      say("");
      show(shown.plan);
    });
    if (shown !== null) find("plan-start").focus();
  });
  find("plan-start").addEventListener("click", () => attempt(async () => {
    const { of, plan } = shown;
    const now = await api.plan(of);
    if (!samePlan(plan, now)) {
      shown = { of, plan: now };
      show(now);
      say("The dataset has changed meanwhile. This is the plan now: look at it, and start again.");
      return;
    }
    const review = find("plan-review").value;
    await api.startRebalance({
      campaign_id: ids.of({ ...of, review }), // not of its price, which changes once it is under way
      target_per_condition: Number(of.target_per_condition),
      conditions: of.conditions,
      review,
      max_attempts: plan.max_attempts,
      max_cost_usd: plan.worst_cost_usd, // whatever changes before it starts: never more than was seen
    });
    ids.started();
    dialog.close();
    started();
  }));
  find("plan-close").addEventListener("click", () => dialog.close());
  find("plan-open").addEventListener("click", () => {
    forget();
    dialog.showModal();
    find("plan-target").focus();
  });
}
