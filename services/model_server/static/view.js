// What the page says and draws, as pure functions: no document, no network.

const NAMES = {
  acne: "Acne",
  redness: "Redness",
  pore_size: "Enlarged pores",
  textured_skin: "Textured skin",
  hyperpigmentation: "Dark spots",
  fine_lines: "Fine lines",
  aging: "Signs of ageing",
};

const SEVERITIES = ["mild", "moderate", "severe"];

/** The names of everything that is looked for. */
export const CONDITION_NAMES = Object.values(NAMES);

/** A condition's name for people. */
export function conditionName(condition) {
  return NAMES[condition] ?? condition.replaceAll("_", " ");
}

/** A severity's word for people: the lowest one of textured skin is called "slight". */
export function severityText(condition, severity) {
  return condition === "textured_skin" && severity === "mild" ? "slight" : severity;
}

/** A probability as whole per cent; never a certainty that the model does not have. */
export function percent(probability) {
  const rounded = Math.round(probability * 100);
  if (rounded === 0) return "<1%";
  return rounded === 100 ? ">99%" : `${rounded}%`;
}

/** Conditions that are present, and those that are not, each by falling probability. */
export function grouped(conditions) {
  const sorted = [...conditions].sort((a, b) => b.probability - a.probability);
  return { present: sorted.filter((c) => c.present), absent: sorted.filter((c) => !c.present) };
}

/** How the belief in a present condition spreads over its severities. */
export function spread(condition) {
  return SEVERITIES.map(
    (severity) =>
      `${severityText(condition.condition, severity)} ${percent(condition.severity_probabilities[severity])}`,
  ).join(" · ");
}

/** One sentence for the status line. */
export function summary({ present }) {
  if (present.length === 0) return "None of the seven conditions shows.";
  const names = present.map((c) => conditionName(c.condition).toLowerCase());
  const listed = names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0];
  return `The model sees ${listed}.`;
}

/** The line of facts below the answer. */
export function facts(answer) {
  const { width, height, format } = answer.image;
  const kind = format === "HEIF" ? "HEIC" : format === "WEBP" ? "WebP" : format;
  const took = Math.max(1, Math.round(answer.timing_ms.total));
  return `${width} × ${height} ${kind}, answered in ${took} ms by model ${answer.model_version}.`;
}

/** A point of the upright picture in the picture as displayed, which may lie on its side. */
function displayed({ turn, width, height }, x, y) {
  if (turn === 90) return [y, width - x];
  if (turn === 180) return [width - x, height - y];
  return turn === 270 ? [height - y, x] : [x, y];
}

/** Where the square that the model looks at lies in the shown picture: CSS of a box that covers it. */
export function frameBox({ image, frame }) {
  const { side, roll } = frame.square;
  const [x, y] = displayed(frame, frame.square.x, frame.square.y);
  const share = (part, whole) => `${(100 * part) / whole}%`;
  return {
    left: share(x - side / 2, image.width),
    top: share(y - side / 2, image.height),
    width: share(side, image.width),
    height: share(side, image.height),
    transform: `rotate(${roll - frame.turn}deg)`,
  };
}

/** What is drawn over the shown picture, as an SVG has it: the frame, and of a face its box and points. */
export function overlay({ image, frame, face }) {
  const { width, height, turn } = frame;
  const rectangle = ({ x, y, width, height, roll }) => ({
    x: x - width / 2,
    y: y - height / 2,
    width,
    height,
    transform: `rotate(${roll} ${x} ${y})`,
  });
  const matrices = {
    0: "",
    90: `matrix(0 -1 1 0 0 ${width})`,
    180: `matrix(-1 0 0 -1 ${width} ${height})`,
    270: `matrix(0 1 -1 0 ${height} 0)`,
  };
  const { side } = frame.square;
  return {
    viewBox: `0 0 ${image.width} ${image.height}`,
    transform: matrices[turn],
    frame: rectangle({ ...frame.square, width: side, height: side }),
    box: face && rectangle(face),
    points: face ? face.points.map(([cx, cy]) => ({ cx, cy, r: side / 90 })) : [],
  };
}

/** What was found in the picture, and what the model looks at, in a sentence for everybody. */
export function foundText({ face_search, face, frame }) {
  const middle = "the model looks at the middle of the picture, the dashed square";
  if (face_search === "off") return `This server looks for no face: ${middle}.`;
  if (!face) return `No face with both eyes was found: ${middle}.`;
  const turned = frame.turn ? " The picture lies on its side; the server turned it." : "";
  const { x, y, side } = frame.square;
  const isAround = Math.abs(face.x - x) < side / 4 && Math.abs(face.y - y) < side / 4;
  return `A face was found, the solid box: ${isAround ? "the model looks at the dashed square around it" : middle}.${turned}`;
}

const ADVICE = {
  no_face: "No face",
  multiple_faces: "Several faces",
  face_too_small: "Too far away",
  face_cut: "Cut off",
  face_turned: "Turned away",
  too_blurry: "Blurred",
  too_dark: "Too dark",
  too_bright: "Too bright",
};

/** A word or two for what an advice is about. */
export function adviceTitle(code) {
  return ADVICE[code] ?? code.replaceAll("_", " ");
}

/** The warnings that no advice says. */
export function otherWarnings({ warnings, advice }) {
  const said = new Set(advice.map(({ message }) => message));
  return warnings.filter((warning) => !said.has(warning));
}

/** Colour a greyscale map in place: RGBA bytes, from clear over blue to yellow, which skin never is. */
export function colourHeat(rgba) {
  for (let i = 0; i < rgba.length; i += 4) {
    const heat = rgba[i] / 255;
    rgba[i] = 40 + 215 * heat;
    rgba[i + 1] = 70 + 155 * heat;
    rgba[i + 2] = 255 - 195 * heat;
    rgba[i + 3] = 210 * Math.min(1, Math.max(0, (heat - 0.25) / 0.6));
  }
  return rgba;
}

const DARK = 60; // mean of 255 below which skin is hard to see
const BRIGHT = 215; // and above which it is washed out

/** What to say of the light in a look through the camera: RGBA bytes. */
export function lightHint(rgba) {
  let sum = 0;
  for (let i = 0; i < rgba.length; i += 4) sum += 0.2126 * rgba[i] + 0.7152 * rgba[i + 1] + 0.0722 * rgba[i + 2];
  const mean = sum / (rgba.length / 4);
  if (mean < DARK) return "It is too dark: turn to a window or a lamp.";
  return mean > BRIGHT ? "It is too bright: turn away from the light." : "The light is good. Keep still.";
}

function told({ condition, present, severity, probability }) {
  return present ? `${severityText(condition, severity)}, ${percent(probability)}` : `not counted, ${percent(probability)}`;
}

/** Two answers side by side: a row for each condition of both, and what to know of the comparison. */
export function compared(before, after) {
  const earlier = new Map(before.conditions.map((c) => [c.condition, c]));
  const rows = after.conditions
    .filter((c) => earlier.has(c.condition))
    .map((c) => {
      const was = earlier.get(c.condition);
      const points = Math.round(100 * c.probability) - Math.round(100 * was.probability);
      const size = Math.abs(points);
      const change = `${size} ${size === 1 ? "point" : "points"} ${points > 0 ? "more" : "less"} likely`;
      return { condition: c.condition, earlier: told(was), later: told(c), change: size ? change : "about the same" };
    });
  const note =
    before.model_version === after.model_version
      ? "Light, distance and camera change an answer too: compare pictures that were taken alike."
      : "Two models gave these answers: a difference may be theirs.";
  return { rows, note };
}
