// The id of a rebalance to be: one for each thing that is asked for, however often it is sent.

import assert from "node:assert/strict";
import { test } from "node:test";

import { requestIds } from "../../../services/labeler_api/web/static/plan_dialog.js";

test("what is asked for again has its id until a rebalance is started, and whatever else is asked for has another", () => {
  let made = 0;
  const ids = requestIds(() => String((made += 1)));
  const few = () => ({ target_per_condition: "1", conditions: ["acne"], review: "human" });
  const id = ids.of(few());
  assert.equal(ids.of(few()), id);
  const seen = new Set([id]);
  for (const change of [{ target_per_condition: "2" }, { conditions: ["aging"] }, { review: "auto" }]) seen.add(ids.of({ ...few(), ...change }));
  assert.equal(seen.size, 4);
  assert.equal(ids.of(few()), id);
  ids.started();
  assert.equal(seen.has(ids.of(few())), false);
});
