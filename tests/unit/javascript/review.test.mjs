// What the review page knows and decides, without the page.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as r from "../../../services/labeler_api/web/static/review.js";

const IDS = ["a", "b", "c", "d", "e"];

/** A list of pictures with `chosen` of them, the first of those current and anchor unless said otherwise. */
const selected = (chosen, { ids = IDS, current = chosen[0] ?? null, anchor = current } = {}) => ({
  ids,
  chosen: new Set(chosen),
  current,
  anchor,
});
const chosenOf = (selection) => [...selection.chosen].sort();

describe("words", () => {
  test("a condition begins with a capital and has no underscores", () => {
    assert.equal(r.conditionText("acne"), "Acne");
    assert.equal(r.conditionText("textured_skin"), "Textured skin");
    assert.equal(r.conditionText("a_b_c"), "A b c");
  });

  test("a severity is called as the server calls it, the lowest of textured skin slight", () => {
    assert.deepEqual(r.SEVERITIES.map((s) => r.severityText("acne", s)), ["mild", "moderate", "severe"]);
    assert.deepEqual(r.SEVERITIES.map((s) => r.severityText("textured_skin", s)), ["slight", "moderate", "severe"]);
    assert.equal(r.severityText("", "mild"), "mild");
  });

  test("a severity that nobody gave is not graded, whichever way that is said", () => {
    assert.equal(r.severityText("textured_skin", null), "not graded");
    assert.equal(r.severityText("acne", "unknown"), "not graded");
  });

  test("labels are listed in order, and none mean clear skin", () => {
    assert.equal(r.labelText({}), "Clear skin");
    assert.equal(r.labelText({ pore_size: "severe" }), "Pore size, severe");
    assert.equal(r.labelText({ textured_skin: "mild", acne: null }), "Textured skin, slight; Acne, not graded");
  });
});

describe("selection", () => {
  test("given several chosen, when one is picked, then it alone is chosen, current and anchor", () => {
    assert.deepEqual(r.only(selected(["a", "b"]), "d"), selected(["d"]));
  });

  test("given one chosen, when another is toggled, then both are chosen and a range starts at it", () => {
    const next = r.toggled(selected(["a"]), "c");
    assert.deepEqual(chosenOf(next), ["a", "c"]);
    assert.deepEqual([next.current, next.anchor], ["c", "c"]);
  });

  test("given two chosen, when one is toggled, then it is chosen no more but shown", () => {
    const next = r.toggled(selected(["a", "c"]), "c");
    assert.deepEqual(chosenOf(next), ["a"]);
    assert.equal(next.current, "c");
  });

  test("a range reaches from the anchor to the picture, in either direction, and keeps its anchor", () => {
    const forwards = r.extended(selected(["b"]), "d");
    assert.deepEqual([chosenOf(forwards), forwards.current, forwards.anchor], [["b", "c", "d"], "d", "b"]);
    const backwards = r.extended(forwards, "a");
    assert.deepEqual([chosenOf(backwards), backwards.current, backwards.anchor], [["a", "b"], "a", "b"]);
    assert.deepEqual(chosenOf(r.extended(backwards, "b")), ["b"]);
  });

  test("without an anchor a range starts at the first picture", () => {
    const next = r.extended(selected([]), "c");
    assert.deepEqual([chosenOf(next), next.anchor], [["a", "b", "c"], "a"]);
  });

  test("all are chosen without another being shown", () => {
    const next = r.all(selected(["c"]));
    assert.deepEqual([chosenOf(next), next.current, next.anchor], [IDS, "c", "c"]);
    assert.deepEqual(r.all(r.nothing), r.nothing);
  });

  test("no step changes the selection that it starts from", () => {
    const before = selected(["a", "b"]);
    for (const step of [r.only, r.toggled, r.extended]) step(before, "b");
    r.all(before);
    r.over(before, ["b"]);
    assert.deepEqual(before, selected(["a", "b"]));
    assert.deepEqual(r.nothing, { ids: [], chosen: new Set(), current: null, anchor: null });
  });
});

describe("neighbour", () => {
  test("steps stay within the list", () => {
    const at = selected(["c"]);
    const reached = [-9, -2, -1, 0, 1, 2, 9].map((steps) => r.neighbour(at, steps));
    assert.deepEqual(reached, ["a", "a", "b", "c", "d", "e", "e"]);
  });

  test("where none is current the first one is next, and in an empty list none", () => {
    assert.equal(r.neighbour(selected([]), 3), "a");
    assert.equal(r.neighbour(r.nothing, 1), null);
  });
});

describe("what is shown", () => {
  const image = { status: "pending", labels: { acne: "mild", aging: null } };

  test("an image belongs to its status, to each of its conditions, and to the severity of that", () => {
    for (const asked of [{}, { status: "pending" }, { condition: "aging" }, { status: "pending", condition: "acne", severity: "mild" }])
      assert.equal(r.isOf(image, asked), true, JSON.stringify(asked));
    for (const asked of [{ status: "accepted" }, { condition: "redness" }, { condition: "acne", severity: "severe" }, { condition: "aging", severity: "mild" }])
      assert.equal(r.isOf(image, asked), false, JSON.stringify(asked));
  });

  test("what follows the current picture is fetched ahead, so many and no further than the end", () => {
    assert.deepEqual(r.following(selected(["b"]), 2), ["c", "d"]);
    assert.deepEqual(r.following(selected(["d"]), 2), ["e"]);
    assert.deepEqual(r.following(r.nothing, 2), []);
  });
});

describe("queue: the selection over another list", () => {
  test("given nothing, when pictures come, then the first is shown and chosen", () => {
    assert.deepEqual(r.over(r.nothing, IDS), selected(["a"]));
  });

  test("given a picture is shown, when more come, then it stays", () => {
    const ids = ["z", ...IDS, "f"];
    assert.deepEqual(r.over(selected(["c", "d"]), ids), selected(["c", "d"], { ids }));
  });

  test("given a picture is shown, when it is reviewed, then the next that is left takes its place", () => {
    assert.deepEqual(r.over(selected(["b"]), ["a", "c", "d", "e"]), selected(["c"], { ids: ["a", "c", "d", "e"] }));
    assert.deepEqual(r.over(selected(["b"]), ["a", "e"]), selected(["e"], { ids: ["a", "e"] }));
  });

  test("given the last picture is shown, when it is reviewed, then the new last one takes its place", () => {
    assert.deepEqual(r.over(selected(["e"]), ["a", "b"]), selected(["b"], { ids: ["a", "b"] }));
  });

  test("given several are chosen, when some are gone, then the others stay chosen", () => {
    const next = r.over(selected(["a", "c", "d"]), ["b", "c", "d"]);
    assert.deepEqual(chosenOf(next), ["c", "d"]);
    assert.deepEqual([next.current, next.anchor], ["b", "b"]);
  });

  test("given an anchor that stays, when the current one goes, then the range still starts there", () => {
    const next = r.over(selected(["b", "c"], { current: "c", anchor: "b" }), ["a", "b", "d"]);
    assert.deepEqual([chosenOf(next), next.current, next.anchor], [["b"], "d", "b"]);
  });

  test("given pictures, when all are gone, then nothing is shown or chosen", () => {
    assert.deepEqual(r.over(selected(["a", "b"]), []), r.nothing);
    assert.deepEqual(r.over(r.nothing, []), r.nothing);
  });

  test("given the last picture is shown, when it is reviewed and a new one comes, then that is shown", () => {
    const ids = ["a", "b", "c", "d", "f"];
    assert.deepEqual(r.over(selected(["e"]), ids), selected(["f"], { ids }));
  });

  test("given a whole page was reviewed, when the next one comes, then its first picture is shown", () => {
    assert.deepEqual(r.over(selected(IDS), ["x", "y"]), selected(["x"], { ids: ["x", "y"] }));
    assert.deepEqual(r.over(selected(IDS, { current: "e" }), ["x", "y"]), selected(["x"], { ids: ["x", "y"] }));
  });

  test("given a review was taken back, when its picture is there again, then it can be picked among the others", () => {
    const after = r.over(selected(["b"]), ["a", "c"]);
    const back = r.only(r.over(after, ["a", "b", "c"]), "b");
    assert.deepEqual(back, selected(["b"], { ids: ["a", "b", "c"] }));
  });
});

describe("labels", () => {
  test("dropped on a condition that it shows, a picture is regraded and keeps its other labels", () => {
    const labels = { acne: "mild", redness: null };
    assert.deepEqual(r.relabelled(labels, "acne", "severe"), { acne: "severe", redness: null });
  });

  test("dropped on one that it does not show, or on clear skin, it has that label alone", () => {
    assert.deepEqual(r.relabelled({ acne: "mild", redness: null }, "aging", "mild"), { aging: "mild" });
    assert.deepEqual(r.relabelled({}, "aging", "moderate"), { aging: "moderate" });
  });

  test("a severity alone regrades the one condition, and is open where there are several or none", () => {
    assert.deepEqual(r.regraded({ acne: null }, "moderate"), { acne: "moderate" });
    assert.equal(r.regraded({ acne: "mild", redness: "mild" }, "severe"), null);
    assert.equal(r.regraded({}, "severe"), null);
  });

  test("a verdict says the condition, the severity, both or neither", () => {
    const labels = { acne: "mild" };
    assert.deepEqual(r.labelled(labels, {}), labels);
    assert.deepEqual(r.labelled(labels, { severity: "severe" }), { acne: "severe" });
    assert.deepEqual(r.labelled(labels, { condition: "aging", severity: "severe" }), { aging: "severe" });
    assert.equal(r.labelled({}, { severity: "severe" }), null);
  });

  test("a condition alone keeps the severity that it was shown with; another one is not graded", () => {
    assert.deepEqual(r.labelled({ acne: "mild", aging: "severe" }, { condition: "acne" }), { acne: "mild", aging: "severe" });
    assert.deepEqual(r.labelled({ acne: "mild" }, { condition: "aging" }), { aging: null });
  });

  test("the labels given are left as they are", () => {
    const labels = Object.freeze({ acne: "mild" });
    r.relabelled(labels, "acne", "severe");
    r.regraded(labels, "severe");
    assert.deepEqual(labels, { acne: "mild" });
  });
});

describe("reviews", () => {
  test("what was decided is told in one sentence, with how many pictures", () => {
    const plain = [{ verdict: "rejected" }, { verdict: "rejected" }];
    assert.equal(r.decidedText(plain.slice(1)), "1 picture rejected.");
    assert.equal(r.decidedText(plain), "2 pictures rejected.");
  });

  test("labels are told only if they are those of every picture", () => {
    const as = (labels) => ({ verdict: "accepted", labels });
    assert.equal(r.decidedText([as({ acne: "mild" })]), "1 picture accepted as acne, mild.");
    assert.equal(r.decidedText([as({ acne: "mild" }), as({ acne: "mild" })]), "2 pictures accepted as acne, mild.");
    assert.equal(r.decidedText([as({ acne: "mild" }), as({ aging: "mild" })]), "2 pictures accepted.");
  });
});

describe("facts of an image", () => {
  const image = {
    status: "rejected",
    reviewer: "Ada",
    reason: "blurred",
    width: 640,
    height: 480,
    skin_tone: 3,
    provider: "procedural",
    quality: { sharpness: 12.345, dark_share: 0 },
    prompt: "a portrait",
  };

  test("all that is known is listed, numbers rounded", () => {
    assert.deepEqual(r.facts(image), [
      ["Status", "rejected"],
      ["Reviewed by", "Ada"],
      ["Reason", "blurred"],
      ["Size", "640 × 480"],
      ["Skin tone", "3 of 10 (Monk)"],
      ["Made by", "procedural"],
      ["Quality", "sharpness 12.3, dark share 0"],
      ["Prompt", "a portrait"],
    ]);
  });

  test("what is not known is left out, as the prompt of a picture whose whole record has not come yet", () => {
    const { prompt, ...listed } = image;
    const unknown = { ...listed, reviewer: null, reason: null, skin_tone: null, quality: {} };
    assert.deepEqual(r.facts(unknown).map(([name]) => name), ["Status", "Size", "Made by"]);
  });
});

describe("the frame of an image", () => {
  const face = { x: 100, y: 150, width: 80, height: 100, roll: 90, score: 0.934, points: [[80, 130], [120, 130], [100, 150], [85, 170], [115, 170]] };
  const frame = { found: true, width: 300, height: 400, turn: 0, square: { x: 100, y: 150, side: 120, roll: 0 }, face };
  const middle = { ...frame, found: false, square: { x: 150, y: 200, side: 300, roll: 0 }, face: null };

  test("given a face, then square, box and points are drawn, the box turned by its roll", () => {
    const drawing = r.frameDrawing(frame);
    assert.deepEqual([drawing.width, drawing.height, drawing.turn], [300, 400, ""]);
    assert.deepEqual(drawing.square, [[40, 90], [160, 90], [160, 210], [40, 210]]);
    assert.deepEqual(drawing.box, [[150, 110], [150, 190], [50, 190], [50, 110]]);
    assert.deepEqual(drawing.points, face.points);
  });

  test("given none, then the middle square alone is drawn", () => {
    const { square, box, points } = r.frameDrawing(middle);
    assert.deepEqual(square, [[0, 50], [300, 50], [300, 350], [0, 350]]);
    assert.deepEqual([box, points], [null, []]);
  });

  test("given a picture that lies, then what is drawn is turned back as it is shown", () => {
    // Where a transform puts a point: SVG 2, chapter 8.
    const put = (transform, [x, y]) => {
      const [tx, ty] = (/translate\((\S+) (\S+)\)/.exec(transform) ?? [0, 0, 0]).slice(1).map(Number);
      const angle = (Number(/rotate\((\S+)\)/.exec(transform)?.[1] ?? 0) * Math.PI) / 180;
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      return [tx + x * cos - y * sin, ty + x * sin + y * cos].map(Math.round);
    };
    // The upper left corner of the upright picture, 300 × 400, lies there in the one that is shown.
    for (const [turn, size, corner] of [
      [0, [300, 400], [0, 0]],
      [90, [400, 300], [0, 300]],
      [180, [300, 400], [300, 400]],
      [270, [400, 300], [400, 0]],
    ]) {
      const drawing = r.frameDrawing({ ...frame, turn });
      assert.deepEqual([drawing.width, drawing.height], size);
      assert.deepEqual(put(drawing.turn, [0, 0]), corner);
    }
  });

  test("what is known of it is told in words", () => {
    assert.equal(r.frameText(undefined), null);
    assert.equal(r.frameText(null), null);
    assert.equal(r.frameText(frame), "found, 93% sure");
    assert.equal(r.frameText({ ...frame, turn: 90 }), "found, 93% sure, the picture lies: 90° clockwise sets it upright");
    assert.match(r.frameText(middle), /^none found/);
    assert.match(r.frameText({ ...middle, found: null }), /^not looked for/);
  });
});

describe("what the board is to come to", () => {
  const severities = { mild: 5, moderate: 0, severe: 1, unknown: 9 };
  const balance = { conditions: Object.fromEntries(r.CONDITIONS.map((condition) => [condition, { severities }])) };
  const quota = (condition, severity, count, counted, failed = 0) => ({ condition, severity, count, counted, failed });

  test("it is what is accepted and what campaigns under way still lack, together", () => {
    const campaigns = [
      { state: "running", quotas: [quota("acne", "mild", 9, 4, 1), quota("acne", "severe", 3, 3)] },
      { state: "paused", quotas: [quota("acne", "mild", 2, 0)] },
    ];
    const targets = r.cellTargets(balance, campaigns);
    assert.deepEqual(targets.acne, { mild: 5 + 4 + 2, moderate: null, severe: 1 });
    assert.deepEqual(targets.aging, { mild: null, moderate: null, severe: null });
  });

  test("what has ended asks for nothing", () => {
    for (const state of ["closing", "met", "exhausted", "cancelled", "rejected"])
      assert.equal(r.cellTargets(balance, [{ state, quotas: [quota("acne", "mild", 9, 4)] }]).acne.mild, null);
  });
});

describe("progress of a campaign", () => {
  const campaign = (changes = {}) => ({
    state: "open",
    review: "auto",
    targets: { acne: 20 },
    slots: { total: 8, counted: 2, failed: 0 },
    spent_usd: 0,
    training: null,
    model: null,
    reason: null,
    ...changes,
  });

  test("one that runs says how far it is and what it is for", () => {
    const found = r.progress(campaign({ targets: { acne: 20, textured_skin: 5 } }));
    const wanted = "Acne 20, Textured skin 5";
    assert.deepEqual(found, { state: "Running", wanted, note: "2 of 8 pictures", share: 0.25 });
  });

  test("with manual review it waits for people", () => {
    assert.equal(r.progress(campaign({ review: "manual" })).state, "Waits for generation or review");
  });

  test("every end has its words", () => {
    const words = ["closing", "met", "exhausted", "rejected"].map((state) => r.progress(campaign({ state })).state);
    assert.deepEqual(words, ["Writing its dataset", "Quotas met", "Ended: some pictures could not be had", "Refused"]);
  });

  test("once its quotas are met, training is told, and then what became of the model", () => {
    const met = campaign({ state: "met", training: { epoch: 3, epochs: 10 } });
    assert.equal(r.progress(met).state, "Training, epoch 3 of 10");
    assert.equal(r.progress({ ...met, model: { promoted: true } }).state, "Its model went live");
    const untrained = r.progress({ ...met, reason: "not trained: parity_failed: They differ." });
    assert.equal(untrained.state, "Quotas met, without a model");
    assert.match(untrained.note, /not trained: parity_failed: They differ\./);
    assert.equal(r.progress({ ...met, model: { promoted: false } }).state, "Its model was not promoted");
    assert.match(r.progress({ ...met, model: { promoted: false, reason: "It is worse." } }).note, / · It is worse\.$/);
    assert.equal(r.progress({ ...met, state: "exhausted" }).state, "Ended: some pictures could not be had");
  });

  test("failures, money and a reason are told if there are any", () => {
    const slots = { total: 4, counted: 1, failed: 2 };
    const found = r.progress(campaign({ slots, spent_usd: 1.5, reason: "over budget", state: "exhausted" }));
    assert.equal(found.note, "1 of 4 pictures · 2 failed · $1.50 · over budget");
  });

  test("where nothing was missing it is done", () => {
    const found = r.progress(campaign({ slots: { total: 0, counted: 0, failed: 0 }, state: "met" }));
    assert.deepEqual([found.note, found.share], ["nothing was missing", 1]);
  });
});
