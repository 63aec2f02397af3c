// Mounts the page: a picture comes in by choosing, camera, dropping or pasting; one function shows the state.

import { ApiError, hasKey, model, predict, useKey } from "/static/api.js";
import { hasCamera, mountCamera } from "/static/camera.js";
import { mayKeep, mountCompare } from "/static/compare.js";
import {
  CONDITION_NAMES,
  adviceTitle,
  colourHeat,
  conditionName,
  facts,
  foundText,
  frameBox,
  grouped,
  otherWarnings,
  overlay,
  percent,
  severityText,
  spread,
  summary,
} from "/static/view.js";

const $ = (id) => document.getElementById(id);

const state = {
  file: null, // the chosen picture
  url: null, // its object URL
  busy: false,
  answer: null,
  error: null,
  shown: null, // the condition whose heatmap lies over the picture
  thresholds: {},
  version: "",
};
let running = null;

function set(changes) {
  Object.assign(state, changes);
  update();
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Bring something into sight where it is not, as below the fold of a phone. */
function reveal(target) {
  const { top, bottom } = target.getBoundingClientRect();
  if (top >= 0 && bottom <= window.innerHeight) return;
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  target.scrollIntoView({ block: "start", behavior: isStill ? "auto" : "smooth" });
}

/** Show the state. May be called at any time, as often as one likes. */
function update() {
  $("empty").hidden = state.file !== null;
  $("figure").hidden = state.file === null;
  $("drop").classList.toggle("full", state.file !== null);
  document.body.classList.toggle("busy", state.busy);
  $("version").textContent = state.version ? `Model ${state.version}` : "";

  const needsKey = state.error?.code === "unauthorized";
  $("key-form").hidden = !needsKey;
  $("key-label").textContent = hasKey() ? "The server does not take that API key." : "This server asks for an API key.";
  $("error").hidden = state.error === null || needsKey;
  $("error").replaceChildren(...(state.error && !needsKey ? errorNodes(state.error) : []));

  const groups = state.answer && grouped(state.answer.conditions);
  $("status").textContent = state.busy
    ? "Looking at your picture …"
    : groups
      ? summary(groups)
      : state.error
        ? ""
        : "It appears here as soon as there is a picture. The model looks for:";
  const isIdle = !state.busy && !groups && !state.error;
  $("looked-for").replaceChildren(...(isIdle ? CONDITION_NAMES.map((name) => element("li", "", name)) : []));
  $("choose").textContent = state.file ? "Choose another picture" : "Choose a picture";
  $("unshown").textContent = state.answer
    ? "Your browser cannot show this format; the server could read it."
    : "Your browser cannot show this file as a picture.";
  $("legend").hidden = !groups || Object.keys(state.thresholds).length === 0;
  $("advice").replaceChildren(...(state.answer?.advice ?? []).map(adviceNode));
  const warnings = state.answer ? otherWarnings(state.answer) : [];
  $("warnings").replaceChildren(...warnings.map((warning) => element("li", "", warning)));
  $("conditions").replaceChildren(...(groups ? conditionNodes(groups) : []));
  $("facts").hidden = state.answer === null;
  $("facts").textContent = state.answer ? facts(state.answer) : "";
  mayKeep(state.file, state.answer);
  updateOverlay();
  updateHeat();
}

function adviceNode({ code, message }) {
  const node = element("li", "");
  node.append(element("strong", "", adviceTitle(code)), message);
  return node;
}

function errorNodes(error) {
  const nodes = [element("strong", "", error.message)];
  if (error.advice) nodes.push(element("span", "advice", error.advice));
  nodes.push(...error.reasons.slice(1).map(({ message }) => element("span", "advice", message)));
  if (["overloaded", "no_model", "unreachable", "request_timeout"].includes(error.code) && state.file) {
    const again = element("button", "button", "Try again");
    again.type = "button";
    again.addEventListener("click", () => ask(state.file));
    nodes.push(again);
  }
  return nodes;
}

function conditionNodes({ present, absent }) {
  const nodes = present.map(conditionNode);
  if (absent.length > 0) {
    nodes.push(element("li", "group", "Not counted as present"));
    nodes.push(...absent.map(conditionNode));
  }
  return nodes;
}

function conditionNode(condition) {
  const name = conditionName(condition.condition);
  const row = element("li", condition.present ? "present" : "absent");
  const head = element("div", "head");
  head.append(element("span", "name", name));
  if (condition.present) {
    head.append(
      element("span", `chip ${condition.severity}`, severityText(condition.condition, condition.severity)),
    );
  }
  head.append(element("span", "percent", percent(condition.probability)));

  const bar = element("div", "bar");
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-label", `Probability of ${name.toLowerCase()}`);
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  bar.setAttribute("aria-valuenow", String(Math.round(condition.probability * 100)));
  const fill = element("div", `fill ${condition.severity ?? ""}`);
  fill.style.width = `${condition.probability * 100}%`;
  bar.append(fill);
  const threshold = state.thresholds[condition.condition];
  if (threshold !== undefined) {
    const mark = element("div", "threshold");
    mark.style.left = `${threshold * 100}%`;
    mark.title = `Counts as present from ${percent(threshold)}`;
    bar.append(mark);
  }
  row.append(head, bar);

  if (condition.present) {
    const below = element("div", "below");
    below.append(element("span", "", spread(condition)));
    if (condition.heatmap && $("unshown").hidden) {
      const isShown = state.shown === condition.condition;
      const where = element("button", "where", isShown ? "Hide" : "Show where");
      where.type = "button";
      where.dataset.condition = condition.condition;
      where.setAttribute("aria-pressed", String(isShown));
      where.setAttribute("aria-label", `Show where ${name.toLowerCase()} is seen`);
      where.addEventListener("click", () => {
        set({ shown: isShown ? null : condition.condition });
        // Shown anew, the button has lost the focus.
        document.querySelector(`[data-condition="${condition.condition}"]`)?.focus({ preventScroll: true });
        if (!isShown) reveal($("figure"));
      });
      below.append(where);
    }
    row.append(below);
  }
  return row;
}

const SVG = "http://www.w3.org/2000/svg";

function mark(tag, className, attributes) {
  const made = document.createElementNS(SVG, tag);
  made.setAttribute("class", className);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  return made;
}

/** Draw face and frame over the picture. */
function updateOverlay() {
  const { answer } = state;
  $("found").hidden = answer === null;
  $("overlay").toggleAttribute("hidden", answer === null);
  if (answer === null) return;
  $("found").textContent = foundText(answer);
  const drawn = overlay(answer);
  $("overlay").setAttribute("viewBox", drawn.viewBox);
  $("overlay-marks").setAttribute("transform", drawn.transform);
  const marks = [mark("rect", "under", drawn.frame), mark("rect", "frame-line", drawn.frame)];
  if (drawn.box) marks.push(mark("rect", "under", drawn.box), mark("rect", "box-line", drawn.box));
  marks.push(...drawn.points.map((point) => mark("circle", "point", point)));
  $("overlay-marks").replaceChildren(...marks);
}

/** Lay the shown condition's heatmap over the square that the model looked at. */
async function updateHeat() {
  const shown = state.answer?.conditions.find((c) => c.condition === state.shown);
  $("heat-box").hidden = !shown;
  $("caption").hidden = !shown;
  if (!shown) return;
  Object.assign($("heat-box").style, frameBox(state.answer));
  const name = conditionName(shown.condition).toLowerCase();
  $("caption").textContent =
    `Yellow: where the evidence for ${name} is strongest in this picture.`;
  const canvas = $("heat");
  canvas.setAttribute("aria-label", `Map of where ${name} is seen`);
  const map = new Image();
  map.src = `data:image/png;base64,${shown.heatmap}`;
  await map.decode();
  if (state.shown !== shown.condition) return;
  // Enlarged smoothly first and coloured then: the other way round, blending would make colours of no meaning.
  canvas.width = canvas.height = 256;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(map, 0, 0, canvas.width, canvas.height);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  colourHeat(pixels.data);
  context.putImageData(pixels, 0, 0);
}

/** Ask about a picture; a newer one takes the place of one that is still on its way. */
async function ask(file) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  if (file !== state.file) {
    if (state.url) URL.revokeObjectURL(state.url);
    const url = URL.createObjectURL(file);
    $("unshown").hidden = true;
    $("frame").hidden = false;
    $("preview").src = url;
    Object.assign(state, { file, url });
  }
  set({ busy: true, answer: null, error: null, shown: null });
  try {
    const answer = await predict(file, signal);
    if (answer.model_version !== state.version) await describeModel();
    if (signal.aborted) return;
    set({ busy: false, answer });
    reveal($("answer-title"));
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError)) console.error(error);
    const told =
      error instanceof ApiError ? error : new ApiError("page", "The page could not show the answer.", "Reload it.");
    set({ busy: false, error: told });
    reveal($("answer-title"));
  }
}

/** The model's version and thresholds; without them the page does all else. */
async function describeModel() {
  try {
    const { version, metadata } = await model();
    set({ version, thresholds: metadata.thresholds });
  } catch {
    set({ version: "", thresholds: {} });
  }
}

function take(files) {
  const file = [...files].find((f) => f.type.startsWith("image/") || f.type === "") ?? files[0];
  if (file) ask(file);
}

function mount() {
  document.body.classList.toggle("touch", navigator.maxTouchPoints > 0);
  for (const id of ["file", "camera"]) {
    $(id).addEventListener("change", (event) => {
      take(event.target.files);
      event.target.value = ""; // the same file may be chosen again
    });
  }
  $("open-camera").hidden = !hasCamera();
  $("take").hidden = hasCamera(); // the system's camera has no guide
  const open = mountCamera(
    {
      dialog: $("camera-dialog"),
      video: $("viewfinder"),
      shoot: $("shoot"),
      close: $("close-camera"),
      told: $("camera-told"),
    },
    ask,
  );
  $("open-camera").addEventListener("click", open);
  $("preview").addEventListener("error", () => {
    $("frame").hidden = true;
    $("unshown").hidden = false;
    update();
  });
  // Anywhere on the page: a picture dropped beside the field must not replace the page.
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) $("drop").classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length > 0) take(event.clipboardData.files);
  });
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey($("key").value);
    $("key").value = "";
    describeModel();
    if (state.file) ask(state.file);
    else set({ error: null });
  });
  update();
  mountCompare();
  describeModel();
}

mount();
