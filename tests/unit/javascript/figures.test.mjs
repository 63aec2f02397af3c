// What the dashboard says of its document.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as f from "../../../services/labeler_api/web/static/figures.js";
import { CONDITIONS } from "../../../services/labeler_api/web/static/review.js";

const balance = (changes = {}) => ({
  conditions: Object.fromEntries(CONDITIONS.map((condition) =>
    [condition, { accepted: 0, pending: 0, rejected: 0, severities: { mild: 0, moderate: 0, severe: 0, unknown: 0 }, ...changes[condition] }])),
});
const campaign = (changes = {}) => ({
  state: "running", targets: { acne: 10 }, quotas: [], slots: { total: 8, counted: 2, failed: 1, open: 5 },
  spent_usd: 1, worst_cost_usd: 4, training: null, ...changes,
});
const progress = (changes = {}) => ({ committed_usd: 2, projected_usd: 3, images_per_minute: 2.5, remaining_s: 120, ...changes });

describe("words", () => {
  test("money, time and shares", () => {
    assert.deepEqual([0, 0.0034, 0.5, 12, 12345.678].map(f.usdText), ["$0.00", "$0.0034", "$0.50", "$12.00", "$12,345.68"]);
    assert.deepEqual([5, 60, 3600, 5400, 7200, 86400 * 3].map(f.durationText), ["under a minute", "1 min", "60 min", "2 h", "2 h", "3 days"]);
    assert.deepEqual([0.5, null, undefined].map(f.percentText), ["50.0", "–", "–"]);
    assert.deepEqual([f.pointsText(0.5, 0.625), f.pointsText(0.5, 0.25), f.pointsText(null, 1)], ["+12.5", "−25.0", "–"]);
  });

  test("pace and time left", () => {
    const left = (...changes) => f.paceFacts(campaign(changes[0]), progress(changes[1])).map(([, text]) => text);
    assert.deepEqual(left(), ["2 of 8, 1 failed", "2.5 a minute", "2 min"]);
    assert.equal(left({}, { remaining_s: null })[2], "not known: nothing has come lately");
    assert.equal(left({ state: "paused" }, { remaining_s: null })[2], "paused");
    assert.deepEqual(left({ state: "met" }, { images_per_minute: null }).slice(1), ["–", "nothing is missing"]);
    assert.equal(left({}, { images_per_minute: 41.7 })[1], "42 a minute");
  });

  test("money as shares of the most that it can cost", () => {
    assert.deepEqual(f.costShares(campaign(), progress()), { spent: 0.25, committed: 0.5, projected: 0.75 });
    const free = f.costShares(campaign({ spent_usd: 0, worst_cost_usd: 0 }), progress({ committed_usd: 0, projected_usd: 0 }));
    assert.deepEqual(free, { spent: 0, committed: 0, projected: 0 });
  });
});

describe("the balance", () => {
  const severities = { mild: 3, moderate: 1, severe: 0, unknown: 2 };
  const quotas = [{ condition: "acne", severity: "severe", count: 4, counted: 1, failed: 1 }];
  const document = { balance: balance({ acne: { accepted: 6, pending: 2, severities } }), campaign: campaign({ quotas }) };

  test("what is there, and what a campaign under way still brings", () => {
    const [acne, redness] = f.balanceRows(document);
    assert.deepEqual(acne.cells.map(({ now, coming }) => [now, coming]), [[3, 0], [1, 0], [0, 2]]);
    assert.deepEqual([acne.accepted, acne.pending, acne.ungraded, acne.target], [6, 2, 2, 10]);
    assert.equal(redness.target, null);
    const over = f.balanceRows({ ...document, campaign: { ...document.campaign, state: "exhausted" } });
    assert.equal(over[0].cells[2].coming, 0);
    assert.equal(f.balanceRows({ ...document, campaign: null })[0].target, null);
  });

  test("bars are shares of the fullest row or target", () => {
    const rows = f.balanceRows(document);
    const { parts, target } = f.barShares(rows[0], rows);
    assert.deepEqual(parts, [["mild", 0.3], ["moderate", 0.1], ["severe", 0], ["unknown", 0.2]]);
    assert.equal(target, 1);
    assert.equal(f.barShares(rows[1], rows).target, null);
  });

  test("skin tones are shares of the fullest cell", () => {
    const tones = Object.fromEntries(CONDITIONS.map((condition) => [condition, Array(10).fill(0)]));
    tones.acne[2] = 4;
    tones.aging[9] = 1;
    const rows = f.toneRows({ tones });
    assert.deepEqual(rows[0].cells[2], { count: 4, share: 1 });
    assert.deepEqual(rows.at(-1).cells[9], { count: 1, share: 0.25 });
  });
});

test("a training's curve goes from its first epoch to the last that it may have", () => {
  assert.equal(f.trainingCurve(null), null);
  assert.equal(f.trainingCurve({ history: [] }), null);
  const epoch = (number, train_loss, validation_loss) => ({ epoch: number, epochs: 5, train_loss, validation_loss });
  const history = [epoch(1, 1, 0.8), epoch(2, 0.5, 0.4), epoch(3, 0.25, 0.6)];
  const curve = f.trainingCurve({ ...history.at(-1), history });
  assert.deepEqual(curve.train, [[0, 0], [0.25, 0.5], [0.5, 0.75]]);
  assert.equal(curve.best, 2);
  assert.match(curve.text, /^Epoch 3 of 5 at most: .* least 0\.400 in epoch 2\.$/);
  const single = f.trainingCurve({ ...epoch(1, 0, 0), epochs: 1, history: [{ ...epoch(1, 0, 0), epochs: 1 }] });
  assert.deepEqual(single.train, [[0, 1]]);
});

describe("models", () => {
  const figures = (share) => ({ overall: { recall: share }, conditions: { acne: { balanced_accuracy: share } } });
  const model = (version, share, comparison = null) => ({ version, metrics: { test: figures(share) }, comparison, promoted: true, reason: "" });

  test("two that were compared are shown on the same pictures", () => {
    const comparison = { live_version: "v1", live: figures(0.4), candidate: figures(0.5) };
    const rows = f.modelRows([model("v2", 0.9, comparison), model("v1", 0.8)]);
    assert.equal(rows.same, true);
    assert.deepEqual(rows.overall, [{ text: "Recall", before: 0.4, after: 0.5 }]);
    assert.deepEqual(rows.conditions, [{ condition: "acne", before: 0.4, after: 0.5 }]);
  });

  test("two that were not are shown on their own, one alone without a before", () => {
    const comparison = { live_version: "v0", live: figures(0.4), candidate: figures(0.5) };
    const rows = f.modelRows([model("v2", 0.9, comparison), model("v1", 0.8)]);
    assert.deepEqual([rows.same, rows.overall[0].before, rows.overall[0].after], [false, 0.8, 0.9]);
    const alone = f.modelRows([model("v1", 0.8)]);
    assert.deepEqual([alone.before, alone.overall[0].before, alone.overall[0].after], [null, undefined, 0.8]);
    assert.equal(f.modelRows([]), null);
  });
});

describe("a plan", () => {
  const plan = (changes = {}) => ({
    targets: { acne: 4, aging: 0 }, missing: { acne: 3, aging: 0 }, provider: "procedural", cost_usd: 0.09, worst_cost_usd: 0.27, warnings: [],
    quotas: [{ condition: "acne", severity: "mild", count: 2 }, { condition: "acne", severity: "severe", count: 1 }], ...changes,
  });

  test("is shown by condition and severity", () => {
    assert.deepEqual(f.planRows(plan()), [
      { condition: "acne", target: 4, missing: 3, mild: 2, moderate: 0, severe: 1 },
      { condition: "aging", target: 0, missing: 0, mild: 0, moderate: 0, severe: 0 },
    ]);
  });

  test("is another one where pictures or price are others", () => {
    assert.ok(f.samePlan(plan(), plan({ warnings: ["new"] })));
    const others = [{ worst_cost_usd: 1 }, { cost_usd: 1 }, { quotas: [] }, { provider: "openai" }, { targets: { acne: 4 } }];
    for (const other of others) assert.ok(!f.samePlan(plan(), plan(other)), JSON.stringify(other));
  });

  test("what may be asked of a campaign follows from its state", () => {
    const possible = ["running", "paused", "closing", "met", "cancelled"].map((state) => f.changesOf({ state }));
    assert.deepEqual(possible, [["pause", "cancel"], ["resume", "cancel"], [], [], []]);
    assert.deepEqual(f.changesOf(null), []);
  });
});
