// The page: puts its parts together. What is shown follows from one state; what is decided goes to the outbox.

import * as api from "./api.js";
import { mountBoard } from "./board.js";
import { mountKeys, mountReasons } from "./dialogs.js";
import { element, find } from "./dom.js";
import { mountDragging } from "./drag.js";
import { mountEmpty, mountGrid } from "./grid.js";
import { keyAction, keysOf } from "./keys.js";
import { mountNotices } from "./notices.js";
import { Outbox, newKey } from "./outbox.js";
import * as r from "./review.js";
import { mountCampaigns } from "./sidebar.js";
import * as v from "./verdicts.js";
import { mountViewer } from "./viewer.js";

const PAGE = 48; // pictures of a page
const FEW = PAGE / 2; // pictures left, from which on further ones are listed
const MOST = 200; // of one answer, which the server gives
const AHEAD = 10; // pictures fetched before they are wanted
const KNOWN = 2000; // pictures whose record is kept, so that an undo shows them at once
const POLL_MS = 2000;
const SHOWN_CAMPAIGNS = 3;
const REVIEWER = "evenskin-reviewer";
const KEYS = "evenskin-keys";
const HISTORY = "evenskin-history:"; // and the reviewer; for this tab
const PASSING = ["unreachable", "unreadable", "unauthorized", "unknown"];

const read = (storage, name, otherwise) => {
  try {
    return JSON.parse(storage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
};

function start() {
  const images = new Map(); // what the server said of each picture
  const state = {
    selection: r.nothing,
    draft: null, // the condition that is to be said of the current picture
    order: [], // ids as the server listed them, with those taken back meanwhile
    cursors: ["0"], // of the pages up to the one shown
    nextCursor: null,
    balance: null,
    campaigns: null,
    changedKeys: read(localStorage, KEYS, {}),
    history: v.noHistory,
    wanted: null, // id of the picture to show once it is listed
    counts: "", // what the server counted when the page was last loaded
    listed: false, // whether the list is known
    several: false, // whether a click adds to what is chosen
    away: false, // whether the server does not answer
  };
  const landing = new Set(); // for each list under way: states that were settled meanwhile
  let lists = 0; // that were asked for
  let sentAt = -1; // verdicts that were on their way when the last one was

  // Telling

  const notices = mountNotices();

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
    notices.complain(error);
  }

  const attempt = (work) => work().catch(complain);
  const show = (img, path) => attempt(() => api.show(img, path));

  // Verdicts on their way

  const outbox = new Outbox({
    storage: localStorage,
    api,
    owner: api.tokenId,
    changed: () => update(),
    settled(operations, { refused }) {
      const bad = new Set(refused.map(({ key }) => key));
      const good = [...bad].reduce(v.withoutReview, operations);
      take(v.statesOf(good));
      for (const { key, image_id, problem } of refused) {
        keepHistory(v.forgotten(state.history, key));
        if (problem.stored) take(new Map([[image_id, { reason: null, ...problem.stored }]]));
        else attempt(async () => learn(await api.image(image_id)));
      }
      answered();
      if (refused.length > 0) conflict(refused);
      attempt(refresh);
    },
    failed(error) {
      if (error instanceof api.ApiError && isAway(error)) state.away = true;
      complain(error);
    },
  });

  function answered() {
    state.away = false;
    notices.clearIf(PASSING);
  }

  const isAway = ({ code }) => PASSING.includes(code);

  /** Take over what the server has now: of the pictures, and of the lists that it may have read before. */
  function take(states) {
    for (const [id, after] of states) {
      if (images.has(id)) images.set(id, { ...images.get(id), ...after });
      for (const later of landing) later.set(id, after);
    }
  }

  const learn = (image) => {
    images.set(image.id, { ...images.get(image.id), ...image });
    update();
  };

  function conflict(refused) {
    const { image_id, problem } = refused[0];
    const message = refused.length > 1 ? `${refused.length} verdicts were not taken: ${problem.detail}` : problem.detail;
    const status = problem.stored?.status;
    notices.complain({ ...problem, message }, status && { text: "Show it", act: () => visit(image_id, status) });
  }

  /** Show a picture under its status. */
  function visit(id, status) {
    document.querySelector(`input[name=status][value=${status}]`).checked = true;
    find("condition").value = "";
    state.wanted = id;
    notices.clear();
    refilter();
  }

  // What is shown

  const filter = () => {
    const asked = {
      status: document.querySelector("input[name=status]:checked").value,
      condition: find("condition").value,
      severity: find("severity").value,
    };
    return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== ""));
  };

  let states = new Map(); // of pictures, once what is on its way has reached the server
  const imageOf = (id) => images.has(id) ? { ...images.get(id), ...states.get(id) } : undefined;

  const grid = mountGrid({
    show,
    pick(id, event) {
      const choose = event.shiftKey ? r.extended : event.ctrlKey || event.metaKey || state.several ? r.toggled : r.only;
      select(choose(state.selection, id));
      grid.focus({ preventScroll: true });
      if (!state.several) find("shown").scrollIntoView({ block: "nearest" }); // it is above the pictures on a phone
    },
  });
  const empty = mountEmpty();
  const viewer = mountViewer({ show, reframe });
  const board = mountBoard();
  const campaigns = mountCampaigns();
  const reasons = mountReasons({ choose: (reason) => decide({ verdict: "rejected", reason }) });
  const keys = mountKeys({
    change(changed) {
      state.changedKeys = changed;
      localStorage.setItem(KEYS, JSON.stringify(changed));
      keys.update(changed);
    },
  });

  let detailed = null; // id of the picture whose whole record was asked for

  /** Draw everything from the state. */
  function update() {
    const asked = filter();
    states = v.statesOf(outbox.operations);
    const further = [...states.keys()].filter((id) => images.has(id) && r.isOf(imageOf(id), asked));
    state.order = v.merged(state.order, further, imageOf);
    const before = state.selection.current;
    state.selection = r.over(state.selection, state.order.filter((id) => r.isOf(imageOf(id), asked)));
    if (state.selection.ids.includes(state.wanted)) {
      state.selection = r.only(state.selection, state.wanted);
      state.wanted = null;
    }
    const { selection } = state;
    if (before !== selection.current) state.draft = null;
    const image = imageOf(selection.current);
    const count = selection.chosen.size;
    const pages = { page: state.cursors.length, first: state.cursors.length === 1, last: state.nextCursor === null };
    grid.update({ selection, imageOf, ...pages });
    empty.update({ empty: state.listed && selection.ids.length === 0 && pages.first && pages.last, filter: asked });
    viewer.update({ image, proposed: image && r.labelled(image.labels, draftOf()), count });
    board.update({ balance: state.balance, campaigns: state.campaigns, count, draft: state.draft });
    campaigns.update({ campaigns: state.campaigns });
    const sending = v.countOf(outbox.operations);
    notices.update({ sending, away: state.away });
    find("undo").disabled = find("reviewer").value.trim() === "";
    find("redo").disabled = state.history.undone.length === 0;
    find("repeat").disabled = v.lastSaid(state.history) === undefined || count === 0;
    find("why-open").disabled = find("reason").disabled = count === 0;
    find("several").ariaPressed = String(state.several);
    if (state.listed && !pages.last && selection.ids.length < FEW && sending > sentAt) attempt(load);
    api.prefetch(r.following(selection, AHEAD).map((id) => `/v1/images/${id}/content`));
    if (image !== undefined && image.prompt === undefined && detailed !== image.id) {
      detailed = image.id;
      attempt(() => detail(image.id));
    }
  }

  async function detail(id) {
    try {
      learn(v.withState(await api.image(id), images.get(id)));
    } catch (error) {
      if (detailed === id) detailed = null; // it is asked for again
      throw error;
    }
  }

  function select(next) {
    if (next.current !== state.selection.current) state.draft = null;
    state.selection = next;
    update();
  }

  const draftOf = () => (state.draft === null ? {} : { condition: state.draft });

  async function load() {
    lists += 1;
    const mine = lists;
    sentAt = v.countOf(outbox.operations);
    const later = new Map();
    landing.add(later);
    let page;
    try {
      const limit = Math.min(MOST, PAGE + sentAt); // the server lists what is on its way to it still
      page = await api.images({ ...filter(), limit, cursor: state.cursors.at(-1) });
    } finally {
      landing.delete(later);
    }
    if (mine !== lists) return; // another list was asked for meanwhile
    if (page.images.length === 0 && state.cursors.length > 1) {
      state.cursors = ["0"]; // the last page was reviewed to its end
      await load();
      return;
    }
    for (const image of page.images) images.set(image.id, { ...images.get(image.id), ...image, ...later.get(image.id) });
    state.order = page.images.map(({ id }) => id);
    state.listed = true;
    state.nextCursor = page.next_cursor;
    for (const id of images.keys()) if (images.size > KNOWN && !state.order.includes(id)) images.delete(id);
    update();
  }

  async function refresh() {
    const [counted, latest] = await Promise.all([api.balance(), api.campaigns(SHOWN_CAMPAIGNS)]);
    state.balance = counted;
    state.campaigns = latest;
    find("key-form").hidden = true;
    if (outbox.operations.length === 0 || !state.away) answered();
    const counts = JSON.stringify([counted.images, counted.conditions]);
    if (counts !== state.counts || !state.listed) await load();
    else update();
    state.counts = counts;
  }

  async function poll() {
    try {
      if (!document.hidden) await attempt(refresh);
      await outbox.flush();
    } finally {
      setTimeout(poll, POLL_MS);
    }
  }

  // Deciding

  function reviewer() {
    const name = find("reviewer").value.trim();
    if (name === "") {
      find("reviewer").focus();
      notices.say("Say who you are first: each review carries a name.");
      find("who").classList.add("asked");
    }
    return name;
  }

  function keepHistory(history) {
    state.history = history;
    let kept = history;
    while (kept.done.length + kept.undone.length > 0) {
      try {
        sessionStorage.setItem(HISTORY + find("reviewer").value.trim(), JSON.stringify(kept));
        return;
      } catch {
        kept = { done: kept.done.slice(Math.ceil(kept.done.length / 2)), undone: [] }; // no room: the newer half
      }
    }
    sessionStorage.removeItem(HISTORY + find("reviewer").value.trim());
  }

  const readHistory = () => read(sessionStorage, HISTORY + find("reviewer").value.trim(), v.noHistory);

  /** Review the chosen images. `said`: verdict, and condition, severity and reason if they are said. */
  function decide(said) {
    const name = reviewer();
    const chosen = state.selection.ids.filter((id) => state.selection.chosen.has(id)).map(imageOf);
    if (name === "" || chosen.length === 0) return;
    const asProposed = said.condition === undefined && said.severity === undefined;
    const labels = chosen.map((image) => r.labelled(image.labels, said));
    if (labels.includes(null)) {
      notices.say("This picture shows several conditions, or none: say which one first, or drop it on what is meant.");
      return;
    }
    const reviews = chosen.map((image, at) =>
      v.reviewOf(image, said.verdict, name, newKey(), { labels: asProposed ? null : labels[at], reason: said.reason }));
    const before = Object.fromEntries(chosen.map((image) => [image.id, v.stateOf(image)]));
    if (said.verdict === "rejected") find("reason").value = "";
    notices.clear();
    give({ said, reviews, before }, v.decided);
    notices.say(r.decidedText(reviews));
  }

  /** Keep an action and send it. `remember` is how the history takes it. */
  function give(action, remember) {
    state.draft = null;
    keepHistory(remember(state.history, action));
    outbox.add(v.asOperation(action));
  }

  /** Correct the square that models see of a picture. */
  function reframe(id, square) {
    const name = reviewer();
    const image = imageOf(id);
    if (name === "" || image === undefined) return;
    notices.clear();
    give(v.framed(image, square, name, newKey()), v.decided);
    notices.say("The frame is corrected.");
  }

  function undo() {
    const name = reviewer();
    if (name === "") return;
    const [history, action] = v.takenBack(state.history);
    notices.clear();
    if (action === null) {
      undoEarlier(name);
      return;
    }
    keepHistory(history);
    if (action.framing !== undefined) {
      state.wanted = action.framing.image_id;
      outbox.add(v.asUndo(action));
      notices.say("Taken back: the frame lies as before.");
      return;
    }
    const last = action.reviews.at(-1);
    state.wanted = last.image_id;
    if (!outbox.withdraw(action.reviews[0].key)) outbox.add(v.asUndo(action));
    const { labels, status } = action.before[last.image_id];
    const several = action.reviews.length > 1 ? `${action.reviews.length} pictures are` : `${r.labelText(labels).toLowerCase()} is`;
    notices.say(`Taken back: ${several} ${status} again.`);
  }

  /** Take back what was not decided in this tab: the reviewer's last review that the server knows. */
  function undoEarlier(name) {
    attempt(async () => {
      const last = await api.undo(name);
      notices.say(`Taken back: ${r.labelText(last.labels).toLowerCase()} is ${last.status} again.`);
      state.wanted = last.id;
      learn(last);
      await refresh();
    });
  }

  function redo() {
    const [history, action] = v.doneAgain(state.history, newKey);
    if (action === null) return;
    notices.clear();
    give(action, () => history);
    notices.say(action.framing === undefined ? `Again: ${r.decidedText(action.reviews)}` : "The frame is corrected again.");
  }

  function repeat() {
    const said = v.lastSaid(state.history);
    if (said === undefined) notices.say("There is no verdict yet that could be said again.");
    else decide(said);
  }

  // Wiring

  const reject = () => decide({ verdict: "rejected", reason: find("reason").value });
  const why = () => {
    const count = state.selection.chosen.size;
    if (reviewer() !== "" && count > 0) reasons.ask(count);
  };
  const accept = () => decide({ verdict: "accepted", ...draftOf() });

  function act([action, argument], extend) {
    const { selection } = state;
    const go = (id) => id !== null && select(extend ? r.extended(selection, id) : r.only(selection, id));
    if (action === "accept") accept();
    else if (action === "reject") reject();
    else if (action === "why") why();
    else if (action === "ungradable") decide({ verdict: "rejected", reason: v.UNGRADABLE });
    else if (action === "severity") decide({ verdict: "accepted", ...draftOf(), severity: argument });
    else if (action === "condition") {
      state.draft = state.draft === argument ? null : argument;
      update();
    } else if (action === "repeat") repeat();
    else if (action === "undo") undo();
    else if (action === "redo") redo();
    else if (action === "frame") viewer.toggleFrame();
    else if (action === "help") keys.open();
    else if (action === "all") select(r.all(selection));
    else if (action === "one" && selection.current !== null) {
      state.draft = null;
      select(r.only(selection, selection.current));
    } else if (action === "move") {
      go(r.neighbour(selection, argument[0] + argument[1] * grid.columns()));
      grid.focus();
    }
  }

  function giveTo(target) {
    const { verdict, reason, condition, severity } = target.dataset;
    if (reason === "ask") why();
    else if (reason !== undefined) decide({ verdict, reason });
    else if (verdict === "rejected") reject();
    else if (verdict === "accepted") accept();
    else decide({ verdict: "accepted", condition, severity });
  }

  mountDragging({
    show,
    pick(from) {
      const id = from.dataset.id ?? state.selection.current;
      if (id === null) return null;
      if (!state.selection.chosen.has(id)) select(r.only(state.selection, id));
      const { ids, chosen } = state.selection;
      return [id, ...ids.filter((one) => one !== id && chosen.has(one))].map((one) => `/v1/images/${one}/thumbnail`);
    },
    drop: giveTo,
  });
  for (const target of document.querySelectorAll(".target")) target.addEventListener("click", () => giveTo(target));

  const turn = () => {
    Object.assign(state, { selection: r.nothing, order: [], listed: false, draft: null });
    update();
    attempt(load);
  };

  function refilter() {
    const { condition } = filter();
    const options = r.SEVERITIES.map((s) => element("option", { value: s }, r.severityText(condition ?? "", s)));
    const chosen = condition === undefined ? "" : find("severity").value;
    find("severity").hidden = condition === undefined;
    find("severity").replaceChildren(element("option", { value: "" }, "All severities"), ...options);
    find("severity").value = chosen;
    state.cursors = ["0"];
    turn();
  }

  find("condition").append(...r.CONDITIONS.map((c) => element("option", { value: c }, r.conditionText(c))));
  find("reviewer").value = localStorage.getItem(REVIEWER) ?? "";
  state.history = readHistory();
  find("reviewer").addEventListener("input", () => {
    localStorage.setItem(REVIEWER, find("reviewer").value.trim());
    find("who").classList.remove("asked");
    state.history = readHistory(); // what another name did cannot be taken back under this one
    update();
  });
  find("who").addEventListener("submit", (event) => {
    event.preventDefault();
    find("reviewer").blur();
  });
  find("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    api.useKey(find("key").value);
    notices.clear();
    attempt(refresh);
  });
  for (const id of ["status", "condition", "severity"]) {
    find(id).addEventListener("change", () => {
      state.wanted = null;
      refilter();
    });
  }
  find("next").addEventListener("click", () => {
    state.cursors.push(state.nextCursor);
    turn();
  });
  find("back").addEventListener("click", () => {
    state.cursors.pop();
    turn();
  });
  find("undo").addEventListener("click", undo);
  find("redo").addEventListener("click", redo);
  find("repeat").addEventListener("click", repeat);
  find("why-open").addEventListener("click", why);
  find("all").addEventListener("click", () => select(r.all(state.selection)));
  find("several").addEventListener("click", () => {
    state.several = !state.several;
    if (state.several || state.selection.current === null) update();
    else select(r.only(state.selection, state.selection.current));
  });
  find("help").addEventListener("click", keys.open);
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input:not([type=radio]), select, textarea, dialog")) return;
    if (["Enter", " "].includes(event.key) && event.target.closest("button, summary")) return; // it presses that
    const action = keyAction(event, keysOf(state.changedKeys));
    if (action === null || (event.target.type === "radio" && action[0] === "move")) return;
    event.preventDefault();
    act(action, event.shiftKey);
  });
  addEventListener("online", () => outbox.flush());
  keys.update(state.changedKeys);
  update();
  poll();
}

start();
