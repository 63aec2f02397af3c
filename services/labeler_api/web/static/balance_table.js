// The balance as a table: by severity with what is still to come, or by skin tone.

import { element, find } from "./dom.js";
import { balanceRows, barShares, toneRows } from "./figures.js";
import { conditionText } from "./review.js";

// The Monk scale's colours, from 1 to 10, as skintone.google publishes them.
const MONK = ["#f6ede4", "#f3e7db", "#f7ead0", "#eadaba", "#d7bd96", "#a07e56", "#825c43", "#604134", "#3a312a", "#292420"];
const DEEPEST = 32; // per cent of the accent colour in the fullest cell: its number stays legible on it

const head = (...texts) => element("thead", {}, element("tr", {}, ...texts.map((text) => element("th", { scope: "col" }, text))));

function severityRow(row, rows) {
  const { parts, target } = barShares(row, rows);
  const meter = element("div", { className: "meter", ariaHidden: "true" }, ...parts.map(([severity, share]) => {
    const part = element("i", { className: severity });
    part.style.width = `${100 * share}%`;
    return part;
  }));
  const bar = element("div", { className: "bar-of" }, meter);
  if (target !== null) {
    const mark = element("i", { className: "mark" });
    mark.style.left = `${100 * target}%`;
    bar.append(mark);
  }
  const cells = row.cells.map(({ severity, now, coming }) =>
    element("td", { className: severity }, element("b", {}, String(now)), coming > 0 ? element("span", { className: "coming" }, ` +${coming}`) : ""));
  const all = element("td", { className: "all" }, element("b", {}, String(row.accepted)), row.target === null ? "" : ` / ${row.target}`);
  if (row.pending > 0) all.append(element("span", { className: "coming below" }, ` ${row.pending} waiting`));
  const made = element("tr", {}, element("th", { scope: "row" }, conditionText(row.condition), bar), all, ...cells, element("td", {}, String(row.ungraded)));
  made.dataset.condition = row.condition;
  return made;
}

function severityTable(rows) {
  return element("table", { className: "numbers" },
    head("Condition", "All", "Mild", "Moderate", "Severe", "Not graded"),
    element("tbody", {}, ...rows.map((row) => severityRow(row, rows))));
}

function toneTable(rows) {
  const swatches = MONK.map((colour, at) => {
    const swatch = element("i", { className: "swatch", ariaHidden: "true" });
    swatch.style.background = colour;
    return element("th", { scope: "col" }, swatch, element("span", { className: "unseen" }, "Monk "), String(at + 1));
  });
  const lines = rows.map(({ condition, cells }) => {
    const made = cells.map(({ count, share }) => {
      const cell = element("td", {}, String(count));
      if (count > 0) cell.style.background = `color-mix(in srgb, var(--accent) ${Math.round(4 + (DEEPEST - 4) * share)}%, var(--card))`;
      return cell;
    });
    const line = element("tr", {}, element("th", { scope: "row" }, conditionText(condition)), ...made);
    line.dataset.condition = condition;
    return line;
  });
  return element("table", { className: "numbers tones" },
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Condition"), ...swatches)),
    element("tbody", {}, ...lines));
}

/** Mount the balance, with its switch between severities and skin tones. */
export function mountBalanceTable() {
  let drawn = "";
  const draw = (dashboard) => {
    const split = document.querySelector("input[name=split]:checked").value;
    const rows = split === "tone" ? toneRows(dashboard) : balanceRows(dashboard);
    const state = JSON.stringify([split, rows]);
    if (state === drawn) return;
    drawn = state;
    find("balance").replaceChildren(split === "tone" ? toneTable(rows) : severityTable(rows));
  };
  let shown = null;
  find("split").addEventListener("change", () => shown !== null && draw(shown));
  return {
    update: (dashboard) => {
      shown = dashboard;
      draw(dashboard);
      const { images, variants } = dashboard.balance;
      const pictures = `${images.accepted} ${images.accepted === 1 ? "picture" : "pictures"} in the dataset, ${variants} augmented copies`;
      find("balance-total").textContent = `${pictures}, ${images.pending} waiting for a verdict.`;
    },
  };
}
