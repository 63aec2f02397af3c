// Correcting a frame's square.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as f from "../../../services/labeler_api/web/static/framing.js";

const frame = { width: 300, height: 400, turn: 0, square: { x: 100, y: 150, side: 120, roll: 0 } };
const turned = { ...frame, square: { ...frame.square, roll: 90 } };

describe("a square that is dragged", () => {
  test("it moves, and its centre stays in the picture", () => {
    assert.deepEqual(f.moved(frame, 10.123, -20), { x: 110.12, y: 130, side: 120, roll: 0 });
    assert.deepEqual(f.moved(frame, -500, 500), { x: 0, y: 400, side: 120, roll: 0 });
    assert.deepEqual(f.moved(frame, 500, -500), { x: 300, y: 0, side: 120, roll: 0 });
  });

  test("it grows as its corner is dragged away from its centre, whichever corner that is", () => {
    for (const [from, to] of [[[160, 210], [180, 230]], [[40, 90], [20, 160]], [[160, 90], [110, 70]]])
      assert.deepEqual(f.stretched(frame, from, to), { ...frame.square, side: 160 });
  });

  test("it is measured along its own sides where it is turned", () => {
    const tilted = { ...frame, square: { ...frame.square, roll: 45 } };
    const corner = [100 + 60 * Math.SQRT2, 150];
    assert.equal(f.stretched(tilted, corner, [100 + 50 * Math.SQRT2, 150]).side, 100);
    assert.equal(f.stretched(turned, [160, 210], [180, 150]).side, 160);
  });

  test("it is no smaller and no larger than the server takes it", () => {
    assert.equal(f.stretched(frame, [160, 210], [100, 151]).side, 32);
    assert.equal(f.stretched(frame, [160, 210], [9000, 150]).side, 800);
    assert.equal(f.stretched(frame, [100, 150], [100, 150]).side, 32); // both at its centre
  });

  test("a corner outside the picture is taken hold of at its edge", () => {
    assert.deepEqual([f.gripOf(frame, [-20, 500]), f.gripOf(frame, [310, -1]), f.gripOf(frame, [7, 8])], [[0, 400], [300, 0], [7, 8]]);
  });
});

describe("a square that is moved by keys", () => {
  const by = (turn, key) => {
    const { x, y, side } = f.keyed({ ...frame, turn }, key);
    return [x - 100, y - 150, side - 120].map((value) => Math.round(10 * value) / 10);
  };

  test("arrows move it by a fiftieth of its side", () => {
    assert.deepEqual([by(0, "ArrowRight"), by(0, "ArrowDown")], [[2.4, 0, 0], [0, 2.4, 0]]);
    assert.deepEqual([by(0, "ArrowLeft"), by(0, "ArrowUp")], [[-2.4, 0, 0], [0, -2.4, 0]]);
  });

  test("given a picture that lies, then it moves as the arrow points on the screen", () => {
    // Turned by 90° clockwise the picture stands upright: what lies right in it as shown lies at its foot then.
    assert.deepEqual([by(90, "ArrowRight"), by(90, "ArrowDown")], [[0, 2.4, 0], [-2.4, 0, 0]]);
    assert.deepEqual([by(180, "ArrowRight"), by(270, "ArrowRight")], [[-2.4, 0, 0], [0, -2.4, 0]]);
  });

  test("plus and minus size it, and nothing else does anything", () => {
    assert.deepEqual([by(0, "+"), by(0, "="), by(0, "-")], [[0, 0, 2.4], [0, 0, 2.4], [0, 0, -2.4]]);
    for (const key of ["a", "Enter", "toString"]) assert.equal(f.keyed(frame, key), null);
  });
});
