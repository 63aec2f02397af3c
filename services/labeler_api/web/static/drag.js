// Dragging by mouse, pen or finger: from a picture to a target. A finger holds still first, since it also scrolls.

import { element } from "./dom.js";

const FAR = 6; // pixels, from which on a pressed mouse drags
const HOLD_MS = 350; // that a finger holds still until it drags

/**
 * Mount dragging. `pick(element)` says what is dragged from where it begins: paths of pictures to show, the first on top,
 * or null where nothing is. `drop(target)` is told where it ends, if on an element with the class `target`.
 */
export function mountDragging({ pick, show, drop }) {
  const body = document.body;
  let pressed = null; // { id, x, y, from, timer }: a pointer that is down, and may come to drag
  let ghost = null; // what is shown under the pointer while it drags
  let over = null; // the target below it

  const targetAt = ({ clientX, clientY }) => {
    const target = document.elementFromPoint(clientX, clientY)?.closest(".target");
    return target && !target.disabled ? target : null;
  };
  const mark = (target) => {
    over?.classList.remove("over");
    over = target;
    over?.classList.add("over");
  };

  function begin() {
    const paths = pick(pressed.from);
    if (paths === null) {
      end();
      return;
    }
    const images = paths.slice(0, 3).map((path) => {
      const img = element("img", { alt: "" });
      show(img, path);
      return img;
    });
    ghost = element("div", { className: "ghost", ariaHidden: "true" }, ...images.reverse(), ...(paths.length > 1 ? [element("b", {}, String(paths.length))] : []));
    body.append(ghost);
    body.classList.add("dragging");
    follow(pressed);
  }

  const follow = ({ x, y }) => {
    ghost.style.translate = `${x}px ${y}px`;
    mark(targetAt({ clientX: x, clientY: y }));
  };

  function end() {
    clearTimeout(pressed?.timer);
    pressed = null;
    ghost?.remove();
    ghost = null;
    mark(null);
    body.classList.remove("dragging");
  }

  document.addEventListener("pointerdown", (event) => {
    if (pressed !== null || !event.isPrimary || event.button !== 0 || event.target.closest(".grip")) return;
    const from = event.target.closest(".thumb, .large");
    if (from === null) return;
    pressed = { id: event.pointerId, x: event.clientX, y: event.clientY, from, timer: null, touch: event.pointerType === "touch" };
    if (pressed.touch) pressed.timer = setTimeout(begin, HOLD_MS);
  });
  document.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pressed?.id) return;
    const far = Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > FAR;
    if (ghost === null && !far) return;
    if (ghost === null && pressed.touch) {
      end(); // it scrolls
      return;
    }
    Object.assign(pressed, { x: event.clientX, y: event.clientY });
    if (ghost === null) begin();
    else follow(pressed);
  });
  document.addEventListener("pointerup", (event) => {
    if (event.pointerId !== pressed?.id) return;
    const target = ghost === null ? null : over;
    if (ghost !== null) addEventListener("click", swallow, { capture: true, once: true });
    setTimeout(() => removeEventListener("click", swallow, { capture: true })); // where no click follows
    end();
    if (target !== null) drop(target);
  });
  document.addEventListener("pointercancel", (event) => event.pointerId === pressed?.id && end());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || ghost === null) return;
    event.stopImmediatePropagation();
    end();
  });
  document.addEventListener("touchmove", (event) => ghost !== null && event.preventDefault(), { passive: false });
  document.addEventListener("contextmenu", (event) => pressed?.touch && event.preventDefault());
  document.addEventListener("dragstart", (event) => event.target.closest?.(".thumb, .stage") && event.preventDefault());
}

function swallow(event) {
  event.stopPropagation();
  event.preventDefault();
}
