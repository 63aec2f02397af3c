// What the selfie page says and draws, without the page.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as v from "../../../services/model_server/static/view.js";

const condition = (name, probability, present, severities = {}) => ({
  condition: name,
  probability,
  present,
  severity_probabilities: { absent: 1 - probability, mild: 0, moderate: 0, severe: 0, ...severities },
});

describe("words", () => {
  test("the seven conditions have names for people", () => {
    assert.equal(v.CONDITION_NAMES.length, 7);
    assert.equal(new Set(v.CONDITION_NAMES).size, 7);
    const names = ["pore_size", "hyperpigmentation", "aging"].map(v.conditionName);
    assert.deepEqual(names, ["Enlarged pores", "Dark spots", "Signs of ageing"]);
  });

  test("a condition of a later model is shown by its own name", () => {
    assert.equal(v.conditionName("oily_skin_zone"), "oily skin zone");
  });

  test("the lowest severity of textured skin is slight, every other one is called as it is", () => {
    assert.equal(v.severityText("textured_skin", "mild"), "slight");
    assert.equal(v.severityText("textured_skin", "severe"), "severe");
    assert.equal(v.severityText("acne", "mild"), "mild");
  });
});

describe("per cent", () => {
  test("probabilities are rounded to whole numbers", () => {
    assert.deepEqual([0.014, 0.015, 0.5, 0.987].map(v.percent), ["1%", "2%", "50%", "99%"]);
  });

  test("neither end is ever said to be certain", () => {
    assert.deepEqual([0, 0.0049, 0.005].map(v.percent), ["<1%", "<1%", "1%"]);
    assert.deepEqual([0.9949, 0.995, 1].map(v.percent), ["99%", ">99%", ">99%"]);
  });
});

describe("the answer", () => {
  test("conditions are parted by whether they are present, not by a probability, and fall in each part", () => {
    const given = [
      condition("acne", 0.2, false),
      condition("redness", 0.4, true),
      condition("aging", 0.6, false),
      condition("pore_size", 0.9, true),
    ];
    const { present, absent } = v.grouped(given);
    assert.deepEqual(present.map((c) => c.condition), ["pore_size", "redness"]);
    assert.deepEqual(absent.map((c) => c.condition), ["aging", "acne"]);
    assert.equal(given[0].condition, "acne"); // the answer itself is left in its order
    assert.deepEqual(v.grouped([]), { present: [], absent: [] });
  });

  test("equally probable ones keep the model's order", () => {
    const { absent } = v.grouped([condition("fine_lines", 0.1, false), condition("acne", 0.1, false)]);
    assert.deepEqual(absent.map((c) => c.condition), ["fine_lines", "acne"]);
  });

  test("the spread names every severity, without what is absent", () => {
    const textured = condition("textured_skin", 0.9, true, { mild: 0.6, moderate: 0.296, severe: 0.004 });
    assert.equal(v.spread(textured), "slight 60% · moderate 30% · severe <1%");
  });

  test("the summary lists what is present as a sentence does", () => {
    const summary = (...names) => v.summary({ present: names.map((name) => condition(name, 0.9, true)) });
    assert.equal(summary(), "None of the seven conditions shows.");
    assert.equal(summary("acne"), "The model sees acne.");
    assert.equal(summary("acne", "aging"), "The model sees acne and signs of ageing.");
    assert.equal(summary("acne", "redness", "fine_lines"), "The model sees acne, redness and fine lines.");
  });

  test("the facts name picture, time and model", () => {
    const answer = (format, total) => {
      return { image: { width: 300, height: 360, format }, timing_ms: { total }, model_version: "v7" };
    };
    assert.equal(v.facts(answer("JPEG", 12.6)), "300 × 360 JPEG, answered in 13 ms by model v7.");
    assert.equal(v.facts(answer("HEIF", 0.2)), "300 × 360 HEIC, answered in 1 ms by model v7.");
    assert.equal(v.facts(answer("WEBP", 1)), "300 × 360 WebP, answered in 1 ms by model v7.");
  });
});

describe("the heatmap", () => {
  test("the heatmap's box lies where the frame is, turned as it is", () => {
    const image = { width: 400, height: 200 };
    const frame = { width: 400, height: 200, turn: 0, square: { x: 100, y: 80, side: 100, roll: 7 } };
    const box = { left: "12.5%", top: "15%", width: "25%", height: "50%", transform: "rotate(7deg)" };
    assert.deepEqual(v.frameBox({ image, frame }), box);
  });

  test("of a picture that lies on its side, everything is drawn as it lies", () => {
    const image = { width: 400, height: 200 };
    // Where the point (30, 70) of the upright picture is shown.
    const places = { 0: [30, 70], 90: [70, 170], 180: [370, 130], 270: [330, 30] };
    for (const [turn, [x, y]] of Object.entries(places)) {
      const [width, height] = turn % 180 === 0 ? [400, 200] : [200, 400];
      const frame = { width, height, turn: Number(turn), square: { x: 30, y: 70, side: 20, roll: 7 } };
      const box = v.frameBox({ image, frame });
      assert.deepEqual([box.left, box.top], [`${(100 * (x - 10)) / 400}%`, `${(100 * (y - 10)) / 200}%`], turn);
      assert.equal(box.transform, `rotate(${7 - turn}deg)`);
      const { transform, viewBox } = v.overlay({ image, frame, face: null });
      assert.equal(viewBox, "0 0 400 200");
      const [a, b, c, d, e, f] = transform === "" ? [1, 0, 0, 1, 0, 0] : transform.match(/-?\d+/g).map(Number);
      assert.deepEqual([a * 30 + c * 70 + e, b * 30 + d * 70 + f], [x, y], turn);
    }
  });

  test("frame, box and points are drawn, and without a face the frame alone", () => {
    const image = { width: 400, height: 200 };
    const frame = { width: 400, height: 200, turn: 0, square: { x: 100, y: 80, side: 90, roll: 0 } };
    const face = { x: 100, y: 90, width: 40, height: 60, roll: -3, points: [[90, 70], [110, 70]] };
    const drawn = v.overlay({ image, frame, face });
    assert.deepEqual(drawn.frame, { x: 55, y: 35, width: 90, height: 90, transform: "rotate(0 100 80)" });
    assert.deepEqual(drawn.box, { x: 80, y: 60, width: 40, height: 60, transform: "rotate(-3 100 90)" });
    assert.deepEqual(drawn.points, [{ cx: 90, cy: 70, r: 1 }, { cx: 110, cy: 70, r: 1 }]);
    const without = v.overlay({ image, frame, face: null });
    assert.deepEqual([without.box, without.points], [null, []]);
  });

  test("what was found is said in a sentence", () => {
    const square = { x: 100, y: 80, side: 80, roll: 0 };
    const found = (face, turn = 0, face_search = "on") => v.foundText({ face_search, face, frame: { turn, square } });
    assert.match(found({ x: 100, y: 90 }), /^A face was found, the solid box: .* square around it\.$/);
    assert.match(found({ x: 100, y: 90 }, 90), /around it\. The picture lies on its side; the server turned it\.$/);
    assert.match(found({ x: 20, y: 20 }), /^A face was found, .* middle of the picture, the dashed square\.$/);
    assert.match(found(null), /^No face with both eyes was found: .* middle/);
    assert.match(found(null, 0, "off"), /^This server looks for no face: .* middle/);
  });

  test("an advice has a title, a later server's too, and no warning says it again", () => {
    assert.equal(v.adviceTitle("face_cut"), "Cut off");
    assert.equal(v.adviceTitle("hat_worn"), "hat worn");
    const answer = { warnings: ["A model.", "Too dark."], advice: [{ code: "too_dark", message: "Too dark." }] };
    assert.deepEqual(v.otherWarnings(answer), ["A model."]);
    assert.deepEqual(v.otherWarnings({ ...answer, advice: [] }), ["A model.", "Too dark."]);
  });

  test("no heat is clear, some is blue, most is yellow", () => {
    const pixels = (grey) => [...v.colourHeat(new Uint8ClampedArray([grey, grey, grey, 255]))];
    assert.deepEqual(pixels(0), [40, 70, 255, 0]);
    assert.deepEqual(pixels(255), [255, 225, 60, 210]);
    const [red, , blue, alpha] = pixels(110);
    assert.ok(blue > red);
    assert.ok(alpha > 0 && alpha < 210);
  });

  test("evidence below a quarter is not drawn, and more heat never less", () => {
    const alpha = (grey) => v.colourHeat(new Uint8ClampedArray([grey, grey, grey, 255]))[3];
    assert.equal(alpha(63), 0);
    const alphas = Array.from({ length: 256 }, (_, grey) => alpha(grey));
    assert.deepEqual(alphas, [...alphas].sort((a, b) => a - b));
  });

  test("every pixel is coloured, in place", () => {
    const given = new Uint8ClampedArray([255, 255, 255, 255, 0, 0, 0, 255]);
    assert.equal(v.colourHeat(given), given);
    assert.deepEqual([...given], [255, 225, 60, 210, 40, 70, 255, 0]);
    assert.deepEqual([...v.colourHeat(new Uint8ClampedArray())], []);
  });
});

describe("the light in the camera", () => {
  const grey = (value) => new Uint8ClampedArray([value, value, value, 255, value, value, value, 255]);

  test("dark, good and bright are told apart, by the mean", () => {
    assert.match(v.lightHint(grey(20)), /too dark/);
    assert.match(v.lightHint(grey(130)), /good/);
    assert.match(v.lightHint(grey(240)), /too bright/);
    assert.match(v.lightHint(new Uint8ClampedArray([255, 255, 255, 255, 0, 0, 0, 255])), /good/);
  });
});

describe("two answers compared", () => {
  const answer = (version, ...conditions) => ({ model_version: version, conditions });
  const mild = { ...condition("acne", 0.7, true), severity: "mild" };

  test("each condition of both is a row: then, now, and the difference in points", () => {
    const before = answer("v1", mild, condition("redness", 0.3, false), condition("aging", 0.4, false));
    const after = answer("v1", condition("acne", 0.45, false), condition("redness", 0.301, false));
    assert.deepEqual(v.compared(before, after).rows, [
      { condition: "acne", earlier: "mild, 70%", later: "not counted, 45%", change: "25 points less likely" },
      { condition: "redness", earlier: "not counted, 30%", later: "not counted, 30%", change: "about the same" },
    ]);
  });

  test("one point is no plural", () => {
    const [row] = v.compared(answer("v1", condition("acne", 0.4, false)), answer("v1", condition("acne", 0.41, false))).rows;
    assert.equal(row.change, "1 point more likely");
  });

  test("answers of two models are told apart", () => {
    assert.match(v.compared(answer("v1", mild), answer("v2", mild)).note, /Two models/);
    assert.match(v.compared(answer("v1", mild), answer("v1", mild)).note, /taken alike/);
  });
});
