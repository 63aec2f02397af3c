// The curve of the training under way, or of the last one.

import { element, find, shape } from "./dom.js";
import { trainingCurve } from "./figures.js";

const [WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM] = [640, 240, 44, 12, 16, 30];
const across = (share) => LEFT + share * (WIDTH - LEFT - RIGHT);
const down = (share) => TOP + share * (HEIGHT - TOP - BOTTOM);
const pointsOf = (line) => line.map(([x, y]) => `${across(x).toFixed(1)},${down(y).toFixed(1)}`).join(" ");

function drawing(curve) {
  const lines = [0, 0.5, 1].map((share) => shape("g", {},
    shape("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: down(share), y2: down(share) }),
    shape("text", { x: LEFT - 8, y: down(share) + 4, "text-anchor": "end" }, ((1 - share) * curve.most).toFixed(2))));
  const ends = [[0, "1"], [1, String(curve.epochs)]].map(([share, text]) =>
    shape("text", { x: across(share), y: HEIGHT - 8, "text-anchor": share === 0 ? "start" : "end" }, text));
  const series = ["train", "validation"].map((name) => {
    const [x, y] = curve[name].at(-1);
    return shape("g", { class: name }, shape("polyline", { points: pointsOf(curve[name]) }), shape("circle", { cx: across(x), cy: down(y), r: 4 }));
  });
  return shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": curve.text },
    ...lines, ...ends, shape("text", { x: across(0.5), y: HEIGHT - 8, "text-anchor": "middle" }, "epoch"), ...series);
}

/** Mount the chart. */
export function mountTrainingChart() {
  let drawn = "";
  return {
    update: ({ campaign }) => {
      const curve = trainingCurve(campaign?.training);
      const state = JSON.stringify(curve);
      if (state === drawn) return;
      drawn = state;
      find("training-said").textContent = curve === null ? "No training yet: it begins once the quotas are met." : curve.text;
      const legend = element("p", { className: "legend" }, element("i", { className: "train" }), "training loss", element("i", { className: "validation" }), "validation loss");
      find("training").replaceChildren(...(curve === null ? [] : [drawing(curve), legend]));
    },
  };
}
