// Small helpers for elements.

import { conditionText, severityText } from "./review.js";

/** The element with an id. */
export const find = (id) => document.getElementById(id);

/** An element with properties and children. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A shape of a drawing. */
export function shape(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Labels as text with a dot for each severity. */
export function labelParts(labels) {
  const parts = Object.entries(labels).map(([condition, severity]) =>
    element("span", {}, `${conditionText(condition)} `, element("i", { className: severity ?? "unknown" }, severityText(condition, severity))));
  return parts.length > 0 ? parts : [element("span", {}, "Clear skin")];
}
