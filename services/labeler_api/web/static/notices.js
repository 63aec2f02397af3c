// What the page tells: what was decided, what is on its way, and what went wrong.

import { element, find } from "./dom.js";

/** Mount the notices. */
export function mountNotices() {
  const problem = find("problem");
  const clear = () => {
    problem.hidden = true;
  };
  return {
    say: (text) => {
      find("said").textContent = text;
    },
    clear,
    /** Tell of a problem, with a button that helps if there is one: { text, act }. */
    complain: ({ code, message, advice = "" }, help = null) => {
      const told = message + advice;
      if (!problem.hidden && problem.dataset.told === told) return; // not to be read out again with every poll
      Object.assign(problem.dataset, { code, told });
      const buttons = help === null ? [] : [element("button", { className: "button", type: "button", onclick: help.act }, help.text)];
      problem.replaceChildren(
        element("span", {}, element("strong", {}, message), advice ? ` ${advice}` : ""),
        element("span", { className: "buttons" }, ...buttons, element("button", { className: "plain", type: "button", onclick: clear, ariaLabel: "Close" }, "×")),
      );
      problem.hidden = false;
    },
    /** Take back what is told under one of these codes. */
    clearIf: (codes) => {
      if (codes.includes(problem.dataset.code)) clear();
    },
    update: ({ sending, away }) => {
      const several = `${sending} ${sending === 1 ? "verdict" : "verdicts"}`;
      const text = away ? `${several} kept in this browser until the server answers.` : `Sending ${several} …`;
      document.body.classList.toggle("sending", sending > 0);
      find("sending").hidden = sending === 0;
      if (find("sending").textContent !== text) find("sending").textContent = text;
    },
  };
}
