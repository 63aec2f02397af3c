// Before and after: the last two models, how the gate decided, and by how much they differ.

import { element, find } from "./dom.js";
import { modelRows, percentText, pointsText } from "./figures.js";
import { conditionText } from "./review.js";

function line(text, before, after) {
  const change = pointsText(before, after);
  const kind = change.startsWith("+") ? "better" : change.startsWith("−") ? "worse" : "";
  return element("tr", {}, element("th", { scope: "row" }, text),
    element("td", {}, percentText(before)), element("td", {}, percentText(after)), element("td", { className: kind }, change));
}

/** Mount the comparison. */
export function mountModelsPanel() {
  let drawn = "";
  return {
    update: ({ models }) => {
      const state = JSON.stringify(models);
      if (state === drawn) return;
      drawn = state;
      const rows = modelRows(models);
      find("models-why").hidden = !rows?.after.reason;
      if (rows === null) {
        find("models-said").textContent = "No model yet.";
        find("models").replaceChildren();
        return;
      }
      const { after, before, same, overall, conditions } = rows;
      find("models-said").textContent = `${after.version} ${after.promoted ? "went live" : "was not promoted"}.`;
      find("models-why").textContent = after.reason;
      const title = before === null ? "Test pictures, in %." : same ? "On the same test pictures, in %." : "Each on the test pictures of its own time, in %.";
      const heads = ["", before?.version ?? "before", after.version, "points"].map((text, at) => element(at === 0 ? "td" : "th", at === 0 ? {} : { scope: "col" }, text));
      find("models").replaceChildren(element("div", { className: "scrolls", tabIndex: 0, role: "group", ariaLabel: "Both models' figures" },
        element("table", { className: "numbers" },
          element("caption", { className: "hint" }, title),
          element("thead", {}, element("tr", {}, ...heads)),
          element("tbody", {},
            ...overall.map((row) => line(row.text, row.before, row.after)),
            ...conditions.map((row) => line(conditionText(row.condition), row.before, row.after))))));
    },
  };
}
