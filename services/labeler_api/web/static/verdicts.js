// Verdicts before the server has them: what they make of a picture, and how they are taken back and given again. Pure.

/** Reasons of a rejection to choose from; the next attempt is told. */
export const REASONS = [
  "not this condition",
  "wrong severity",
  "second condition visible",
  "not a face",
  "artefact",
  "near-duplicate",
];

/** Why a picture is rejected whose severity nobody can tell. */
export const UNGRADABLE = "ungradable";

/** What a review changes in a picture, and an undo sets back. */
export const stateOf = ({ status, labels, reviewer, reason }) => ({ status, labels, reviewer, reason });

/** A review as the server takes it: its key makes it one review however often it is sent, `seen` is what was judged. */
export function reviewOf(image, verdict, reviewer, key, { labels = null, reason = "" } = {}) {
  const review = { image_id: image.id, verdict, reviewer, key, seen: { status: image.status, labels: image.labels } };
  if (labels !== null) review.labels = labels;
  if (verdict === "rejected" && reason.trim() !== "") review.reason = reason.trim();
  return review;
}

/** What a picture is once it was reviewed so. */
export const reviewed = ({ verdict, labels, seen, reviewer, reason }) => ({
  status: verdict,
  labels: labels ?? seen.labels,
  reviewer,
  reason: reason ?? null,
});

// Operations, in the order in which they are to reach the server:
//   { kind: "review", reviews } and { kind: "undo", reviewer, reviews, before }; of an undo's reviews only key and image,
//   the last first, and `before` by image: what each is again;
//   { kind: "frame", framing, to, reviews: [] }, where framing is { key, image_id, reviewer, before, after } and `to` says
//   which of the two the picture's frame and its reviewer are to be.

/** An action as an operation. An action: { said, reviews, before }, or with a framing where a frame was corrected. */
export const asOperation = ({ reviews, framing }) =>
  framing === undefined ? { kind: "review", reviews } : { kind: "frame", framing, to: "after", reviews: [] };

/** The operation that takes an action back, the last review first. */
export function asUndo({ reviews, before, framing }) {
  if (framing !== undefined) return { kind: "frame", framing, to: "before", reviews: [] };
  const keys = reviews.map(({ key, image_id }) => ({ key, image_id })).reverse();
  return { kind: "undo", reviewer: reviews[0].reviewer, reviews: keys, before };
}

/** The action of correcting a picture's square. */
export function framed(image, square, reviewer, key) {
  const before = { frame: image.frame, frame_reviewer: image.frame_reviewer ?? null };
  const after = { frame: { ...image.frame, square }, frame_reviewer: reviewer };
  return { said: null, reviews: [], before: {}, framing: { key, image_id: image.id, reviewer, before, after } };
}

/** What the server is told of a frame: a square, or null where it is to lie as it was found. */
export const squareOf = ({ frame, frame_reviewer }) => (frame_reviewer === null ? null : frame.square);

/** What pictures are once these operations have reached the server: id → state. */
export function statesOf(operations) {
  const states = new Map();
  const become = (id, state) => states.set(id, { ...states.get(id), ...state });
  for (const { kind, reviews, before, framing, to } of operations) {
    for (const review of reviews) become(review.image_id, kind === "review" ? reviewed(review) : before[review.image_id]);
    if (framing !== undefined) become(framing.image_id, framing[to]);
  }
  return states;
}

/** Operations, or actions, without a review or framing that the server refused: there is nothing of it to take back. */
export function withoutReview(operations, key) {
  const rest = operations.map((operation) => ({ ...operation, reviews: operation.reviews.filter((review) => review.key !== key) }));
  return rest.filter(({ reviews, framing }) => (framing === undefined ? reviews.length > 0 : framing.key !== key));
}

/** How many verdicts and corrections are on their way. */
export const countOf = (operations) => operations.reduce((sum, { reviews, framing }) => sum + (framing === undefined ? reviews.length : 1), 0);

/** What was said last, as it can be said of other pictures; undefined where there is no such verdict. */
export const lastSaid = ({ done }) => done.findLast(({ framing }) => framing === undefined)?.said;

// History: what was done, the last at the end, and what was taken back and can be done again.

export const noHistory = { done: [], undone: [] };

/** After another action; what was taken back before it is gone. */
export const decided = (history, action) => ({ done: [...history.done, action], undone: [] });

/** Take the last action back: the history after it, and the action; null where there is none. */
export function takenBack({ done, undone }) {
  const action = done.at(-1) ?? null;
  return [action === null ? { done, undone } : { done: done.slice(0, -1), undone: [...undone, action] }, action];
}

/** Do again what was taken back last, under new keys: those of before are taken back for ever. */
export function doneAgain({ done, undone }, newKey) {
  const last = undone.at(-1);
  if (last === undefined) return [{ done, undone }, null];
  const action = { ...last, reviews: last.reviews.map((review) => ({ ...review, key: newKey() })) };
  return [{ done: [...done, action], undone: undone.slice(0, -1) }, action];
}

/** The history without a review that the server refused. */
export function forgotten({ done, undone }, key) {
  return { done: withoutReview(done, key), undone };
}

/** Ids of a list, and further ones put among them by when their pictures came. */
export function merged(ids, further, imageOf) {
  const list = [...ids];
  for (const id of further.filter((one) => !ids.includes(one))) {
    const at = list.findIndex((other) => imageOf(other).created_at > imageOf(id).created_at);
    list.splice(at < 0 ? list.length : at, 0, id);
  }
  return list;
}

/** A whole record of a picture, which may have been read before the state that is known already. */
export const withState = (image, known) => (known === undefined ? image : { ...image, ...stateOf(known) });
