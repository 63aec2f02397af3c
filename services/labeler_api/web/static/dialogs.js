// Two dialogs: why a picture is rejected, and the keys, which can be changed there.

import { element, find } from "./dom.js";
import { ACTIONS, keyText, keysOf, rebound } from "./keys.js";
import { REASONS } from "./verdicts.js";

const OTHER = String(REASONS.length + 1);

/** Mount the list of reasons. `choose(reason)` is told of what was chosen. */
export function mountReasons({ choose }) {
  const dialog = find("why");
  const text = find("why-text");
  const give = (reason) => {
    dialog.close();
    choose(reason);
  };
  const rows = REASONS.map((reason, at) =>
    element("button", { className: "button", type: "button", onclick: () => give(reason) }, element("kbd", {}, String(at + 1)), ` ${reason}`));
  const other = element("button", { className: "button", type: "button", onclick: () => text.focus() }, element("kbd", {}, OTHER), " other");
  find("why-list").append(...rows, other);
  find("why-form").addEventListener("submit", (event) => {
    event.preventDefault();
    give(text.value);
  });
  find("why-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.target === text || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const at = Number(event.key) - 1;
    if (at in REASONS) give(REASONS[at]);
    else if (event.key === OTHER) text.focus();
    else return;
    event.preventDefault();
  });
  return {
    ask: (count) => {
      text.value = "";
      find("why-title").textContent = count > 1 ? `Why are these ${count} rejected?` : "Why is it rejected?";
      dialog.showModal();
      rows[0].focus();
    },
  };
}

/** Mount the list of keys. `change(changed)` is told of what was changed. */
export function mountKeys({ change }) {
  const dialog = find("keys-dialog");
  let changed = {};
  let waiting = null; // name of the action whose key is asked for
  const textOf = (name) => ACTIONS.find((action) => action.name === name).text;
  const tell = (text) => {
    find("keys-said").textContent = text;
  };

  function draw() {
    const keys = keysOf(changed);
    const focused = document.activeElement?.dataset?.action;
    const rows = ACTIONS.map(({ name, text }) => {
      const button = element("button", { className: "button", type: "button", onclick: () => ask(name) }, waiting === name ? "Press a key …" : "Change", element("span", { className: "unseen" }, ` ${text}`));
      button.dataset.action = name;
      return element("tr", {}, element("th", { scope: "row" }, text), element("td", {}, ...keys.get(name).flatMap((key) => [element("kbd", {}, keyText(key)), " "])), element("td", {}, button));
    });
    find("keys-rows").replaceChildren(...rows);
    if (focused !== undefined) find("keys-rows").querySelector(`[data-action="${focused}"]`)?.focus();
  }

  function ask(name) {
    waiting = name;
    tell("Press the new key, or Escape to leave it as it is.");
    draw();
  }

  function set(next) {
    changed = next;
    change(changed);
    draw();
  }

  dialog.addEventListener("keydown", (event) => {
    if (waiting === null || ["Shift", "Control", "Alt", "Meta", "AltGraph"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    const name = waiting;
    waiting = null;
    if (event.key === "Escape") {
      tell("");
      draw();
      return;
    }
    const found = rebound(changed, name, event.key);
    if (found.changed) {
      tell(`${textOf(name)}: ${keyText(event.key)}`);
      set(found.changed);
    } else {
      tell(found.taken === "" ? "This key cannot be changed." : `This key is taken: ${textOf(found.taken).toLowerCase()}.`);
      draw();
    }
  });
  dialog.addEventListener("cancel", (event) => {
    if (waiting !== null) event.preventDefault();
  });
  dialog.addEventListener("close", () => {
    waiting = null;
    tell("");
  });
  find("keys-close").addEventListener("click", () => dialog.close());
  find("keys-reset").addEventListener("click", () => {
    tell("All keys are as they were at first.");
    set({});
  });
  return {
    open: () => dialog.showModal(),
    update: (now) => {
      changed = now;
      draw();
      // On the page the first key of each action stands beside what it does.
      const keys = keysOf(now);
      for (const shown of document.querySelectorAll("[data-keys]")) {
        shown.replaceChildren(...shown.dataset.keys.split(" ").flatMap((name) => keys.get(name).slice(0, 1)).flatMap((key) => [element("kbd", {}, keyText(key)), " "]));
      }
    },
  };
}
