// The requests that the page makes. A failure is an ApiError that can be shown as it is.

const KEY = "evenskin-api-key"; // kept for this tab only

/** An answer that is not the one hoped for: what happened, and what to do. */
export class ApiError extends Error {
  constructor(code, message, advice = "", reasons = []) {
    super(message);
    this.code = code;
    this.advice = advice;
    this.reasons = reasons; // all that is wrong with a picture that was refused as a portrait
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

async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  let body = null;
  try {
    response = await fetch(path, { ...options, headers });
    body = await response.json(); // the connection may break until here
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!(error instanceof SyntaxError))
      throw new ApiError("unreachable", "The server does not answer.", "Check the connection, then try again.");
  }
  if (response.ok && body !== null) return body;
  const told = body ?? {};
  const sentence = response.ok ? "The server's answer cannot be read." : `The server answered ${response.status}.`;
  throw new ApiError(told.code ?? "unknown", told.detail ?? sentence, told.advice, told.reasons);
}

/** What the model sees in a picture, with heatmaps. */
export function predict(file, signal) {
  // The bytes are what counts; some systems give HEIC files no type at all.
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  return ask("/v1/predictions?heatmap=1", { method: "POST", body: file, headers: { "Content-Type": type }, signal });
}

/** The model in service. */
export function model() {
  return ask("/v1/model");
}
