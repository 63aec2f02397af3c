// The board: a column for each condition, a cell for each severity; the balance of the dataset, and where labels are given.

import { element, find } from "./dom.js";
import { CONDITIONS, SEVERITIES, cellTargets, conditionText, severityText } from "./review.js";

function cellOf(condition, severity) {
  const hidden = element("span", { className: "unseen" }, ` ${conditionText(condition)}: accept as this`);
  const word = element("span", { className: "word" }, ` ${severityText(condition, severity)}`);
  const cell = element("button", { className: `cell target ${severity}`, type: "button" }, element("b"), element("span", { className: "of" }), word, hidden);
  Object.assign(cell.dataset, { condition, severity });
  return cell;
}

function columnOf(condition) {
  const keys = element("span", { className: "key", ariaHidden: "true" });
  keys.dataset.keys = `condition:${condition}`;
  const head = element("div", { className: "head" }, keys, element("span", { className: "name" }, conditionText(condition).replace("rpig", "r\u00adpig")), element("span", { className: "waiting" }));
  const column = element("div", { className: "column", role: "group", ariaLabel: conditionText(condition) }, head, ...SEVERITIES.map((severity) => cellOf(condition, severity)));
  column.dataset.condition = condition;
  return column;
}

/** Mount the board. */
export function mountBoard() {
  find("balance").append(...CONDITIONS.map(columnOf));
  return {
    /** `count`: how many pictures are chosen; `draft`: the condition that is to be said of the current one. */
    update: ({ balance, campaigns, count, draft }) => {
      for (const target of document.querySelectorAll(".board .target")) target.disabled = count === 0;
      for (const column of find("balance").children) column.classList.toggle("drafted", column.dataset.condition === draft);
      if (balance === null) return;
      const targets = cellTargets(balance, campaigns ?? []);
      for (const column of find("balance").children) {
        const { condition } = column.dataset;
        const { accepted, pending, severities } = balance.conditions[condition];
        column.querySelector(".waiting").textContent = `${accepted} in all${pending > 0 ? `, ${pending} waiting` : ""}`;
        for (const cell of column.querySelectorAll(".cell")) {
          const { severity } = cell.dataset;
          const [there, target] = [severities[severity], targets[condition][severity]];
          cell.querySelector("b").textContent = there;
          cell.querySelector(".of").textContent = target === null ? "" : ` of ${target}`;
          cell.style.setProperty("--share", target === null ? 0 : Math.min(1, there / Math.max(1, target)));
          cell.classList.toggle("full", target !== null && there >= target);
        }
      }
      find("total").textContent = `${balance.images.accepted} pictures, ${balance.variants} flipped`;
      for (const tab of document.querySelectorAll("#status input")) {
        tab.nextElementSibling.lastElementChild.textContent = balance.images[tab.value];
      }
    },
  };
}
