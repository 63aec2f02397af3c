// The balance of the dataset, which is also where labels are given, and the latest campaigns.

import { element, find } from "./dom.js";
import { CONDITIONS, SEVERITIES, conditionText, progress, severityText } from "./review.js";

function balanceRow(condition) {
  const cells = SEVERITIES.map((severity) => {
    const hidden = element("span", { className: "unseen" }, ` ${conditionText(condition)}: accept as this`);
    const cell = element("button", { className: `cell target ${severity}`, type: "button" }, element("b"), ` ${severityText(condition, severity)}`, hidden);
    Object.assign(cell.dataset, { condition, severity });
    return cell;
  });
  const parts = [...SEVERITIES, "unknown"].map((severity) => element("i", { className: severity }));
  const row = element("div", { className: "row" },
    element("div", { className: "head" }, element("span", {}, conditionText(condition)), element("span", { className: "waiting" }), element("b")),
    element("div", { className: "meter", ariaHidden: "true" }, ...parts),
    element("div", { className: "cells" }, ...cells));
  row.dataset.condition = condition;
  return row;
}

/** Mount the balance. */
export function mountBalance() {
  find("balance").append(...CONDITIONS.map(balanceRow));
  return {
    update: ({ balance, count, draft }) => {
      for (const cell of find("balance").querySelectorAll(".cell")) {
        cell.disabled = count === 0;
        cell.classList.toggle("drafted", cell.dataset.condition === draft);
      }
      if (balance === null) return;
      const most = Math.max(1, ...Object.values(balance.conditions).map((condition) => condition.accepted));
      for (const row of find("balance").children) {
        const { accepted, pending, severities } = balance.conditions[row.dataset.condition];
        row.querySelector(".head b").textContent = accepted;
        row.querySelector(".waiting").textContent = pending > 0 ? `${pending} waiting` : "";
        for (const part of row.querySelectorAll("i")) part.style.width = `${(100 * severities[part.className]) / most}%`;
        for (const cell of row.querySelectorAll(".cell")) cell.firstChild.textContent = severities[cell.dataset.severity];
      }
      find("total").textContent = `${balance.images.accepted} pictures, ${balance.variants} flipped`;
      for (const tab of document.querySelectorAll("#status input")) {
        tab.nextElementSibling.lastElementChild.textContent = balance.images[tab.value];
      }
    },
  };
}

/** Mount the campaigns. */
export function mountCampaigns() {
  let drawn = "";
  return {
    update: ({ campaigns }) => {
      const state = JSON.stringify(campaigns);
      if (campaigns === null || state === drawn) return;
      drawn = state;
      const items = campaigns.map((campaign) => {
        const { state, wanted, note, share } = progress(campaign);
        const bar = element("progress", { max: 1, value: share, ariaLabel: state });
        return element("li", {}, element("div", { className: "head" }, element("span", {}, state), element("span", { className: "waiting" }, note)), bar, element("p", {}, wanted));
      });
      const none = element("li", { className: "waiting" }, "None yet.");
      find("campaigns").replaceChildren(...(items.length > 0 ? items : [none]));
    },
  };
}
