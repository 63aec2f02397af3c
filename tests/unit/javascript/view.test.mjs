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
  test("the square lies in the picture in shares of its sides", () => {
    const crop = { left: 0, top: 30, width: 300, height: 300 };
    assert.deepEqual(v.cropBox({ width: 300, height: 360, crop }), {
      left: "0%",
      top: `${100 / 12}%`,
      width: "100%",
      height: `${1000 / 12}%`,
    });
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
