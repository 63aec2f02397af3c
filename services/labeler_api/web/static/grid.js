// The pictures of the page, as a list to choose from.

import { element, find, labelParts } from "./dom.js";

/** Mount the grid. `show(img, path)` lets an image show a picture, `pick(id, event)` is told of a click. */
export function mountGrid({ show, pick }) {
  const grid = find("grid");
  grid.addEventListener("click", (event) => {
    const id = event.target.closest(".thumb")?.dataset.id;
    if (id !== undefined) pick(id, event);
  });

  function thumbnail(id) {
    const img = element("img", { alt: "", loading: "lazy", draggable: false });
    show(img, `/v1/images/${id}/thumbnail`);
    const option = element("div", { className: "thumb", role: "option" }, img, element("div", { className: "labels" }));
    option.dataset.id = id;
    return option;
  }

  return {
    columns: () => getComputedStyle(grid).gridTemplateColumns.split(" ").length,
    focus: (options) => grid.querySelector(".current")?.focus(options),
    update: ({ selection, imageOf, page, first, last }) => {
      const there = new Map([...grid.children].map((option) => [option.dataset.id, option]));
      const focused = grid.contains(document.activeElement);
      const options = selection.ids.map((id) => {
        const option = there.get(id) ?? thumbnail(id);
        const { labels } = imageOf(id);
        const said = JSON.stringify(labels);
        if (option.dataset.labels !== said) option.lastChild.replaceChildren(...labelParts(labels));
        option.dataset.labels = said;
        option.ariaSelected = String(selection.chosen.has(id));
        option.classList.toggle("current", id === selection.current);
        option.tabIndex = id === selection.current ? 0 : -1;
        return option;
      });
      const wanted = new Set(options);
      for (const option of there.values()) if (!wanted.has(option)) option.remove();
      options.forEach((option, at) => {
        if (grid.children[at] !== option) grid.insertBefore(option, grid.children[at] ?? null);
      });
      grid.hidden = options.length === 0; // a list without options is none
      if (focused) grid.querySelector(".current")?.focus();
      find("pages").hidden = first && last;
      find("back").disabled = first;
      find("next").disabled = last;
      find("page-number").textContent = `Page ${page}`;
    },
  };
}

/** What is said where there is no picture. */
export function mountEmpty() {
  return {
    update: ({ empty, filter: { status, condition } }) => {
      const shown = find("empty");
      const kind = JSON.stringify([empty, status, condition]);
      if (shown.dataset.kind === kind) return;
      shown.dataset.kind = kind;
      shown.hidden = !empty;
      const strong = (text) => element("p", {}, element("strong", {}, text));
      if (condition !== undefined) shown.replaceChildren(strong("No such picture."), "Choose another condition or status above.");
      else if (status !== "pending") shown.replaceChildren(strong(`No picture is ${status} yet.`));
      else
        shown.replaceChildren(
          strong("Nothing waits for review."),
          element("p", {}, "New pictures come by themselves once a campaign with manual review generates them. To start one:"),
          element("code", {}, "evenskin rebalance --target 200 --review manual"),
          element("p", {}, "What was decided before is under Accepted and Rejected, and can be reviewed again."),
        );
    },
  };
}
