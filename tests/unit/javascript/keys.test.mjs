// Which key asks for what, and how that is changed.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as k from "../../../services/labeler_api/web/static/keys.js";
import { CONDITIONS, SEVERITIES } from "../../../services/labeler_api/web/static/review.js";

const NOT_HELD = { ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, repeat: false };
const press = (key, held = {}, changed = {}) => k.keyAction({ key, ...NOT_HELD, ...held }, k.keysOf(changed));

describe("keys", () => {
  test("digits say the condition, and q w e how severe it is", () => {
    assert.deepEqual(["1", "2", "3", "4", "5", "6", "7"].map((key) => press(key)), CONDITIONS.map((c) => ["condition", c]));
    assert.deepEqual(["q", "w", "e"].map((key) => press(key)), SEVERITIES.map((s) => ["severity", s]));
  });

  test("each verdict has its key, letters in either case", () => {
    const said = { Enter: "accept", a: "accept", r: "reject", Backspace: "why", x: "ungradable", ".": "repeat", u: "undo", y: "redo", f: "frame", "?": "help" };
    for (const [key, action] of Object.entries(said)) {
      assert.deepEqual(press(key), [action]);
      if (/^[a-z]$/.test(key)) assert.deepEqual(press(key.toUpperCase(), { shiftKey: true }), [action]);
    }
    assert.deepEqual(press("?", { shiftKey: true }), ["help"]);
    assert.deepEqual(press("Escape"), ["one"]);
  });

  test("arrows move by columns and rows, with Shift too, which the page takes for a range", () => {
    assert.deepEqual(press("ArrowLeft"), ["move", [-1, 0]]);
    assert.deepEqual(press("ArrowRight", { shiftKey: true }), ["move", [1, 0]]);
    assert.deepEqual(press("ArrowUp"), ["move", [0, -1]]);
    assert.deepEqual(press("ArrowDown"), ["move", [0, 1]]);
  });

  test("Ctrl or Command with a chooses all, with z goes back and forth; every other combination is the browser's", () => {
    assert.deepEqual(press("a", { ctrlKey: true }), ["all"]);
    assert.deepEqual(press("A", { metaKey: true }), ["all"]);
    assert.deepEqual(press("z", { ctrlKey: true }), ["undo"]);
    assert.deepEqual(press("Z", { metaKey: true, shiftKey: true }), ["redo"]);
    assert.equal(press("a", { ctrlKey: true, shiftKey: true }), null);
    assert.equal(press("a", { ctrlKey: true, altKey: true }), null);
    for (const key of ["r", "u", "1", "ArrowLeft", "Escape", "Enter", "Backspace"]) {
      assert.equal(press(key, { ctrlKey: true }), null, key);
      assert.equal(press(key, { metaKey: true }), null, key);
      assert.equal(press(key, { altKey: true }), null, key);
    }
  });

  test("other keys ask for nothing", () => {
    for (const key of ["b", "0", "8", "Tab", " ", "escape", "ESCAPE", "Dead", "ä", "toString"]) assert.equal(press(key), null, key);
  });

  test("a key held down moves on and on, but decides once: no picture is judged unseen", () => {
    const held = { repeat: true };
    assert.deepEqual(press("ArrowRight", held), ["move", [1, 0]]);
    assert.deepEqual(press("a", { ...held, ctrlKey: true }), ["all"]);
    for (const key of ["a", "Enter", "Backspace", "r", "u", "1", "q", ".", "Escape"]) assert.equal(press(key, held), null, key);
    assert.equal(press("z", { ...held, ctrlKey: true }), null);
  });
});

describe("changed keys", () => {
  test("an action answers to its new key, in either case, and to its old ones no more", () => {
    const { changed } = k.rebound({}, "accept", "G");
    assert.deepEqual(press("g", {}, changed), ["accept"]);
    assert.deepEqual(press("G", {}, changed), ["accept"]);
    for (const key of ["Enter", "a"]) assert.equal(press(key, {}, changed), null);
    assert.deepEqual(press("r", {}, changed), ["reject"]);
  });

  test("a key that another action has is refused with its name; its own is not", () => {
    assert.deepEqual(k.rebound({}, "accept", "R"), { taken: "reject" });
    assert.deepEqual(k.rebound({}, "accept", "7"), { taken: "condition:aging" });
    assert.deepEqual(k.rebound({}, "accept", "a"), { changed: { accept: "a" } });
  });

  test("given a key was given up, then another action can have it", () => {
    const { changed } = k.rebound({}, "accept", "g");
    const again = k.rebound(changed, "reject", "Enter").changed;
    assert.deepEqual(press("Enter", {}, again), ["reject"]);
    assert.deepEqual(changed, { accept: "g" });
  });

  test("keys that move or leave cannot be given", () => {
    for (const key of ["ArrowLeft", "Escape", "Tab", "Shift", "Dead"]) assert.deepEqual(k.rebound({}, "accept", key), { taken: "" });
  });

  test("what is kept and makes no sense is passed over", () => {
    for (const changed of [null, 7, { accept: 7 }, { accept: "" }, { accept: "Tab" }, { nothing: "g" }])
      assert.deepEqual(k.keysOf(changed), k.keysOf({}), JSON.stringify(changed));
    const twice = k.keysOf({ accept: "g", reject: "g" });
    assert.deepEqual([twice.get("accept"), twice.get("reject")], [["g"], ["r"]]);
  });

  test("no two actions share a key, and each has a text", () => {
    const all = k.ACTIONS.flatMap(({ keys }) => keys);
    assert.equal(new Set(all).size, all.length);
    assert.ok(k.ACTIONS.every(({ text }) => text.length > 0));
    assert.deepEqual(["Enter", "q", " "].map(k.keyText), ["⏎", "q", "Space"]);
  });
});
