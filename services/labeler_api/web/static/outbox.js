// Operations on their way to the server: kept in the browser until the server has answered, sent in order.

import { ApiError } from "./api.js";
import { squareOf, withoutReview } from "./verdicts.js";

const PREFIX = "evenskin-verdict-";
const MAX_BATCH = 500; // reviews of one request, which the server takes
const LATER = new Set([401, 403, 408, 429]); // refusals of the request, not of what it says

/** Whether the same request may be taken later. An answer that is no problem document is some proxy's. */
export const isPassing = ({ status, code }) => status === 0 || status >= 500 || LATER.has(status) || code === "unknown";

const problemOf = ({ status, code, message, advice }) => ({ status, code, detail: message, advice });

/** The key under which one review is known, as a UUID: `crypto.randomUUID` is not there on plain HTTP. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40; // version 4, variant 1: RFC 9562, section 5.4
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/**
 * Keeps each operation as one entry of `storage`, so that two tabs lose none of each other's; where both send one, its
 * keys make it one. `send(operations)` resolves to the refused: [{ key, image_id, problem }], or to be tried again.
 * `owner()` tells who is signed in, or null: the server takes a verdict in that name, so that an operation is shown and
 * sent while its own owner is signed in, and waits otherwise.
 */
export class Outbox {
  #kept = new Map(); // operation by the name of its entry, in order
  #sent = 0; // entries that were named by this page
  #sending = false;

  constructor({ storage, api, owner, changed, settled, failed, now = Date.now }) {
    Object.assign(this, { storage, api, owner, changed, settled, failed, now });
    const names = Array.from({ length: storage.length }, (_, at) => storage.key(at)).filter((name) => name?.startsWith(PREFIX));
    for (const name of names.sort()) {
      try {
        this.#kept.set(name, JSON.parse(storage.getItem(name)));
      } catch {
        storage.removeItem(name); // nothing that this page wrote
      }
    }
  }

  /** What has not been answered yet of whoever is signed in, in order. */
  get operations() {
    return this.#own().map(([, operation]) => operation);
  }

  /** Keep an operation and send it. Where the browser keeps nothing, the page alone does. */
  add(operation) {
    this.#sent += 1;
    const name = `${PREFIX}${String(this.now()).padStart(15, "0")}-${String(this.#sent).padStart(9, "0")}-${newKey()}`;
    this.#keep(name, { ...operation, owner: this.owner() });
    this.changed();
    return this.flush();
  }

  /** Drop the review operation with this key if no request has had it: then there is nothing to take back. */
  withdraw(key) {
    for (const [name, { kind, reviews }] of this.#own()) {
      if (kind !== "review" || reviews[0].key !== key) continue;
      const entry = this.storage.getItem(name);
      if (entry === null || JSON.parse(entry).tried) return false; // another tab may have sent it
      this.#drop(name);
      this.changed();
      return true;
    }
    return false;
  }

  /** Send what is kept, in order, until all is answered or the server is away. */
  async flush() {
    if (this.#sending || this.#own().length === 0) return;
    this.#sending = true;
    try {
      while (this.#own().length > 0) {
        const batch = this.#next();
        for (const name of batch.keys()) this.#keep(name, { ...this.#kept.get(name), tried: true });
        const answer = await this.#send([...batch.values()]);
        const again = new Set(answer.again);
        for (const [name, operation] of batch) {
          const reviews = operation.reviews.filter(({ key }) => again.has(key));
          if (reviews.length > 0) this.#keep(name, { ...operation, reviews, tried: true });
          else this.#drop(name);
        }
        if (batch.values().next().value.kind === "review") for (const { key } of answer.refused) this.#forget(key);
        this.settled([...batch.values()], answer);
        if (answer.error) throw answer.error;
      }
    } catch (error) {
      this.failed(error);
    } finally {
      this.#sending = false;
      this.changed();
    }
  }

  /** The entries of whoever is signed in; one that says nothing of that was made without a token. */
  #own() {
    const owner = this.owner();
    return [...this.#kept].filter(([, operation]) => (operation.owner ?? null) === owner);
  }

  /** The operations of the next request: reviews that follow each other, or one undo or frame. */
  #next() {
    const batch = new Map();
    let count = 0;
    for (const [name, operation] of this.#own()) {
      if (operation.kind !== "review") return batch.size === 0 ? new Map([[name, operation]]) : batch;
      count += operation.reviews.length;
      if (count > MAX_BATCH && batch.size > 0) break;
      batch.set(name, operation);
    }
    return batch;
  }

  #send(batch) {
    if (batch[0].kind === "undo") return this.#sendUndo(batch[0]);
    if (batch[0].kind === "frame") return this.#sendFrame(batch[0]);
    return this.#sendReviews(batch.flatMap(({ reviews }) => reviews));
  }

  async #sendFrame({ framing, to }) {
    const { key, image_id, reviewer } = framing;
    try {
      await this.api.frame(image_id, reviewer, squareOf(framing[to]));
      return { refused: [], again: [] };
    } catch (error) {
      if (isPassing(error)) throw error;
      return { refused: [{ key, image_id, problem: problemOf(error) }], again: [] };
    }
  }

  async #sendReviews(reviews) {
    let results;
    try {
      results = await this.api.review(reviews);
    } catch (error) {
      if (isPassing(error)) throw error;
      results = reviews.map(() => ({ ok: false, problem: problemOf(error) }));
    }
    const judged = reviews.map((review, at) => ({ key: review.key, image_id: review.image_id, problem: results[at].problem }));
    const bad = judged.filter((_, at) => !results[at].ok);
    const passing = bad.filter(({ problem }) => isPassing(problem));
    const first = passing[0]?.problem;
    return {
      refused: bad.filter(({ problem }) => !isPassing(problem)),
      again: passing.map(({ key }) => key),
      error: first && new ApiError(first.code, first.detail, first.advice, first.status),
    };
  }

  async #sendUndo({ reviewer, reviews }) {
    const answers = await Promise.allSettled(reviews.map(({ key }) => this.api.undo(reviewer, key)));
    const errors = answers.map(({ reason }) => reason);
    const passing = errors.find((error) => error && isPassing(error));
    if (passing) throw passing; // all again: what is taken back stays so
    const refused = reviews.map(({ key, image_id }, at) => ({ key, image_id, problem: errors[at] && problemOf(errors[at]) }));
    return { refused: refused.filter(({ problem }) => problem), again: [] };
  }

  /** A refused review: what takes it back has nothing to do. */
  #forget(key) {
    for (const [name, operation] of [...this.#kept]) {
      const [rest] = withoutReview([operation], key);
      if (rest === undefined) this.#drop(name);
      else this.#keep(name, rest);
    }
  }

  #keep(name, operation) {
    this.#kept.set(name, operation);
    try {
      this.storage.setItem(name, JSON.stringify(operation));
    } catch {
      // No room: it is sent all the same, as long as the page is open.
    }
  }

  #drop(name) {
    this.#kept.delete(name);
    this.storage.removeItem(name);
  }
}
