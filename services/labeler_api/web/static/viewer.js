// The picture that is judged, large, with its frame and what is known of it.

import { element, find, labelParts, shape } from "./dom.js";
import { facts, frameDrawing, labelText } from "./review.js";

const FRAME = "evenskin-frame"; // whether the frame is shown, kept in the browser

function drawFrame(frame) {
  const known = frame !== undefined && frame !== null;
  find("frame-toggle").disabled = !known;
  find("frame").replaceChildren();
  if (!known) return;
  const { width, height, turn, square, box, points, radius } = frameDrawing(frame);
  find("frame").setAttribute("viewBox", `0 0 ${width} ${height}`);
  const shapes = points.map(([cx, cy]) => shape("circle", { cx, cy, r: radius }));
  if (box !== null) shapes.push(shape("polygon", { class: "box", points: box.join(" ") }));
  shapes.push(shape("polygon", { class: frame.found ? "square" : "square middle", points: square.join(" ") }));
  find("frame").append(shape("g", { transform: turn }, ...shapes));
}

/** Mount the viewer. `show(img, path)` lets an image show a picture. */
export function mountViewer({ show }) {
  const large = find("large");
  let shown = null; // id of the picture
  let drawn = ""; // what its facts were drawn from

  const isFrameShown = () => find("frame-toggle").getAttribute("aria-pressed") === "true";
  function showFrame(wanted) {
    find("frame-toggle").setAttribute("aria-pressed", String(wanted));
    find("frame").toggleAttribute("hidden", !wanted);
    localStorage.setItem(FRAME, wanted ? "shown" : "hidden");
  }
  const toggleFrame = () => showFrame(!isFrameShown());
  showFrame(localStorage.getItem(FRAME) !== "hidden");
  find("frame-toggle").addEventListener("click", toggleFrame);
  find("details").open = matchMedia("(min-width: 46rem)").matches;
  // Until a picture is there nothing is seen: the one before it would be judged in its place.
  for (const name of ["load", "error"]) large.addEventListener(name, () => large.classList.remove("coming"));

  return {
    toggleFrame,
    /** Draw the picture; `proposed`: the labels that accepting it gives; `count`: how many are chosen. */
    update: ({ image, proposed, count }) => {
      find("nothing").hidden = image !== undefined;
      find("shown").hidden = find("details").hidden = image === undefined;
      const many = count > 1 ? ` ${count}` : "";
      find("accept").firstChild.textContent = `Accept${many} `;
      find("reject").firstChild.textContent = `Reject${many} `;
      find("accept").disabled = find("reject").disabled = count === 0;
      if (image === undefined) {
        shown = null;
        return;
      }
      if (image.id !== shown) {
        shown = image.id;
        large.classList.add("coming");
        show(large, `/v1/images/${image.id}/content`);
        if (large.complete && large.naturalWidth > 0 && large.src.endsWith(`/v1/images/${image.id}/content`)) large.classList.remove("coming");
      }
      const state = JSON.stringify([image, proposed]);
      if (state === drawn) return;
      drawn = state;
      drawFrame(image.frame);
      find("labels").replaceChildren(...labelParts(proposed));
      find("labels").classList.toggle("changed", JSON.stringify(proposed) !== JSON.stringify(image.labels));
      large.alt = `A face. ${labelText(image.labels)}`;
      find("facts").replaceChildren(...facts(image).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
    },
  };
}
