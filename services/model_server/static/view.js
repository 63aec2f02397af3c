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

/** Where the square that the model looks at lies in the shown picture, in per cent of its sides. */
export function cropBox({ width, height, crop }) {
  const share = (part, whole) => `${(100 * part) / whole}%`;
  return {
    left: share(crop.left, width),
    top: share(crop.top, height),
    width: share(crop.width, width),
    height: share(crop.height, height),
  };
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
