"""Charts as inline SVG. Widths are in percent, so that a phone narrows the chart and not its lettering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.console.text import percent
from services.demo.report.document import Epoch, Interval
from services.demo.report.markup import Markup, el

BAR = 7  # pixels: height of a bar
DOT = 4.5  # pixels: radius of a measured value
PLOT = 180  # pixels: height of a curve's plot


@dataclass(frozen=True)
class Point:
    """One measured share, with its interval, of `before`, `after` or `baseline`."""

    model: str
    value: float | None
    bounds: Interval | None = None


def bars(shares: Sequence[tuple[str, float]]) -> Markup:
    """Horizontal bars under each other, each of a colour class and a share of the width. Decoration: the
    numbers stand beside it in the table."""
    height = len(shares) * (BAR + 2) - 2
    drawn = [
        el("rect", x=0, y=index * (BAR + 2), width=f"{100 * share:.2f}%", height=BAR, rx=2, class_=f"f-{name}")
        for index, (name, share) in enumerate(shares)
    ]
    return el("svg", drawn, height=height, aria_hidden="true", focusable="false")


def whiskers(points: Sequence[Point], *, chance: bool) -> Markup:
    """Values with their intervals on an axis from 0 to 100%, each on a line of its own. Decoration, as `bars`."""
    step = 13
    height = step * len(points) + 6
    drawn = [el("line", x1=f"{x}%", x2=f"{x}%", y1=0, y2=height, class_="grid") for x in (0, 25, 75, 100)]
    drawn.append(el("line", x1="50%", x2="50%", y1=0, y2=height, class_="chance" if chance else "grid"))
    for index, point in enumerate(points):
        y = step * index + step / 2 + 3
        if point.value is None:
            continue
        if point.bounds is not None:
            low, high = (f"{100 * end:.2f}%" for end in point.bounds)
            drawn.append(el("line", x1=low, x2=high, y1=y, y2=y, stroke_width=2, class_=f"s-{point.model}"))
            drawn += [
                el("line", x1=x, x2=x, y1=y - 3, y2=y + 3, stroke_width=2, class_=f"s-{point.model}")
                for x in (low, high)
            ]
        drawn.append(el("circle", cx=f"{100 * point.value:.2f}%", cy=y, r=DOT, class_=f"f-{point.model}"))
    return el("svg", drawn, height=height, aria_hidden="true", focusable="false")


def whisker_panel(title: str, rows: Sequence[tuple[str, Sequence[Point]]], *, chance: bool = False) -> Markup:
    """A figure of whiskers, one row a condition; said in words for those who do not see it."""
    ticks = [el("i", f"{x}{'%' if x == 100 else ''}", style=f"left:{x}%") for x in (0, 25, 50, 75, 100)]
    cells = [
        (el("span", name), el("div", whiskers(points, chance=chance), role="img", aria_label=_said(name, points)))
        for name, points in rows
    ]
    axis = (el("span"), el("div", ticks, class_="axis", aria_hidden="true"))
    note = " The dashed line at 50% is what guessing gives." if chance else ""
    return el(
        "figure", el("h3", title), el("div", cells, axis, class_="rows"), el("figcaption", note) if note else None
    )


def _said(name: str, points: Sequence[Point]) -> str:
    told = []
    for point in points:
        around = f" (interval {percent(point.bounds[0])} to {percent(point.bounds[1])})" if point.bounds else ""
        told.append(f"{point.model} {percent(point.value)}{around}")
    return f"{name}, in percent: " + ", ".join(told)


def curves(title: str, epochs: Sequence[Epoch], *, ceiling: float, colour: str) -> Markup:
    """A training's losses by epoch: thin for the training pictures, thick for the validation fold."""
    last, top = max(len(epochs) - 1, 1), ceiling or 1.0

    def line(values: Sequence[float], *, width: float, dashed: bool) -> Markup:
        points = " ".join(
            f"{100 * index / last:.2f},{100 - 100 * min(value, top) / top:.2f}" for index, value in enumerate(values)
        )
        return el(
            "polyline",
            points=points,
            fill="none",
            stroke_width=width,
            stroke_dasharray="4 3" if dashed else None,
            vector_effect="non-scaling-stroke",
            class_=f"s-{colour}",
        )

    validation = [epoch.validation_loss for epoch in epochs]
    best = validation.index(min(validation))
    scaled = el(
        "svg",
        line([epoch.train_loss for epoch in epochs], width=1.5, dashed=True),
        line(validation, width=2.5, dashed=False),
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
        width="100%",
        height=PLOT,
    )
    lines = [el("line", x1=0, x2="100%", y1=f"{y}%", y2=f"{y}%", class_="grid") for y in (0, 25, 50, 75, 100)]
    x, y = f"{100 * best / last:.2f}%", f"{100 - 100 * min(validation[best], top) / top:.2f}%"
    dot = el("circle", cx=x, cy=y, r=DOT, class_=f"f-{colour}")
    labels = [
        el("span", f"{top * share:.2f}", class_="y", style=f"top:{PLOT * (1 - share)}px") for share in (0, 0.5, 1)
    ]
    said = (
        f"Loss over {len(epochs)} epochs: training from {epochs[0].train_loss:.3f} to {epochs[-1].train_loss:.3f}, "
        f"validation from {validation[0]:.3f} to {validation[-1]:.3f}, lowest {validation[best]:.3f} "
        f"in epoch {epochs[best].epoch}."
    )
    ticks = [el("i", epochs[0].epoch, style="left:0"), el("i", f"epoch {epochs[-1].epoch}", style="left:100%")]
    return el(
        "figure",
        el("h3", title),
        el(
            "div",
            el("div", labels, aria_hidden="true"),
            el("svg", lines, scaled, dot, height=PLOT, role="img", aria_label=said),
            el("div", ticks, class_="axis", aria_hidden="true"),
            class_="plot",
        ),
        el("figcaption", said),
    )
