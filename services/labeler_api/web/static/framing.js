// Correcting a frame's square: moved and sized within what the server takes. Pure. Figures are in pixels of the upright picture.

const MIN_SIDE = 32; // pixels, as the server has it
const MAX_SIDE = 2; // longer sides of the picture, as the server has it
const STEP = 0.02; // of a side, for each press of a key

const WAYS = new Map([["ArrowRight", 0], ["ArrowDown", 90], ["ArrowLeft", 180], ["ArrowUp", 270]]); // degrees clockwise

const within = (value, least, most) => Math.min(most, Math.max(least, value));
const rounded = (value) => Math.round(100 * value) / 100;

/** The frame with its square moved; its centre stays in the picture. */
export function moved(frame, dx, dy) {
  const { x, y } = frame.square;
  return { ...frame.square, x: rounded(within(x + dx, 0, frame.width)), y: rounded(within(y + dy, 0, frame.height)) };
}

/** The square about the same centre with this side, as far as it may be. */
export function sized(frame, side) {
  const most = MAX_SIDE * Math.max(frame.width, frame.height);
  return { ...frame.square, side: rounded(within(side, MIN_SIDE, most)) };
}

/** The square about the same centre, as many times as large as a point was dragged away from it. */
export function stretched(frame, from, to) {
  const { x, y, roll } = frame.square;
  const [cos, sin] = [Math.cos((roll * Math.PI) / 180), Math.sin((roll * Math.PI) / 180)];
  const reach = ([px, py]) => {
    const [dx, dy] = [px - x, py - y];
    return Math.max(Math.abs(dx * cos + dy * sin), Math.abs(dy * cos - dx * sin));
  };
  return sized(frame, (frame.square.side * reach(to)) / Math.max(1, reach(from)));
}

/** Where a corner can be taken hold of: within the picture, which the square may leave. */
export const gripOf = (frame, [x, y]) => [within(x, 0, frame.width), within(y, 0, frame.height)];

/** The square after a key: arrows move it as the picture is shown, + and − size it; null for any other key. */
export function keyed(frame, key) {
  const step = STEP * frame.square.side;
  const way = WAYS.get(key);
  if (way !== undefined) {
    const angle = ((way + frame.turn) * Math.PI) / 180; // what is shown lies `turn` before upright
    return moved(frame, step * Math.round(Math.cos(angle)), step * Math.round(Math.sin(angle)));
  }
  if (key === "+" || key === "=") return sized(frame, frame.square.side + step);
  return key === "-" ? sized(frame, frame.square.side - step) : null;
}
