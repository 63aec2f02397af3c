// The requests of the review page: what is asked, and what is said where it fails.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as api from "../../../services/labeler_api/web/static/api.js";
import { brokenOff, fakeBrowser, json, refused } from "./browser_fakes.mjs";

const UNREACHABLE = {
  code: "unreachable",
  message: "The server does not answer.",
  advice: "This page tries again by itself.",
};

/** What an ApiError holds, to be compared. */
const told = (expected) => (error) => {
  assert.ok(error instanceof api.ApiError, String(error));
  const { code, message, advice, status } = error;
  assert.deepEqual({ code, message, advice, status }, { status: 0, ...expected });
  return true;
};

describe("whose the key is", () => {
  test("a token names its owner by its id, and nothing else does", () => {
    fakeBrowser(() => json({}));
    assert.equal(api.tokenId(), null);
    for (const [key, id] of [[`0123abcd.${"s-_".repeat(14)}x`, "0123abcd"], ["secret", null], ["0123abcd.secret", null]]) {
      api.useKey(key);
      assert.equal(api.tokenId(), id);
    }
  });
});

describe("requests", () => {
  test("what is only read is asked for with GET, its filter in the query", async () => {
    const requests = fakeBrowser(() => json({ rebalances: ["one"] }));
    await api.balance();
    assert.deepEqual(await api.campaigns(3), ["one"]);
    await api.images({ status: "pending", condition: "acne", cursor: "a&b", limit: 48 });
    await api.image("7");
    assert.deepEqual(requests.map(({ path }) => path), [
      "/v1/balance",
      "/v1/rebalances?limit=3",
      "/v1/images?status=pending&condition=acne&cursor=a%26b&limit=48",
      "/v1/images/7",
    ]);
    for (const { method, body, headers } of requests)
      assert.deepEqual([method, body, headers], [undefined, undefined, {}]);
  });

  test("reviews and their undoing are posted as JSON", async () => {
    const requests = fakeBrowser(() => json({ results: [{ ok: true }], status: "pending" }));
    const review = { image_id: "7", verdict: "accepted", reviewer: "Ada" };
    assert.deepEqual(await api.review([review]), [{ ok: true }]);
    assert.equal((await api.undo("Ada")).status, "pending");
    await api.undo("Ada", "key");
    assert.deepEqual(requests.map(({ path, body }) => [path, JSON.parse(body)]), [
      ["/v1/reviews", { reviews: [review] }],
      ["/v1/reviews/undo", { reviewer: "Ada" }],
      ["/v1/reviews/undo", { reviewer: "Ada", key: "key" }],
    ]);
    for (const { method, headers } of requests) {
      assert.deepEqual([method, headers], ["POST", { "Content-Type": "application/json" }]);
    }
  });

  test("given no key, when one is remembered, then every request carries it", async () => {
    const requests = fakeBrowser(() => json({}));
    assert.equal(api.hasKey(), false);
    await api.balance();
    api.useKey("secret");
    assert.equal(api.hasKey(), true);
    await api.balance();
    await api.undo("Ada");
    const sent = requests.map(({ headers }) => headers.Authorization);
    assert.deepEqual(sent, [undefined, "Bearer secret", "Bearer secret"]);
    assert.equal(requests[2].headers["Content-Type"], "application/json");
  });
});

describe("failures", () => {
  test("a problem document is passed on as it is", async () => {
    const advice = "Review it again.";
    fakeBrowser(() => json({ code: "conflict", detail: "Somebody was first.", advice }, 409));
    await assert.rejects(api.undo("Ada"), told({ code: "conflict", message: "Somebody was first.", advice, status: 409 }));
  });

  test("a problem without advice has an empty one", async () => {
    fakeBrowser(() => json({ code: "not_found", detail: "No such image." }, 404));
    await assert.rejects(api.image("7"), told({ code: "not_found", message: "No such image.", advice: "", status: 404 }));
  });

  test("of an answer that is no problem document, its status is told", async () => {
    for (const body of ["<html>Bad gateway</html>", "", "null"]) {
      fakeBrowser(() => new Response(body, { status: 502 }));
      await assert.rejects(api.balance(), told({ code: "unknown", message: "The server answered 502.", advice: "", status: 502 }));
    }
  });

  test("a server that cannot be reached is told as such", async () => {
    fakeBrowser(refused);
    await assert.rejects(api.balance(), told(UNREACHABLE));
  });

  test("so is one that is gone before the end of its answer", async () => {
    fakeBrowser(brokenOff);
    await assert.rejects(api.balance(), told(UNREACHABLE));
    await assert.rejects(api.review([]), told(UNREACHABLE));
  });

  test("an answer that is not JSON cannot be read", async () => {
    fakeBrowser(() => new Response("<html>Log in</html>"));
    const expected = { ...UNREACHABLE, code: "unreadable", message: "The server's answer cannot be read." };
    await assert.rejects(api.balance(), told(expected));
  });
});

describe("pictures", () => {
  /** An <img> as far as `show` needs one. */
  class Picture extends EventTarget {
    dataset = {};
    src = "";
  }

  /** Count object URLs that were made and not given back. */
  function countUrls() {
    const open = new Set();
    let made = 0;
    URL.createObjectURL = () => {
      made += 1;
      open.add(`blob:${made}`);
      return `blob:${made}`;
    };
    URL.revokeObjectURL = (url) => open.delete(url);
    return open;
  }

  test("without a key the browser fetches the picture itself", async () => {
    const requests = fakeBrowser(refused);
    const img = new Picture();
    await api.show(img, "/v1/images/7/content");
    assert.deepEqual([img.src, requests], ["/v1/images/7/content", []]);
  });

  test("with a key it is fetched with that, and its memory given back once it is drawn", async () => {
    const open = countUrls();
    const requests = fakeBrowser(() => new Response("a picture"));
    api.useKey("secret");
    const img = new Picture();
    await api.show(img, "/v1/images/7/content");
    assert.equal(requests[0].headers.Authorization, "Bearer secret");
    assert.deepEqual([img.src, open.size], ["blob:1", 1]);
    img.dispatchEvent(new Event("load"));
    assert.equal(open.size, 0);
  });

  test("given a picture is on its way, when another is wanted, then the first is thrown away", async () => {
    const open = countUrls();
    const waiting = new Map();
    fakeBrowser((path) => new Promise((resolve) => waiting.set(path, resolve)));
    api.useKey("secret");
    const img = new Picture();
    const first = api.show(img, "/1");
    const second = api.show(img, "/2");
    waiting.get("/2")(new Response("second"));
    await second;
    const shown = img.src;
    waiting.get("/1")(new Response("first"));
    await first;
    assert.equal(img.src, shown);
    assert.deepEqual([...open], [shown]);
  });

  test("given pictures were fetched ahead, when others are wanted, then only those are fetched", () => {
    fakeBrowser(refused);
    const made = [];
    globalThis.Image = class {
      set src(path) {
        made.push(path);
      }
    };
    api.prefetch(["/1", "/2"]);
    api.prefetch(["/2", "/3"]);
    api.prefetch(["/1"]);
    assert.deepEqual(made, ["/1", "/2", "/3", "/1"]);
    api.prefetch([]);
  });

  test("with a key they are fetched with that, and a failure is nobody's concern until they are shown", async () => {
    const requests = fakeBrowser(refused);
    api.useKey("secret");
    api.prefetch(["/1"]);
    await new Promise(setImmediate);
    assert.deepEqual(requests.map(({ path, headers }) => [path, headers.Authorization]), [["/1", "Bearer secret"]]);
    api.prefetch([]);
  });

  test("a picture whose connection breaks off is told as a server that does not answer", async () => {
    fakeBrowser(brokenOff);
    api.useKey("secret");
    await assert.rejects(api.show(new Picture(), "/1"), told(UNREACHABLE));
  });
});
