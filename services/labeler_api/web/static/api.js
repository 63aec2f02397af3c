// The requests that the page makes. A failure is an ApiError that can be shown as it is.

const KEY = "evenskin-api-key"; // kept for this tab only

/** An answer that is not the one hoped for: what happened, and what to do. */
export class ApiError extends Error {
  constructor(code, message, advice = "", status = 0) {
    super(message);
    this.code = code;
    this.advice = advice;
    this.status = status; // of the answer; 0 where there is none
  }
}

/** Remember an API key for this tab. */
export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** Whether a key is remembered. */
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** The id of the token that is remembered, which is no secret: whose it is. Null without one, or with the server's key. */
export function tokenId() {
  return /^([0-9a-f]{8})\.[\w-]{43}$/.exec(sessionStorage.getItem(KEY) ?? "")?.[1] ?? null;
}

/** Send a request and read its answer with `read`; a connection may break until the answer's end. */
async function send(path, read, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key === null ? {} : { Authorization: `Bearer ${key}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
    if (response.ok) return await read(response);
  } catch (error) {
    const retried = "This page tries again by itself.";
    if (error instanceof SyntaxError) throw new ApiError("unreadable", "The server's answer cannot be read.", retried);
    throw new ApiError("unreachable", "The server does not answer.", retried);
  }
  const told = (await response.json().catch(() => null)) ?? {};
  throw new ApiError(told.code ?? "unknown", told.detail ?? `The server answered ${response.status}.`, told.advice, response.status);
}

const asJson = (response) => response.json();
const get = (path) => send(path, asJson);
const sendJson = (method, path, body) =>
  send(path, asJson, { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
const post = (path, body) => sendJson("POST", path, body);

/** How many images every condition has. */
export const balance = () => get("/v1/balance");

/** The latest campaigns, newest first. */
export const campaigns = async (limit) => (await get(`/v1/rebalances?${new URLSearchParams({ limit })}`)).rebalances;

/** A page of images; `filter` may hold status, condition, severity, cursor and limit. */
export const images = (filter) => get(`/v1/images?${new URLSearchParams(filter)}`);

/** One image with its prompt. */
export const image = (id) => get(`/v1/images/${id}`);

/** Send reviews; returns one result for each. */
export const review = async (reviews) => (await post("/v1/reviews", { reviews })).results;

/** Take back the reviewer's last review, or the one with a key; returns the image as it is then. */
export const undo = (reviewer, key) => post("/v1/reviews/undo", { reviewer, key });

/** Correct the square of an image's frame; null: as it was found. */
export const frame = (id, reviewer, square) => sendJson("PUT", `/v1/images/${id}/frame`, { reviewer, square });

/** What a rebalance would generate and cost: { target_per_condition, conditions }. */
export const plan = ({ target_per_condition, conditions }) =>
  get(`/v1/plan?${new URLSearchParams({ target_per_condition, conditions: conditions.join(",") })}`);

/** Start a rebalance; returns the campaign. */
export const startRebalance = (asked) => post("/v1/rebalances", asked);

/** `pause`, `resume` or `cancel` a campaign; returns it as it is then. */
export const changeRebalance = (id, change) => post(`/v1/rebalances/${id}/${change}`, {});

/** Open a stream of server-sent events; `lastId` is that of the last one that is known, or null. */
export const stream = (path, lastId, signal) =>
  send(path, (response) => response, { signal, headers: { Accept: "text/event-stream", ...(lastId === null ? {} : { "Last-Event-ID": lastId }) } });

let ahead = new Map(); // what was fetched ahead, by path, so that the browser keeps it

/** Fetch pictures that will be wanted next, so that they are there at once; those asked for before are let go. */
export function prefetch(paths) {
  ahead = new Map(paths.map((path) => [path, ahead.get(path) ?? fetchAhead(path)]));
}

function fetchAhead(path) {
  if (!hasKey()) return Object.assign(new Image(), { src: path });
  return send(path, (response) => response.blob()).catch(() => null); // it is asked for again when it is shown
}

/** Let an <img> show a picture. With a key it is fetched: an <img> alone cannot send one. */
export async function show(img, path) {
  img.dataset.path = path;
  if (!hasKey()) {
    img.src = path;
    return;
  }
  const url = URL.createObjectURL(await send(path, (response) => response.blob()));
  if (img.dataset.path === path) {
    img.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    img.src = url;
  } else {
    URL.revokeObjectURL(url); // another picture was wanted meanwhile
  }
}
