// Verdicts on their way: none is lost, none is sent in vain, and they arrive in order.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { ApiError } from "../../../services/labeler_api/web/static/api.js";
import { Outbox, isPassing, newKey } from "../../../services/labeler_api/web/static/outbox.js";

/** A browser's storage, with room for so many entries. */
class Storage {
  kept = new Map();
  constructor(room = Infinity) {
    this.room = room;
  }
  get length() {
    return this.kept.size;
  }
  key = (at) => [...this.kept.keys()][at] ?? null;
  getItem = (name) => this.kept.get(name) ?? null;
  removeItem = (name) => this.kept.delete(name);
  setItem(name, value) {
    if (!this.kept.has(name) && this.kept.size >= this.room) throw new Error("QuotaExceededError");
    this.kept.set(name, value);
  }
}

const AWAY = new ApiError("unreachable", "The server does not answer.");
const review = (...keys) => ({ kind: "review", reviews: keys.map((key) => ({ key, image_id: `image ${key}`, verdict: "accepted", seen: { labels: {} } })) });
const undo = (...keys) => ({ kind: "undo", reviewer: "Ada", reviews: keys.map((key) => ({ key, image_id: `image ${key}` })), before: {} });

/** An outbox, what it asked the server for, and what it told. `answer` is the server. */
function outboxOf({ storage = new Storage(), answer = () => {}, owner = () => null } = {}) {
  const asked = [];
  const settled = [];
  const failed = [];
  const ask = async (kind, keys) => {
    asked.push([kind, ...keys]);
    return (await answer(kind, keys)) ?? keys.map(() => ({ ok: true }));
  };
  const api = { review: (reviews) => ask("review", reviews.map(({ key }) => key)), undo: (_, key) => ask("undo", [key]) };
  const outbox = new Outbox({
    storage,
    api,
    owner,
    changed: () => {},
    settled: (operations, { refused }) => settled.push([operations.length, refused.map(({ key, image_id, problem }) => [key, image_id, problem.code])]),
    failed: (error) => failed.push(error),
    now: () => 7,
  });
  return { outbox, storage, asked, settled, failed };
}

const keysOf = ({ operations }) => operations.map(({ reviews }) => reviews.map(({ key }) => key));

describe("sending", () => {
  test("what is answered is kept no more", async () => {
    const { outbox, storage, asked, settled, failed } = outboxOf();
    await outbox.add(review("1"));
    assert.deepEqual([asked, settled, failed], [[["review", "1"]], [[1, []]], []]);
    assert.deepEqual([outbox.operations, storage.length], [[], 0]);
  });

  test("given one is under way, when others follow, then reviews go together and an undo in its place", async () => {
    let open;
    const held = new Promise((resolve) => (open = resolve));
    const { outbox, asked } = outboxOf({ answer: (kind, keys) => (keys[0] === "1" && kind === "review" ? held : undefined) });
    const first = outbox.add(review("1"));
    for (const operation of [review("2"), review("3", "4"), undo("4", "3"), review("5")]) outbox.add(operation);
    open();
    await first;
    assert.deepEqual(asked, [["review", "1"], ["review", "2", "3", "4"], ["undo", "4"], ["undo", "3"], ["review", "5"]]);
    assert.deepEqual(outbox.operations, []);
  });

  test("a request holds no more reviews than the server takes", async () => {
    let away = true;
    const { outbox, asked } = outboxOf({ answer: () => { if (away) throw AWAY; } });
    const many = (from) => review(...Array.from({ length: 300 }, (_, at) => String(from + at)));
    await outbox.add(many(0));
    await outbox.add(many(300));
    away = false;
    asked.length = 0;
    await outbox.flush();
    assert.deepEqual(asked.map(([, ...keys]) => keys.length), [300, 300]);
  });
});

describe("a server that is away", () => {
  test("everything is kept, also for another page, and sent in order once it is back", async () => {
    let away = true;
    const storage = new Storage();
    const answer = () => {
      if (away) throw AWAY;
    };
    const before = outboxOf({ storage, answer });
    await before.outbox.add(review("1"));
    await before.outbox.add(review("2"));
    await before.outbox.add(undo("2"));
    assert.deepEqual([before.failed.length, before.settled], [3, []]);
    const after = outboxOf({ storage, answer });
    assert.deepEqual(keysOf(after.outbox), [["1"], ["2"], ["2"]]);
    away = false;
    await after.outbox.flush();
    assert.deepEqual(after.asked, [["review", "1", "2"], ["undo", "2"]]);
    assert.equal(storage.length, 0);
  });

  test("an undo that reached the server in part is sent again as a whole", async () => {
    let away = true;
    const { outbox, asked } = outboxOf({ answer: (_, [key]) => { if (away && key === "1") throw AWAY; } });
    await outbox.add(undo("2", "1"));
    away = false;
    await outbox.flush();
    assert.deepEqual(asked, [["undo", "2"], ["undo", "1"], ["undo", "2"], ["undo", "1"]]);
    assert.deepEqual(outbox.operations, []);
  });

  test("of a request that was taken in part, the rest is sent again", async () => {
    const busy = { ok: false, problem: { code: "database_unavailable", detail: "Later.", status: 503 } };
    let first = true;
    const { outbox, asked, failed } = outboxOf({ answer: (_, keys) => (first ? ((first = false), keys.map((key) => (key === "2" ? busy : { ok: true }))) : undefined) });
    await outbox.add(review("1", "2"));
    assert.deepEqual([keysOf(outbox), failed[0].code, failed[0].status], [[["2"]], "database_unavailable", 503]);
    await outbox.flush();
    assert.deepEqual(asked, [["review", "1", "2"], ["review", "2"]]);
  });

  test("which answers pass by themselves, and which do not", () => {
    for (const [status, code] of [[0, "unreachable"], [0, "unreadable"], [401, "unauthorized"], [429, "busy"], [500, "internal_error"], [503, "x"], [404, "unknown"]])
      assert.equal(isPassing({ status, code }), true, `${status} ${code}`);
    for (const [status, code] of [[404, "not_found"], [409, "stale_review"], [413, "too_large"], [422, "invalid_request"]])
      assert.equal(isPassing({ status, code }), false, `${status} ${code}`);
  });
});

describe("whoever signs in", () => {
  test("what one decided is neither shown nor sent while another is signed in, and waits for the first", async () => {
    let owner = "ada";
    let refused = true;
    const answer = () => {
      if (refused) throw new ApiError("unauthorized", "No.", "", 401);
    };
    const storage = new Storage();
    const { outbox, asked } = outboxOf({ storage, answer, owner: () => owner });
    await outbox.add(review("1"));
    await outbox.add(undo("1"));
    [owner, refused] = ["bob", false];
    asked.length = 0;
    assert.deepEqual(keysOf(outbox), []);
    await outbox.flush();
    await outbox.add(review("2"));
    assert.deepEqual([asked, storage.length], [[["review", "2"]], 2]);
    const after = outboxOf({ storage, owner: () => "ada" });
    assert.deepEqual(keysOf(after.outbox), [["1"], ["1"]]);
    await after.outbox.flush();
    assert.deepEqual([after.asked, storage.length], [[["review", "1"], ["undo", "1"]], 0]);
  });

  test("one cannot withdraw what another decided", async () => {
    let owner = "ada";
    const storage = new Storage();
    const { outbox } = outboxOf({ storage, answer: () => new Promise(() => {}), owner: () => owner });
    outbox.add(review("1"));
    outbox.add(review("2"));
    owner = "bob";
    assert.equal(outbox.withdraw("2"), false);
    owner = "ada";
    assert.equal(outbox.withdraw("2"), true);
  });
});

describe("refusals", () => {
  const refusal = { ok: false, problem: { code: "stale_review", detail: "Meanwhile …", status: 409 } };

  test("a refused review is told, not sent again, and what takes it back is not sent at all", async () => {
    let open;
    const held = new Promise((resolve) => (open = () => resolve([refusal, { ok: true }])));
    const { outbox, asked, settled } = outboxOf({ answer: (kind) => (kind === "review" ? held : undefined) });
    const first = outbox.add(review("1", "2"));
    outbox.add(undo("2", "1"));
    open();
    await first;
    assert.deepEqual(asked, [["review", "1", "2"], ["undo", "2"]]);
    assert.deepEqual(settled[0], [1, [["1", "image 1", "stale_review"]]]);
    assert.deepEqual(outbox.operations, []);
  });

  test("a request that is refused as a whole does not stand in the way of the next", async () => {
    const { outbox, settled } = outboxOf({ answer: (_, [key]) => { if (key === "1") throw new ApiError("invalid_request", "Wrong.", "", 422); } });
    await outbox.add(review("1"));
    await outbox.add(review("2"));
    assert.deepEqual(settled, [[1, [["1", "image 1", "invalid_request"]]], [1, []]]);
  });

  test("an undo that is refused is told with its picture", async () => {
    const { outbox, settled } = outboxOf({ answer: (_, [key]) => { if (key === "1") throw new ApiError("conflict", "Bob.", "", 409); } });
    await outbox.add(undo("2", "1"));
    assert.deepEqual([settled, outbox.operations], [[[1, [["1", "image 1", "conflict"]]]], []]);
  });
});

describe("a corrected frame", () => {
  const [before, after] = [{ frame: { square: 1 }, frame_reviewer: null }, { frame: { square: 2 }, frame_reviewer: "Ada" }];
  const frame = (to, key = "f") => ({ kind: "frame", framing: { key, image_id: "image", reviewer: "Ada", before, after }, to, reviews: [] });
  const withFrames = (answer) => {
    const all = outboxOf();
    all.outbox.api.frame = async (...said) => {
      all.asked.push(["frame", ...said]);
      answer?.(said);
    };
    return all;
  };

  test("it is sent in its place among verdicts, and taken back as it was found", async () => {
    const { outbox, asked, settled } = withFrames();
    await Promise.all([outbox.add(review("1")), outbox.add(frame("after")), outbox.add(review("2")), outbox.add(frame("before"))]);
    assert.deepEqual(asked, [["review", "1"], ["frame", "image", "Ada", 2], ["review", "2"], ["frame", "image", "Ada", null]]);
    assert.deepEqual([settled.length, outbox.operations], [4, []]);
  });

  test("it waits while the server is away, and one that is refused is told and dropped", async () => {
    let error = AWAY;
    const { outbox, asked, settled, failed } = withFrames(() => {
      if (error) throw error;
    });
    await outbox.add(frame("after"));
    assert.deepEqual([outbox.operations.length, failed], [1, [AWAY]]);
    error = new ApiError("invalid_request", "The square's centre lies outside the picture.", "", 422);
    await outbox.flush();
    assert.deepEqual([asked.length, outbox.operations, settled], [2, [], [[1, [["f", "image", "invalid_request"]]]]]);
  });
});

describe("withdrawing", () => {
  test("what no request has had is dropped; what one had may be at the server", async () => {
    let open;
    const held = new Promise((resolve) => (open = resolve));
    const { outbox, storage, asked } = outboxOf({ answer: () => held });
    const first = outbox.add(review("1"));
    outbox.add(review("2", "3"));
    assert.equal(outbox.withdraw("1"), false);
    assert.equal(outbox.withdraw("2"), true);
    assert.equal(outbox.withdraw("4"), false);
    assert.equal(storage.length, 1);
    open();
    await first;
    assert.deepEqual(asked, [["review", "1"]]);
  });

  test("given another page sends what this one keeps, then this one does not drop it", async () => {
    let open;
    const storage = new Storage();
    const one = outboxOf({ storage, answer: () => new Promise((resolve) => (open ??= resolve)) });
    one.outbox.add(review("1"));
    one.outbox.add(review("2"));
    const other = outboxOf({ storage, answer: () => new Promise(() => {}) });
    other.outbox.flush();
    assert.equal(one.outbox.withdraw("2"), false);
  });
});

describe("storage", () => {
  test("without room a verdict is sent all the same", async () => {
    const { outbox, asked } = outboxOf({ storage: new Storage(0) });
    await outbox.add(review("1"));
    assert.deepEqual(asked, [["review", "1"]]);
  });

  test("what other parts of the page keep is left alone, and what nobody can read is dropped", () => {
    const storage = new Storage();
    storage.setItem("evenskin-reviewer", "Ada");
    storage.setItem("evenskin-verdict-0", "{");
    const { outbox } = outboxOf({ storage });
    assert.deepEqual([outbox.operations, [...storage.kept.keys()]], [[], ["evenskin-reviewer"]]);
  });

  test("keys are UUIDs, each another", () => {
    const keys = new Set(Array.from({ length: 100 }, newKey));
    assert.equal(keys.size, 100);
    for (const key of keys) assert.match(key, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});
