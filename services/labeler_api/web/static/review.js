// What the page knows and decides, without the page: words, selection, reviews, progress.

export const CONDITIONS = ["acne", "redness", "pore_size", "textured_skin", "hyperpigmentation", "fine_lines", "aging"];
export const SEVERITIES = ["mild", "moderate", "severe"];

/** A condition's name for people. */
export function conditionText(condition) {
  const words = condition.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

/** A severity's name for people: textured skin calls its lowest one slight. */
export function severityText(condition, severity) {
  if (severity === null || severity === "unknown") return "not graded";
  return condition === "textured_skin" && severity === "mild" ? "slight" : severity;
}

/** An image's labels in words. */
export function labelText(labels) {
  const texts = Object.entries(labels).map(([c, s]) => `${conditionText(c)}, ${severityText(c, s)}`);
  return texts.length > 0 ? texts.join("; ") : "Clear skin";
}

// Selection: `ids` in the order shown, `chosen` of them, `current` is the one shown large, a range starts at `anchor`.

export const nothing = { ids: [], chosen: new Set(), current: null, anchor: null };

/** Choose one image only. */
export function only(selection, id) {
  return { ...selection, chosen: new Set([id]), current: id, anchor: id };
}

/** Add an image to the chosen ones, or take it out. */
export function toggled(selection, id) {
  const chosen = new Set(selection.chosen);
  if (!chosen.delete(id)) chosen.add(id);
  return { ...selection, chosen, current: id, anchor: id };
}

/** Choose everything from the anchor to an image. */
export function extended(selection, id) {
  const from = Math.max(0, selection.ids.indexOf(selection.anchor));
  const to = selection.ids.indexOf(id);
  const chosen = new Set(selection.ids.slice(Math.min(from, to), Math.max(from, to) + 1));
  return { ...selection, chosen, current: id, anchor: selection.ids[from] };
}

/** Choose all. */
export function all(selection) {
  return { ...selection, chosen: new Set(selection.ids) };
}

/** The image some steps away from the current one, kept within the list; null where there is none. */
export function neighbour(selection, steps) {
  const { ids, current } = selection;
  if (ids.length === 0) return null;
  const at = ids.indexOf(current);
  return ids[at < 0 ? 0 : Math.min(ids.length - 1, Math.max(0, at + steps))];
}

/** The selection over another list. What left it is chosen no more; the next one takes the current one's place. */
export function over(selection, ids) {
  const there = new Set(ids);
  const chosen = new Set([...selection.chosen].filter((id) => there.has(id)));
  let current = selection.current;
  if (!there.has(current)) {
    const rest = selection.ids.slice(Math.max(0, selection.ids.indexOf(current)));
    const goesOn = selection.ids.some((id) => there.has(id)); // else it is another list: begin it at its start
    current = rest.find((id) => there.has(id)) ?? ids.at(goesOn ? -1 : 0) ?? null;
  }
  if (chosen.size === 0 && current !== null) chosen.add(current);
  return { ids, chosen, current, anchor: there.has(selection.anchor) ? selection.anchor : current };
}

/** Labels once an image is dropped on a severity of a condition: others are kept only beside one it shows already. */
export function relabelled(labels, condition, severity) {
  return condition in labels ? { ...labels, [condition]: severity } : { [condition]: severity };
}

/** Labels with another severity; null where it is open which condition is meant. */
export function regraded(labels, severity) {
  const conditions = Object.keys(labels);
  return conditions.length === 1 ? { [conditions[0]]: severity } : null;
}

/** Labels as a verdict says them: { condition, severity }, either may be open; null where it is open what is meant. */
export function labelled(labels, { condition, severity }) {
  if (condition === undefined) return severity === undefined ? labels : regraded(labels, severity);
  return relabelled(labels, condition, severity ?? labels[condition] ?? null);
}

/** Whether an image belongs to what is shown: { status, condition, severity }, each may be left out. */
export function isOf(image, { status, condition, severity }) {
  if (status !== undefined && image.status !== status) return false;
  if (condition === undefined) return true;
  return condition in image.labels && (severity === undefined || image.labels[condition] === severity);
}

/** The ids that come next after the current one, at most so many. */
export function following({ ids, current }, most) {
  const at = ids.indexOf(current);
  return ids.slice(at + 1, at + 1 + most);
}

/** One sentence on what was decided. */
export function decidedText(reviews) {
  const count = reviews.length;
  const texts = new Set(reviews.map(({ labels }) => (labels ? ` as ${labelText(labels).toLowerCase()}` : "")));
  const labelled = texts.size === 1 ? [...texts][0] : ""; // several texts: no one of them is true of all
  return `${count} ${count === 1 ? "picture" : "pictures"} ${reviews[0].verdict}${labelled}.`;
}

// Frames. Their figures are in pixels of the picture once it is upright: a quarter turn may lie between that and what is shown.

/** What is known of an image's frame, in words; null where nothing is. */
export function frameText(frame) {
  if (frame === undefined || frame === null) return null;
  if (frame.found === null) return "not looked for; models see the middle square";
  if (!frame.found) return "none found; models see the middle square";
  const turned = frame.turn === 0 ? "" : `, the picture lies: ${frame.turn}° clockwise sets it upright`;
  return `found, ${Math.round(100 * frame.face.score)}% sure${turned}`;
}

/** How a frame is drawn on the picture as it is shown: size, how to turn, corners of square and box, points. */
export function frameDrawing(frame) {
  const { turn, square, face } = frame;
  const lies = turn === 90 || turn === 270;
  const [width, height] = lies ? [frame.height, frame.width] : [frame.width, frame.height];
  const back = {
    0: "",
    90: `translate(0 ${height}) rotate(-90)`,
    180: `translate(${width} ${height}) rotate(180)`,
    270: `translate(${width} 0) rotate(90)`,
  };
  return {
    width,
    height,
    turn: back[turn],
    square: corners(square.x, square.y, square.side, square.side, square.roll),
    box: face === null ? null : corners(face.x, face.y, face.width, face.height, face.roll),
    points: face === null ? [] : face.points,
    radius: square.side / 80,
  };
}

/** Corners of a rectangle about its centre, turned clockwise by degrees. */
function corners(x, y, width, height, roll) {
  const [cos, sin] = [Math.cos((roll * Math.PI) / 180), Math.sin((roll * Math.PI) / 180)];
  const rounded = (value) => Math.round(10 * value) / 10;
  return [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([across, down]) => {
    const [dx, dy] = [(across * width) / 2, (down * height) / 2];
    return [rounded(x + dx * cos - dy * sin), rounded(y + dx * sin + dy * cos)];
  });
}

/** What is known of an image, as [name, text]; what is not known is left out. */
export function facts(image) {
  const rounded = (value) => (Number.isInteger(value) ? value : value.toFixed(1));
  const rows = [
    ["Status", image.status],
    ["Reviewed by", image.reviewer],
    ["Reason", image.reason],
    ["Size", `${image.width} × ${image.height}`],
    ["Face", frameText(image.frame)],
    ["Frame corrected by", image.frame_reviewer],
    ["Skin tone", image.skin_tone === null ? null : `${image.skin_tone} of 10 (Monk)`],
    ["Made by", image.provider],
    ["Quality", Object.entries(image.quality).map(([name, value]) => `${name.replaceAll("_", " ")} ${rounded(value)}`).join(", ")],
    ["Prompt", image.prompt],
  ];
  return rows.filter(([, text]) => text);
}

/**
 * What each cell of the board is to come to: { condition: { severity: pictures, or null where no campaign fills it } }.
 * That is what is accepted and what campaigns under way still lack.
 */
export function cellTargets(balance, campaigns) {
  const lacking = campaigns.filter(({ state }) => FILLING.includes(state)).flatMap(({ quotas }) => quotas);
  const of = (condition, severity) => {
    const quotas = lacking.filter((quota) => quota.condition === condition && quota.severity === severity);
    const missing = quotas.reduce((sum, { count, counted, failed }) => sum + count - counted - failed, 0);
    return quotas.length === 0 ? null : balance.conditions[condition].severities[severity] + missing;
  };
  return Object.fromEntries(CONDITIONS.map((c) => [c, Object.fromEntries(SEVERITIES.map((s) => [s, of(c, s)]))]));
}

const FILLING = ["running", "paused"]; // states of campaigns that still get pictures

const STATES = {
  paused: "Paused",
  closing: "Writing its dataset",
  met: "Quotas met",
  exhausted: "Ended: some pictures could not be had",
  cancelled: "Cancelled",
  rejected: "Refused",
};

/** What is to be said of a campaign: its state in words, a note, and how far it is, from 0 to 1. */
export function progress(campaign) {
  const { total, counted, failed } = campaign.slots;
  const wanted = Object.keys(campaign.targets).map((c) => `${conditionText(c)} ${campaign.targets[c]}`).join(", ");
  let state = STATES[campaign.state] ?? (campaign.review === "manual" ? "Waits for generation or review" : "Running");
  if (campaign.model !== null) state = campaign.model.promoted ? "Its model went live" : "Its model was not promoted";
  else if (campaign.state === "met" && campaign.reason) state = "Quotas met, without a model";
  else if (campaign.state === "met" && campaign.training !== null)
    state = `Training, epoch ${campaign.training.epoch} of ${campaign.training.epochs}`;
  const notes = [total === 0 ? "nothing was missing" : `${counted} of ${total} pictures`];
  if (failed > 0) notes.push(`${failed} failed`);
  if (campaign.spent_usd > 0) notes.push(`$${campaign.spent_usd.toFixed(2)}`);
  const reason = campaign.reason || campaign.model?.reason;
  if (reason) notes.push(reason);
  return { state, wanted, note: notes.join(" · "), share: total === 0 ? 1 : counted / total };
}
