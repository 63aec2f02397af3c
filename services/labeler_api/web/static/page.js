// The page: shows what the server says, sends what the reviewer decides.

import * as api from "./api.js";
import * as r from "./review.js";

const PAGE = 48; // pictures of a page
const POLL_MS = 2000;
const SHOWN_CAMPAIGNS = 3;
const REVIEWER = "evenskin-reviewer";
const FRAME = "evenskin-frame";
const find = (id) => document.getElementById(id);

let selection = r.nothing;
let known = new Map(); // image by id, of the page shown
let cursors = ["0"]; // of the pages up to the one shown
let nextCursor = null;
let done = []; // how many reviews each action of this page made, for undo
let counts = ""; // what the server counted when the page was last loaded
let loads = 0; // pages that were asked for
let busy = false;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Telling

function say(text) {
  find("said").textContent = text;
}

function complain(error) {
  if (!(error instanceof api.ApiError)) throw error;
  if (error.code === "unauthorized") {
    if (find("key-form").hidden) {
      find("key-form").hidden = false;
      find("key").focus();
    }
    if (!api.hasKey()) return;
    error = new api.ApiError(error.code, "This is not the server's key.", "Ask whoever runs it for EVENSKIN_API_KEY.");
  }
  say("");
  const shown = find("problem");
  const told = error.message + error.advice;
  if (!shown.hidden && shown.dataset.told === told) return; // not to be read out again with every poll
  Object.assign(shown.dataset, { code: error.code, told });
  shown.replaceChildren(
    element("span", {}, element("strong", {}, error.message), error.advice ? ` ${error.advice}` : ""),
    element("button", { className: "plain", type: "button", onclick: clearProblem, ariaLabel: "Close" }, "×"),
  );
  shown.hidden = false;
}

function clearProblem() {
  find("problem").hidden = true;
}

const attempt = (work) => work().catch(complain);

// The queue

const filter = () => {
  const asked = {
    status: document.querySelector("input[name=status]:checked").value,
    condition: find("condition").value,
    severity: find("severity").value,
  };
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== ""));
};

async function load() {
  loads += 1;
  const mine = loads;
  const page = await api.images({ ...filter(), limit: PAGE, cursor: cursors.at(-1) });
  if (mine !== loads) return; // another page was asked for meanwhile
  if (page.images.length === 0 && cursors.length > 1) {
    cursors = ["0"]; // the last page was reviewed to its end
    await load();
    return;
  }
  known = new Map(page.images.map((image) => [image.id, image]));
  nextCursor = page.next_cursor;
  select(r.over(selection, [...known.keys()]));
}

function thumbnail(id) {
  const img = element("img", { alt: "", loading: "lazy", draggable: false });
  attempt(() => api.show(img, `/v1/images/${id}/thumbnail`));
  const option = element("div", { className: "thumb", role: "option", draggable: true }, img, element("div", { className: "labels" }));
  option.dataset.id = id;
  return option;
}

function labelParts(labels) {
  const parts = Object.entries(labels).map(([condition, severity]) =>
    element("span", {}, r.conditionText(condition), element("i", { className: severity ?? "unknown" }, r.severityText(condition, severity))));
  return parts.length > 0 ? parts : [element("span", {}, "Clear skin")];
}

function drawGrid() {
  const grid = find("grid");
  const there = new Map([...grid.children].map((option) => [option.dataset.id, option]));
  const focused = grid.contains(document.activeElement);
  const options = selection.ids.map((id) => {
    const option = there.get(id) ?? thumbnail(id);
    const { labels } = known.get(id);
    option.lastChild.replaceChildren(...labelParts(labels));
    option.ariaLabel = r.labelText(labels);
    option.ariaSelected = String(selection.chosen.has(id));
    option.classList.toggle("current", id === selection.current);
    option.tabIndex = id === selection.current ? 0 : -1;
    return option;
  });
  const changed = options.length !== there.size || options.some((option, at) => grid.children[at] !== option);
  if (changed) grid.replaceChildren(...options);
  if (focused) grid.querySelector(".current")?.focus();
  find("pages").hidden = cursors.length === 1 && nextCursor === null;
  find("back").disabled = cursors.length === 1;
  find("next").disabled = nextCursor === null;
  find("page-number").textContent = `Page ${cursors.length}`;
  drawEmpty();
}

function drawEmpty() {
  const empty = find("empty");
  empty.hidden = selection.ids.length > 0;
  const { status, condition } = filter();
  if (condition !== undefined) {
    empty.replaceChildren(element("p", {}, element("strong", {}, "No such picture.")), "Choose another condition or status above.");
  } else if (status !== "pending") {
    empty.replaceChildren(element("p", {}, element("strong", {}, `No picture is ${status} yet.`)));
  } else {
    empty.replaceChildren(
      element("p", {}, element("strong", {}, "Nothing waits for review.")),
      element("p", {}, "New pictures come by themselves once a campaign with manual review generates them. To start one:"),
      element("code", {}, "evenskin rebalance --target 200 --review manual"),
      element("p", {}, "What was decided before is under Accepted and Rejected, and can be reviewed again."),
    );
  }
}

function select(next) {
  const before = selection.current;
  selection = next;
  drawGrid();
  drawViewer(before !== selection.current);
}

// The viewer

function drawViewer(other) {
  const image = known.get(selection.current);
  find("nothing").hidden = image !== undefined;
  find("shown").hidden = find("details").hidden = image === undefined;
  for (const target of document.querySelectorAll(".target")) target.disabled = selection.chosen.size === 0;
  const many = selection.chosen.size > 1 ? ` ${selection.chosen.size}` : "";
  find("accept").firstChild.textContent = `Accept${many} `;
  find("reject").firstChild.textContent = `Reject${many} `;
  if (image === undefined) return;
  find("labels").replaceChildren(...labelParts(image.labels));
  find("large").alt = `A face. ${r.labelText(image.labels)}`;
  drawFacts(image);
  if (!other && image.prompt !== undefined) return;
  if (other) {
    drawFrame(image.frame);
    attempt(() => api.show(find("large"), `/v1/images/${image.id}/content`));
  }
  attempt(async () => {
    const whole = await api.image(image.id);
    if (known.has(image.id)) known.set(image.id, whole);
    if (selection.current !== image.id) return;
    drawFacts(whole);
    drawFrame(whole.frame);
  });
}

function shape(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawFrame(frame) {
  const known = frame !== undefined && frame !== null;
  find("frame-toggle").disabled = !known;
  find("frame").replaceChildren();
  if (!known) return;
  const { width, height, turn, square, box, points, radius } = r.frameDrawing(frame);
  find("frame").setAttribute("viewBox", `0 0 ${width} ${height}`);
  const shapes = points.map(([cx, cy]) => shape("circle", { cx, cy, r: radius }));
  if (box !== null) shapes.push(shape("polygon", { class: "box", points: box.join(" ") }));
  shapes.push(shape("polygon", { class: frame.found ? "square" : "square middle", points: square.join(" ") }));
  find("frame").append(shape("g", { transform: turn }, ...shapes));
}

function showFrame(shown) {
  find("frame-toggle").setAttribute("aria-pressed", String(shown));
  find("frame").toggleAttribute("hidden", !shown);
  localStorage.setItem(FRAME, shown ? "shown" : "hidden");
}

const toggleFrame = () => showFrame(find("frame-toggle").getAttribute("aria-pressed") !== "true");

function drawFacts(image) {
  find("facts").replaceChildren(...r.facts(image).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
}

// Deciding

function reviewer() {
  const name = find("reviewer").value.trim();
  if (name === "") {
    find("reviewer").focus();
    say("Say who you are first: each review carries a name.");
    find("who").classList.add("asked");
  }
  return name;
}

/** Review the chosen images. `labelsOf` gives new labels of an image, if it is to get any. */
async function decide(verdict, labelsOf = null) {
  const name = reviewer();
  const ids = selection.ids.filter((id) => selection.chosen.has(id));
  if (busy || name === "" || ids.length === 0) return;
  const reason = find("reason").value;
  const reviews = [];
  for (const id of ids) {
    const labels = labelsOf === null ? null : labelsOf(known.get(id).labels);
    if (labelsOf !== null && labels === null) {
      say("This picture shows several conditions, or none: drop it on the severity that is meant.");
      return;
    }
    reviews.push(r.reviewOf(id, verdict, name, { labels, reason }));
  }
  await working(async () => {
    const results = await api.review(reviews);
    const failed = results.filter((result) => !result.ok);
    const count = results.length - failed.length;
    if (count > 0) done.push(count);
    say(r.decidedText(reviews, count));
    if (verdict === "rejected") find("reason").value = "";
    await refresh();
    if (failed.length > 0) {
      const { code, detail, advice } = failed[0].problem;
      complain(new api.ApiError(code, failed.length > 1 ? `${failed.length} reviews failed: ${detail}` : detail, advice));
    }
  });
}

async function undo() {
  const name = reviewer();
  if (busy || name === "") return;
  await working(async () => {
    let last = null;
    let left = done.pop() ?? 1;
    try {
      for (; left > 0; left -= 1) last = await api.undo(name);
    } finally {
      if (left > 0) done.push(left); // what was not taken back can be, once the server answers again
    }
    say(`Taken back: ${r.labelText(last.labels).toLowerCase()} is ${last.status} again.`);
    await refresh();
    if (known.has(last.id)) select(r.only(selection, last.id));
  });
}

async function working(work) {
  busy = true;
  document.body.classList.add("busy");
  clearProblem();
  try {
    await attempt(work);
  } finally {
    busy = false;
    document.body.classList.remove("busy");
  }
}

// Balance and campaigns

function balanceRow(condition) {
  const cells = r.SEVERITIES.map((severity) => {
    const cell = element("button", { className: `cell target ${severity}`, type: "button" }, element("b"), ` ${r.severityText(condition, severity)}`);
    Object.assign(cell.dataset, { condition, severity });
    cell.ariaLabel = `Accept as ${r.conditionText(condition)}, ${r.severityText(condition, severity)}`;
    return cell;
  });
  const parts = [...r.SEVERITIES, "unknown"].map((severity) => element("i", { className: severity }));
  const row = element("div", { className: "row" },
    element("div", { className: "head" }, element("span", {}, r.conditionText(condition)), element("span", { className: "waiting" }), element("b")),
    element("div", { className: "meter", ariaHidden: "true" }, ...parts),
    element("div", { className: "cells" }, ...cells));
  row.dataset.condition = condition;
  return row;
}

function drawBalance(balance) {
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
}

function drawCampaigns(campaigns) {
  const items = campaigns.map((campaign) => {
    const { state, wanted, note, share } = r.progress(campaign);
    const bar = element("progress", { max: 1, value: share, ariaLabel: state });
    return element("li", {}, element("div", { className: "head" }, element("span", {}, state), element("span", { className: "waiting" }, note)), bar, element("p", {}, wanted));
  });
  const none = element("li", { className: "waiting" }, "None yet.");
  find("campaigns").replaceChildren(...(items.length > 0 ? items : [none]));
}

async function refresh() {
  const [balance, campaigns] = await Promise.all([api.balance(), api.campaigns(SHOWN_CAMPAIGNS)]);
  drawBalance(balance);
  drawCampaigns(campaigns);
  find("key-form").hidden = true;
  if (["unreachable", "unreadable", "unauthorized"].includes(find("problem").dataset.code)) clearProblem();
  const counted = JSON.stringify([balance.images, balance.conditions]);
  if (counted !== counts) await load();
  counts = counted;
}

async function poll() {
  try {
    if (!document.hidden && !busy) await attempt(refresh);
  } finally {
    setTimeout(poll, POLL_MS);
  }
}

// Wiring

function columns() {
  return getComputedStyle(find("grid")).gridTemplateColumns.split(" ").length;
}

function act([action, argument], extend) {
  const go = (id) => id !== null && select(extend ? r.extended(selection, id) : r.only(selection, id));
  if (action === "accepted" || action === "rejected") decide(action);
  else if (action === "grade") decide("accepted", (labels) => r.regraded(labels, argument));
  else if (action === "undo") undo();
  else if (action === "frame") toggleFrame();
  else if (action === "all") select(r.all(selection));
  else if (action === "one" && selection.current !== null) go(selection.current);
  else if (action === "move") {
    go(r.neighbour(selection, argument[0] + argument[1] * columns()));
    find("grid").querySelector(".current")?.focus();
  }
}

function give(target) {
  const { verdict, condition, severity } = target.dataset;
  decide(verdict ?? "accepted", condition === undefined ? null : (labels) => r.relabelled(labels, condition, severity));
}

function wireDragging() {
  document.addEventListener("dragstart", (event) => {
    const id = event.target.closest?.(".thumb")?.dataset.id ?? (event.target.id === "large" ? selection.current : null);
    if (id === null) return;
    if (!selection.chosen.has(id)) select(r.only(selection, id));
    event.dataTransfer.setData("text/plain", [...selection.chosen].join(" "));
    event.dataTransfer.effectAllowed = "move";
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragend", () => document.body.classList.remove("dragging"));
  for (const target of document.querySelectorAll(".target")) {
    target.addEventListener("click", () => give(target));
    target.addEventListener("dragover", (event) => {
      event.preventDefault();
      target.classList.add("over");
    });
    target.addEventListener("dragleave", () => target.classList.remove("over"));
    target.addEventListener("drop", (event) => {
      event.preventDefault();
      target.classList.remove("over");
      if (document.body.classList.contains("dragging")) give(target);
    });
  }
}

function wire() {
  find("details").open = matchMedia("(min-width: 46rem)").matches;
  find("condition").append(...r.CONDITIONS.map((c) => element("option", { value: c }, r.conditionText(c))));
  find("balance").append(...r.CONDITIONS.map(balanceRow));
  find("reviewer").value = localStorage.getItem(REVIEWER) ?? "";
  find("reviewer").addEventListener("input", () => {
    localStorage.setItem(REVIEWER, find("reviewer").value.trim());
    find("who").classList.remove("asked");
    done = []; // what another name did cannot be taken back under this one
  });
  find("who").addEventListener("submit", (event) => {
    event.preventDefault();
    find("reviewer").blur();
  });
  find("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    api.useKey(find("key").value);
    clearProblem();
    attempt(refresh);
  });
  const filtered = () => {
    const { condition } = filter();
    const options = r.SEVERITIES.map((s) => element("option", { value: s }, r.severityText(condition ?? "", s)));
    const chosen = condition === undefined ? "" : find("severity").value;
    find("severity").hidden = condition === undefined;
    find("severity").replaceChildren(element("option", { value: "" }, "All severities"), ...options);
    find("severity").value = chosen;
    cursors = ["0"];
    selection = r.nothing;
    attempt(load);
  };
  for (const id of ["status", "condition", "severity"]) find(id).addEventListener("change", filtered);
  const turn = (change) => {
    change();
    selection = r.nothing;
    attempt(load);
  };
  find("next").addEventListener("click", () => turn(() => cursors.push(nextCursor)));
  find("back").addEventListener("click", () => turn(() => cursors.pop()));
  find("undo").addEventListener("click", undo);
  showFrame(localStorage.getItem(FRAME) !== "hidden");
  find("frame-toggle").addEventListener("click", toggleFrame);
  find("grid").addEventListener("click", (event) => {
    const id = event.target.closest(".thumb")?.dataset.id;
    if (id === undefined) return;
    const pick = event.shiftKey ? r.extended : event.ctrlKey || event.metaKey ? r.toggled : r.only;
    select(pick(selection, id));
    find("grid").querySelector(".current").focus({ preventScroll: true });
    find("shown").scrollIntoView({ block: "nearest" }); // it is above the pictures on a phone
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input:not([type=radio]), select, textarea")) return;
    const action = r.keyAction(event);
    if (action === null || (event.target.type === "radio" && action[0] === "move")) return;
    event.preventDefault();
    act(action, event.shiftKey);
  });
  wireDragging();
  drawViewer(false);
}

wire();
poll();
