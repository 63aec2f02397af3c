// The picture that is judged, large, with its frame and what is known of it.

import { element, find, labelParts, shape } from "./dom.js";
import { gripOf, keyed, moved, stretched } from "./framing.js";
import { facts, frameDrawing, labelText } from "./review.js";

const FRAME = "evenskin-frame"; // whether the frame is shown, kept in the browser
const GRIP = "The frame. Arrows move it, plus and minus size it, Enter keeps it, Escape leaves it.";

function drawFrame(frame) {
  const known = frame !== undefined && frame !== null;
  find("frame-toggle").disabled = !known;
  if (!known) {
    find("frame").replaceChildren();
    return;
  }
  const { width, height, turn, square, box, points, radius } = frameDrawing(frame);
  find("frame").setAttribute("viewBox", `0 0 ${width} ${height}`);
  const shapes = points.map(([cx, cy]) => shape("circle", { cx, cy, r: radius }));
  if (box !== null) shapes.push(shape("polygon", { class: "box", points: box.join(" ") }));
  shapes.push(shape("polygon", { class: frame.found ? "square" : "square middle", points: square.join(" ") }));
  const grips = square.map((corner) => `M${gripOf(frame, corner).join(" ")}h0`);
  const corners = grips.map((d) => shape("path", { class: "grip corner", d, "data-grip": "corner" }));
  const dots = grips.map((d) => shape("path", { class: "dot", d }));
  // The edge stays the element that it is, which may have the focus.
  const edge = find("frame").querySelector(".edge") ?? shape("path", { class: "grip edge", "data-grip": "edge", tabindex: 0, role: "button", "aria-label": GRIP });
  const group = edge.parentNode ?? shape("g", {}, edge);
  for (const child of [...group.children]) if (child !== edge) child.remove();
  edge.setAttribute("d", `M${square.join("L")}Z`);
  edge.before(...shapes, ...dots);
  edge.after(...corners);
  group.setAttribute("transform", turn);
  if (group.parentNode === null) find("frame").append(group);
}

/** Let the frame be corrected: dragged by its edge or a corner, or by keys. `corrected(id, square)` is told of the end. */
function mountCorrection({ corrected }) {
  const drawing = find("frame");
  let image; // whose frame is drawn
  let held = null; // { kind, from, frame }: by what it is dragged, from where, and what it was
  let draft = null; // the square that is not kept yet
  const propose = (square) => {
    draft = square;
    drawFrame({ ...image.frame, square });
  };
  const leave = () => {
    held = draft = null;
    if (image?.frame) drawFrame(image.frame);
  };
  const keep = () => {
    const square = draft;
    held = draft = null;
    if (square === null) return;
    corrected(image.id, square);
    drawFrame(image.frame); // which is the corrected one by now, unless it was not taken
  };
  const placeOf = ({ clientX, clientY }) => {
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(drawing.firstChild.getScreenCTM().inverse());
    return [x, y];
  };
  drawing.addEventListener("pointerdown", (event) => {
    const kind = event.target.dataset.grip;
    if (kind === undefined || event.button !== 0) return;
    event.preventDefault();
    held = { kind, from: placeOf(event), frame: image.frame };
    drawing.setPointerCapture(event.pointerId);
  });
  drawing.addEventListener("pointermove", (event) => {
    if (held === null) return;
    const { kind, from, frame } = held;
    const [x, y] = placeOf(event);
    propose(kind === "corner" ? stretched(frame, from, [x, y]) : moved(frame, x - from[0], y - from[1]));
  });
  drawing.addEventListener("pointerup", keep);
  drawing.addEventListener("pointercancel", leave);
  drawing.addEventListener("focusout", () => {
    if (held === null) keep();
  });
  drawing.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const square = keyed({ ...image.frame, square: draft ?? image.frame.square }, event.key);
    if (square !== null) propose(square);
    else if (event.key === "Enter" && draft !== null) keep();
    else if (event.key === "Escape" && draft !== null) leave();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return {
    update(next) {
      if (next?.id !== image?.id) held = draft = null;
      image = next;
      if (image !== undefined && draft === null) drawFrame(image.frame);
    },
  };
}

/** Mount the viewer. `show(img, path)` lets an image show a picture, `reframe(id, square)` corrects its frame. */
export function mountViewer({ show, reframe }) {
  const correction = mountCorrection({ corrected: reframe });
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
      correction.update(image);
      find("labels").replaceChildren(...labelParts(proposed));
      find("labels").classList.toggle("changed", JSON.stringify(proposed) !== JSON.stringify(image.labels));
      large.alt = `A face. ${labelText(image.labels)}`;
      find("facts").replaceChildren(...facts(image).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
    },
  };
}
