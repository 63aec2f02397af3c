// What a verdict makes of a picture before the server has it, and how it is taken back and given again.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as v from "../../../services/labeler_api/web/static/verdicts.js";

const image = (id, changes = {}) => ({ id, status: "pending", labels: { acne: "mild" }, reviewer: null, reason: null, created_at: id, ...changes });
const action = (...keys) => ({
  said: { verdict: "accepted" },
  reviews: keys.map((key) => v.reviewOf(image(`image ${key}`), "accepted", "Ada", key)),
  before: Object.fromEntries(keys.map((key) => [`image ${key}`, v.stateOf(image(key))])),
});

describe("reviews", () => {
  test("a plain verdict says no more than it must: whose, under which key, and what was seen", () => {
    const seen = { status: "pending", labels: { acne: "mild" } };
    assert.deepEqual(v.reviewOf(image("a"), "accepted", "Ada", "k"), { image_id: "a", verdict: "accepted", reviewer: "Ada", key: "k", seen });
  });

  test("labels are sent if there are any, even empty ones", () => {
    const labels = (given) => v.reviewOf(image("a"), "accepted", "Ada", "k", { labels: given });
    assert.deepEqual(labels({ acne: null }).labels, { acne: null });
    assert.deepEqual(labels({}).labels, {});
    assert.equal("labels" in labels(null), false);
  });

  test("a reason goes with a rejection only, trimmed, and not at all if it is blank", () => {
    const of = (verdict, reason) => v.reviewOf(image("a"), verdict, "Ada", "k", { reason });
    assert.equal(of("rejected", "  blurred ").reason, "blurred");
    assert.equal("reason" in of("rejected", " \t"), false);
    assert.equal("reason" in of("accepted", "blurred"), false);
  });
});

describe("operations", () => {
  test("a picture is what the last of them makes of it", () => {
    const rejected = v.reviewOf(image("a"), "rejected", "Ada", "1", { reason: "artefact" });
    const relabelled = v.reviewOf(image("b"), "accepted", "Ada", "2", { labels: { aging: null } });
    const states = v.statesOf([{ kind: "review", reviews: [rejected, relabelled] }]);
    assert.deepEqual(Object.fromEntries(states), {
      a: { status: "rejected", labels: { acne: "mild" }, reviewer: "Ada", reason: "artefact" },
      b: { status: "accepted", labels: { aging: null }, reviewer: "Ada", reason: null },
    });
    const one = action("1", "2");
    const back = v.statesOf([v.asOperation(one), v.asUndo(one)]);
    assert.deepEqual([...back.values()], [v.stateOf(image("1")), v.stateOf(image("2"))]);
    assert.deepEqual(v.statesOf([]), new Map());
  });

  test("an action is taken back from its last review to its first", () => {
    const { kind, reviewer, reviews } = v.asUndo(action("1", "2"));
    assert.deepEqual([kind, reviewer, reviews], ["undo", "Ada", [{ key: "2", image_id: "image 2" }, { key: "1", image_id: "image 1" }]]);
  });

  test("of a review that was refused nothing is left, neither to send nor to take back", () => {
    const both = action("1", "2");
    const left = v.withoutReview([v.asOperation(both), v.asUndo(both), v.asOperation(action("3"))], "1");
    assert.deepEqual(left.map(({ reviews }) => reviews.map(({ key }) => key)), [["2"], ["2"], ["3"]]);
    assert.deepEqual(v.withoutReview([v.asOperation(action("1")), v.asUndo(action("1"))], "1"), []);
    assert.deepEqual(Object.keys(Object.fromEntries(v.statesOf(left))), ["image 2", "image 3"]);
  });

  test("they are counted by verdicts", () => {
    assert.equal(v.countOf([]), 0);
    assert.equal(v.countOf([v.asOperation(action("1", "2")), v.asUndo(action("3"))]), 3);
  });

  test("a record that was read before a verdict leaves the picture as it is known", () => {
    const read = image("a", { prompt: "a face" });
    const known = image("a", { status: "accepted", reviewer: "Ada" });
    assert.deepEqual(v.withState(read, known), { ...known, prompt: "a face" });
    assert.equal(v.withState(read, undefined), read);
  });
});

describe("a corrected frame", () => {
  const square = { x: 1, y: 2, side: 40, roll: 0 };
  const found = image("a", { frame: { width: 90, square: { ...square, x: 9 } } });
  const framing = v.framed(found, square, "Ada", "f");
  const corrected = { frame: { width: 90, square }, frame_reviewer: "Ada" };

  test("the picture has it at once, beside its verdict, and not once it is taken back", () => {
    const review = v.asOperation(action("1"));
    const forth = v.statesOf([review, v.asOperation({ ...framing, framing: { ...framing.framing, image_id: "image 1" } })]);
    assert.deepEqual(forth.get("image 1"), { status: "accepted", labels: { acne: "mild" }, reviewer: "Ada", reason: null, ...corrected });
    const back = v.statesOf([v.asOperation(framing), v.asUndo(framing)]);
    assert.deepEqual(back.get("a"), { frame: found.frame, frame_reviewer: null });
  });

  test("the server is told its square, or none where it lay as it was found", () => {
    assert.deepEqual([v.squareOf(framing.framing.after), v.squareOf(framing.framing.before)], [square, null]);
    const again = v.framed({ ...found, ...corrected }, { ...square, x: 7 }, "Bob", "g");
    assert.deepEqual(v.squareOf(again.framing.before), square);
  });

  test("it counts, is forgotten where it is refused, and cannot be said of other pictures", () => {
    const operations = [v.asOperation(framing), v.asOperation(action("1", "2"))];
    assert.equal(v.countOf(operations), 3);
    assert.deepEqual(v.withoutReview(operations, "f"), [operations[1]]);
    assert.deepEqual(v.withoutReview([operations[0]], "1"), [operations[0]]);
    const history = v.decided(v.decided(v.noHistory, action("1")), framing);
    assert.deepEqual(v.lastSaid(history), { verdict: "accepted" });
    assert.equal(v.lastSaid(v.decided(v.noHistory, framing)), undefined);
    assert.deepEqual(v.forgotten(history, "f").done, [action("1")]);
  });
});

describe("history", () => {
  const [first, second] = [action("1"), action("2")];
  let made = 0;
  const newKey = () => `new ${(made += 1)}`;

  test("it goes back to its beginning and forth to its end, and no further", () => {
    let history = v.decided(v.decided(v.noHistory, first), second);
    const back = [];
    for (let taken; (([history, taken] = v.takenBack(history)), taken !== null); ) back.push(taken);
    assert.deepEqual([back, history.done.length], [[second, first], 0]);
    const forth = [];
    for (let again; (([history, again] = v.doneAgain(history, newKey)), again !== null); ) forth.push(again.reviews[0].image_id);
    assert.deepEqual([forth, history.undone.length], [["image 1", "image 2"], 0]);
  });

  test("what is done again has new keys, and is otherwise the same", () => {
    const [, again] = v.doneAgain({ done: [], undone: [action("1", "2")] }, newKey);
    const keys = again.reviews.map(({ key }) => key);
    assert.equal(new Set([...keys, "1", "2"]).size, 4);
    assert.deepEqual(again.reviews.map(({ key, ...rest }) => rest), action("1", "2").reviews.map(({ key, ...rest }) => rest));
  });

  test("another verdict ends what could be done again", () => {
    const [history] = v.takenBack(v.decided(v.noHistory, first));
    assert.deepEqual(v.decided(history, second), { done: [second], undone: [] });
  });

  test("a refused review is no more in it, nor an action that has none left", () => {
    const history = v.decided(v.decided(v.noHistory, action("1", "2")), action("3"));
    const left = v.forgotten(v.forgotten(history, "1"), "3");
    assert.deepEqual(left.done.map(({ reviews }) => reviews.map(({ key }) => key)), [["2"]]);
  });
});

describe("lists", () => {
  const imageOf = (id) => image(id);

  test("what comes back is put where it was, by when it came, and once", () => {
    assert.deepEqual(v.merged(["b", "d"], ["c", "a", "e", "b"], imageOf), ["a", "b", "c", "d", "e"]);
    assert.deepEqual(v.merged([], ["a"], imageOf), ["a"]);
  });

  test("the list given is left as it is", () => {
    const ids = Object.freeze(["b"]);
    v.merged(ids, ["a"], imageOf);
    assert.deepEqual(ids, ["b"]);
  });
});
