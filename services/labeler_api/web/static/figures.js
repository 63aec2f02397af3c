// What the dashboard says of its document, without the page: numbers in words, rows of its tables, points of its curves.

import { CONDITIONS, SEVERITIES } from "./review.js";

const UNDER_WAY = ["running", "paused", "closing"];
const FACTS = { balanced_accuracy: "Balanced accuracy", recall: "Recall", specificity: "Specificity", f1: "F1" };

/** Whether a campaign is still to bring pictures. */
export const isUnderWay = (campaign) => campaign !== null && UNDER_WAY.includes(campaign.state);

/** What may be asked of a campaign now. */
export function changesOf(campaign) {
  if (campaign?.state === "running") return ["pause", "cancel"];
  return campaign?.state === "paused" ? ["resume", "cancel"] : [];
}

/** A plan by condition: target, how many are missing, and of them how many of each severity. */
export function planRows(plan) {
  return CONDITIONS.filter((condition) => condition in plan.targets).map((condition) => {
    const counts = SEVERITIES.map((severity) =>
      [severity, plan.quotas.find((quota) => quota.condition === condition && quota.severity === severity)?.count ?? 0]);
    return { condition, target: plan.targets[condition], missing: plan.missing[condition], ...Object.fromEntries(counts) };
  });
}

/** Whether two plans ask for the same pictures at the same price. */
export function samePlan(one, other) {
  const told = (plan) => JSON.stringify([planRows(plan), plan.cost_usd, plan.worst_cost_usd, plan.provider]);
  return told(one) === told(other);
}

/** US dollars; small sums with the digits that they need. */
export function usdText(usd) {
  return `$${usd.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: usd > 0 && usd < 0.1 ? 4 : 2 })}`;
}

/** Seconds in words, rounded to what one needs to know. */
export function durationText(seconds) {
  if (seconds < 60) return "under a minute";
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

/** A share in per cent; a dash where it is not known. */
export const percentText = (share) => (typeof share === "number" ? (100 * share).toFixed(1) : "–");

/** How much a share changed, in points. */
export function pointsText(before, after) {
  if (typeof before !== "number" || typeof after !== "number") return "–";
  const points = 100 * (after - before);
  return `${points < 0 ? "−" : "+"}${Math.abs(points).toFixed(1)}`;
}

/** The steps of a campaign's pictures, as [name, how many]. */
export function steps(progress) {
  return [
    ["Requested", progress.requested],
    ["Generated", progress.generated],
    ["In review", progress.in_review],
    ["Accepted", progress.accepted],
    ["Rejected", progress.rejected],
    ["Augmented", progress.augmented],
  ];
}

/** Pace and time left, as [name, text]. */
export function paceFacts(campaign, progress) {
  const pace = progress.images_per_minute;
  const { total, counted, failed } = campaign.slots;
  const left = () => {
    if (!isUnderWay(campaign) || campaign.slots.open === 0) return "nothing is missing";
    if (campaign.state === "paused") return "paused";
    return progress.remaining_s === null ? "not known: nothing has come lately" : durationText(progress.remaining_s);
  };
  return [
    ["In the dataset", `${counted} of ${total}${failed > 0 ? `, ${failed} failed` : ""}`],
    ["Pace", pace === null ? "–" : `${pace.toFixed(pace < 10 ? 1 : 0)} a minute`],
    ["Time left", left()],
  ];
}

/** What a campaign costs, as [name, US dollars]. */
export function moneyFacts(campaign, progress) {
  return [
    ["Spent", campaign.spent_usd],
    ["Committed", progress.committed_usd],
    ["Projected", progress.projected_usd],
    ["At most", campaign.worst_cost_usd],
  ];
}

/** The same as shares of the most that it can cost, from 0 to 1. */
export function costShares(campaign, progress) {
  const most = Math.max(campaign.worst_cost_usd, progress.committed_usd, campaign.spent_usd);
  const share = (usd) => (most === 0 ? 0 : usd / most);
  return { spent: share(campaign.spent_usd), committed: share(progress.committed_usd), projected: share(progress.projected_usd) };
}

/** The balance by condition: accepted ones by severity and what is still to come of each, all, target, waiting. */
export function balanceRows({ balance, campaign }) {
  const active = isUnderWay(campaign);
  return CONDITIONS.map((condition) => {
    const { accepted, pending, severities } = balance.conditions[condition];
    const coming = (severity) => {
      const quota = active ? campaign.quotas.find((one) => one.condition === condition && one.severity === severity) : undefined;
      return quota === undefined ? 0 : Math.max(0, quota.count - quota.counted - quota.failed);
    };
    const cells = SEVERITIES.map((severity) => ({ severity, now: severities[severity], coming: coming(severity) }));
    const target = campaign?.targets[condition] ?? null;
    return { condition, cells, ungraded: severities.unknown, accepted, pending, target };
  });
}

/** How far a row is filled: the shares of its parts and of its target, from 0 to 1 of the fullest row or target. */
export function barShares(row, rows) {
  const most = Math.max(1, ...rows.map(({ accepted, target }) => Math.max(accepted, target ?? 0)));
  const graded = row.cells.map(({ severity, now }) => [severity, now / most]);
  return { parts: [...graded, ["unknown", row.ungraded / most]], target: row.target === null ? null : row.target / most };
}

/** Skin tones by condition, each with the share of the fullest cell, from 0 to 1. */
export function toneRows({ tones }) {
  const most = Math.max(1, ...Object.values(tones).flat());
  return CONDITIONS.map((condition) => ({ condition, cells: tones[condition].map((count) => ({ count, share: count / most })) }));
}

/** The curve of a training: points of both losses from 0 to 1 in both directions, downwards as on a page; null: none. */
export function trainingCurve(training) {
  const history = training?.history ?? [];
  if (history.length === 0) return null;
  const values = history.flatMap(({ train_loss, validation_loss }) => [train_loss, validation_loss]).filter(Number.isFinite);
  const most = Math.max(...values, 1e-9);
  const epochs = Math.max(2, training.epochs);
  const line = (name) => history.map((one) => [(one.epoch - 1) / (epochs - 1), 1 - one[name] / most]);
  const best = history.reduce((least, one) => (one.validation_loss < least.validation_loss ? one : least));
  const text = `Epoch ${training.epoch} of ${training.epochs} at most: training loss ${training.train_loss.toFixed(3)}, `
    + `validation loss ${training.validation_loss.toFixed(3)}, least ${best.validation_loss.toFixed(3)} in epoch ${best.epoch}.`;
  return { train: line("train_loss"), validation: line("validation_loss"), most, epochs, best: best.epoch, text };
}

/** The last two models side by side: versions, rows of shares, and on which pictures; null where there is no model. */
export function modelRows(models) {
  const [after, before] = models;
  if (after === undefined) return null;
  const compared = after.comparison;
  const same = before !== undefined && compared?.live_version === before.version;
  const [was, is] = same ? [compared.live, compared.candidate] : [before?.metrics.test, after.metrics.test];
  const overall = Object.entries(FACTS)
    .map(([name, text]) => ({ text, before: was?.overall?.[name], after: is?.overall?.[name] }))
    .filter((row) => row.before !== undefined || row.after !== undefined);
  const conditions = CONDITIONS
    .map((condition) => ({ condition, before: was?.conditions?.[condition]?.balanced_accuracy, after: is?.conditions?.[condition]?.balanced_accuracy }))
    .filter((row) => row.before !== undefined || row.after !== undefined);
  return { after, before: before ?? null, same, overall, conditions };
}
