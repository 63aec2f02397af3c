// The part of the page that keeps answers, by choice, and lays two of them side by side.

import { forget, forgetAll, keep, kept } from "/static/kept.js";
import { compared, conditionName, grouped, summary } from "/static/view.js";

const $ = (id) => document.getElementById(id);
const when = (at) => new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

let current = null; // the picture and answer that may be kept
let chosen = []; // ids of those compared, the one chosen last behind
let urls = []; // of the pictures shown

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(text, label, act) {
  const made = element("button", "where", text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

/** Say what may be kept now: a picture and its answer, or nothing. */
export function mayKeep(file, answer) {
  current = file && answer ? { file, answer } : null;
  $("keep").disabled = current === null;
}

function row({ id, at, answer }) {
  const made = element("li", "");
  const label = element("label", "");
  const box = element("input", "");
  box.type = "checkbox";
  box.checked = chosen.includes(id);
  box.addEventListener("change", async () => {
    chosen = box.checked ? [...chosen, id].slice(-2) : chosen.filter((other) => other !== id);
    await show();
    document.querySelector(`#kept [data-id="${id}"]`)?.focus(); // shown anew, it has lost the focus
  });
  box.dataset.id = id;
  label.append(box, ` ${when(at)}: ${summary(grouped(answer.conditions))}`);
  const away = async () => {
    await forget(id);
    chosen = chosen.filter((other) => other !== id);
    await show();
    $("compare-title").focus();
  };
  made.append(label, button("Delete", `Delete the picture of ${when(at)}`, away));
  return made;
}

function picture({ at, file }, title) {
  const made = element("figure", "");
  const image = element("img", "");
  image.src = URL.createObjectURL(file);
  urls.push(image.src);
  image.alt = `${title} picture, of ${when(at)}`;
  made.append(image, element("figcaption", "", `${title}, ${when(at)}`));
  return made;
}

async function show() {
  const all = await kept();
  for (const url of urls) URL.revokeObjectURL(url);
  urls = [];
  $("kept").replaceChildren(...all.map(row));
  $("forget-all").hidden = all.length === 0;
  const pair = all.filter(({ id }) => chosen.includes(id)); // the older one first
  $("comparison").hidden = pair.length < 2;
  $("compare-status").textContent =
    all.length === 0 ? "Nothing is kept." : pair.length < 2 ? "Choose two to compare them." : "Two pictures are compared.";
  if (pair.length < 2) return;
  const [before, after] = pair;
  const { rows, note } = compared(before.answer, after.answer);
  $("compared-pictures").replaceChildren(picture(before, "Earlier"), picture(after, "Later"));
  $("compared-note").textContent = note;
  $("compared-rows").replaceChildren(
    ...rows.map(({ condition, earlier, later, change }) => {
      const line = element("tr", "");
      const head = element("th", "", conditionName(condition));
      head.scope = "row";
      line.append(head, ...[earlier, later, change].map((text) => element("td", "", text)));
      return line;
    }),
  );
}

/** Show what is kept. Where the browser keeps nothing, as in some private windows, the part stays away. */
export async function mountCompare() {
  try {
    await show();
  } catch {
    return;
  }
  $("compare").hidden = false;
  $("keep").addEventListener("click", async () => {
    const id = await keep(current.file, current.answer);
    mayKeep(null, null);
    chosen = [...chosen, id].slice(-2);
    await show();
    $("compare-title").focus();
  });
  $("forget-all").addEventListener("click", async () => {
    await forgetAll();
    chosen = [];
    await show();
    $("compare-title").focus();
  });
}
