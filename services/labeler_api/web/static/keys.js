// What each key asks for, and how a reviewer changes that. Pure: the page keeps what was changed.

import { CONDITIONS, SEVERITIES, conditionText } from "./review.js";

/** What can be done by key: a name, its keys unless changed, and what it does in words. */
export const ACTIONS = [
  { name: "accept", keys: ["Enter", "a"], text: "Accept as proposed" },
  ...SEVERITIES.map((severity, at) => ({ name: `severity:${severity}`, keys: ["qwe"[at]], text: `Accept as ${severity}` })),
  ...CONDITIONS.map((condition, at) => ({ name: `condition:${condition}`, keys: [String(at + 1)], text: `It shows ${conditionText(condition).toLowerCase()}` })),
  { name: "why", keys: ["Backspace"], text: "Reject, with a reason from a list" },
  { name: "reject", keys: ["r"], text: "Reject, with the reason that is written, if any" },
  { name: "ungradable", keys: ["x"], text: "Reject as ungradable" },
  { name: "repeat", keys: ["."], text: "Say the last verdict again" },
  { name: "undo", keys: ["u"], text: "Undo" },
  { name: "redo", keys: ["y"], text: "Redo" },
  { name: "frame", keys: ["f"], text: "Show the frame that models see, or hide it" },
  { name: "help", keys: ["?"], text: "Show the keys" },
];

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const FIXED = new Set([...Object.keys(MOVES), "Escape", "Tab", "Shift", "Control", "Alt", "AltGraph", "Meta", "CapsLock", "Dead", "Process", "Unidentified"]);
const SHOWN = { Backspace: "⌫", Enter: "⏎", " ": "Space", Delete: "Del" };

const plain = (key) => (key.length === 1 ? key.toLowerCase() : key);

/** How a key is written on the page. */
export const keyText = (key) => SHOWN[key] ?? key;

/** The keys of every action: name → keys. `changed`: name → the one key that it has instead. What is wrong in it counts not. */
export function keysOf(changed) {
  const own = new Map();
  for (const { name } of ACTIONS) {
    const key = changed?.[name];
    if (typeof key === "string" && key !== "" && !FIXED.has(key) && ![...own.values()].includes(plain(key))) own.set(name, plain(key));
  }
  const taken = new Set(own.values());
  return new Map(ACTIONS.map(({ name, keys }) => [name, own.has(name) ? [own.get(name)] : keys.filter((key) => !taken.has(key))]));
}

/** What was changed once an action has another key; or the name of the action that has the key, or "" where none can. */
export function rebound(changed, name, key) {
  if (FIXED.has(key)) return { taken: "" };
  const holder = [...keysOf(changed)].find(([other, keys]) => other !== name && keys.includes(plain(key)));
  return holder === undefined ? { changed: { ...changed, [name]: plain(key) } } : { taken: holder[0] };
}

/** What a key asks for: [action, argument], or null. Held down, a key only moves: nothing is decided unseen. */
export function keyAction(event, keys = keysOf({})) {
  const command = event.ctrlKey || event.metaKey;
  const key = plain(event.key);
  if (command && !event.altKey && key === "z" && !event.repeat) return [event.shiftKey ? "redo" : "undo"];
  if (command && !event.shiftKey && !event.altKey && key === "a") return ["all"];
  if (command || event.altKey) return null;
  if (Object.hasOwn(MOVES, key)) return ["move", MOVES[key]];
  if (event.repeat) return null;
  if (key === "Escape") return ["one"];
  const name = [...keys].find(([, of]) => of.includes(key))?.[0];
  return name === undefined ? null : name.split(":");
}
