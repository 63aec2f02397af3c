"""The report's plots, by matplotlib, as inline SVG: text stays text, and nothing is loaded from anywhere."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from services.report.curves import Curve, precision_recall, roc
from services.report.robustness import UNCHANGED, Robustness
from services.trainer.measures import ConditionAnswers
from shared.evaluation import ConditionEvaluation, Evaluation, ReliabilityBin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _SOFT, _LINE, _MAIN, _OTHER = "#1d2330", "#5a6373", "#dfe1e6", "#0f766e", "#b45309"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "evenskin",  # the same figures give the same file
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.edgecolor": _SOFT,
    "axes.labelcolor": _INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "text.color": _INK,
    "legend.frameon": False,
}
_SEVERITIES = ("absent", "mild", "moderate", "severe")
_COLUMNS = 4  # panels beside each other
_PANEL = 2.35  # inches of a panel on a side


class Charts:
    """Draws one evaluation. Raises ConfigurationError where matplotlib is not installed."""

    def __init__(self, evaluation: Evaluation, answers: dict[str, ConditionAnswers]) -> None:
        self._evaluation = evaluation
        self._answers = answers

    def presence(self) -> str:
        """How often each condition was seen where it is, and where it is not."""

        def draw(axes: Axes, _: ConditionAnswers, found: ConditionEvaluation) -> None:
            _matrix(axes, found.presence, ("not shown", "shown"), ("no", "yes"))

        return self._panels(draw, height=1.0)

    def severity(self) -> str:
        """Graded pictures by their severity and the answered one."""

        def draw(axes: Axes, _: ConditionAnswers, found: ConditionEvaluation) -> None:
            _matrix(axes, found.severity, _SEVERITIES, _SEVERITIES)

        return self._panels(draw, height=1.12)

    def roc(self) -> str:
        """Receiver operating characteristic of each condition, with the threshold's place on it."""

        def draw(axes: Axes, answers: ConditionAnswers, found: ConditionEvaluation) -> None:
            _curve(axes, roc(answers), (found.values["false_positive_rate"], found.values["recall"]))
            axes.plot([0, 1], [0, 1], color=_SOFT, linestyle=":", linewidth=1)
            _square(axes, "false-positive rate", "recall")
            _note(axes, "AUC", found.values["auc"], found.intervals["auc"], 0.08)

        return self._panels(draw, height=1.1)

    def precision_recall(self) -> str:
        """Precision by recall of each condition, with the threshold's place; dotted: the share that shows it."""

        def draw(axes: Axes, answers: ConditionAnswers, found: ConditionEvaluation) -> None:
            _curve(axes, precision_recall(answers), (found.values["recall"], found.values["precision"]))
            axes.axhline(found.positives / max(1, found.images), color=_SOFT, linestyle=":", linewidth=1)
            _square(axes, "recall", "precision")
            _note(axes, "AP", found.values["average_precision"], found.intervals["average_precision"], 0.3)

        return self._panels(draw, height=1.1)

    def reliability(self) -> str:
        """The share that shows a condition by the probability that was answered, before and after calibration."""

        def draw(axes: Axes, _: ConditionAnswers, found: ConditionEvaluation) -> None:
            axes.plot([0, 1], [0, 1], color=_SOFT, linestyle=":", linewidth=1)
            _bins(axes, found.reliability_before, _OTHER, "before", "s")
            _bins(axes, found.reliability, _MAIN, "after", "o")
            _square(axes, "mean probability", "share that shows it")
            before, after = (
                f"{value:.3f}" if value is not None else "–" for value in (found.ece_before, found.values["ece"])
            )
            axes.text(0.97, 0.04, f"ECE {before} → {after}", ha="right", va="bottom", fontsize=8)

        return self._panels(draw, height=1.1, key=(("before calibration", _OTHER), ("after", _MAIN)))

    def training(self) -> str:
        """Losses and validation scores by epoch."""
        history = self._evaluation.history
        epochs = [epoch["epoch"] for epoch in history]
        with _figure(8.4, 2.9) as (figure, save):
            left, right = figure.subplots(1, 2)
            for name, colour in (("train_loss", _OTHER), ("validation_loss", _MAIN)):
                left.plot(epochs, [epoch[name] for epoch in history], color=colour, label=name.replace("_", " "))
            names = sorted({name for epoch in history for name in epoch["metrics"]})
            for name, colour in zip(names, (_OTHER, _MAIN, _SOFT), strict=False):
                label = name.replace("_", " ")
                right.plot(epochs, [epoch["metrics"].get(name) for epoch in history], color=colour, label=label)
            for axes in (left, right):
                axes.axvline(self._evaluation.best_epoch, color=_SOFT, linestyle=":", linewidth=1)
                axes.set_xlabel("epoch (dotted: the one that was kept)")
                axes.xaxis.get_major_locator().set_params(integer=True)
                axes.legend(fontsize=8)
            left.set_ylim(bottom=0)
            return save()

    def groups(self) -> str:
        """Balanced accuracy of each group with its interval; hollow: too few roots to say."""
        groups = [group for group in self._evaluation.groups if group.values["balanced_accuracy"] is not None]
        with _figure(8.4, 0.6 + 0.26 * len(groups)) as (figure, save):
            axes = figure.subplots()
            for row, group in enumerate(groups):
                value, bounds = group.values["balanced_accuracy"], group.intervals["balanced_accuracy"]
                if value is None:
                    continue
                if bounds is not None:
                    axes.plot(bounds, [row, row], color=_MAIN, linewidth=2, alpha=0.45, solid_capstyle="butt")
                face = _MAIN if group.enough else "white"
                axes.plot([value], [row], "o", color=_MAIN, markerfacecolor=face, markersize=6)
            names = [f"{group.kind.replace('_', ' ')} {group.name}  (n = {group.images})" for group in groups]
            axes.set_yticks(range(len(groups)), names)
            axes.set_ylim(len(groups) - 0.4, -0.6)
            axes.set_xlabel("balanced accuracy of all answers, 95% interval")
            return save()

    def robustness(self, found: Robustness) -> str:
        """Mean balanced accuracy by distortion and strength; dotted: undistorted."""
        with _figure(8.4, 3.1) as (figure, save):
            axes = figure.subplots()
            names = list(dict.fromkeys(cell.distortion for cell in found.cells if cell.distortion != UNCHANGED))
            for row, name in enumerate(names):
                for cell in (cell for cell in found.cells if cell.distortion == name):
                    place = row + 0.24 * (cell.strength - 2)
                    value, bounds = cell.values["balanced_accuracy"], cell.intervals["balanced_accuracy"]
                    if value is None:
                        continue
                    shade = (0.35, 0.65, 1.0)[cell.strength - 1]
                    axes.bar(place, value, 0.22, color=_MAIN, alpha=shade, edgecolor="none")
                    if bounds is not None:
                        axes.plot([place, place], bounds, color=_INK, linewidth=0.9)
            for cell in found.cells:
                if cell.distortion == UNCHANGED and cell.values["balanced_accuracy"] is not None:
                    axes.axhline(cell.values["balanced_accuracy"], color=_OTHER, linestyle=":", linewidth=1.3)
            axes.set_xticks(range(len(names)), names)
            axes.set_ylim(0.4, 1.0)
            axes.set_ylabel("balanced accuracy")
            axes.grid(visible=False, axis="x")
            return save()

    def _panels(self, draw: Any, *, height: float, key: Sequence[tuple[str, str]] = ()) -> str:
        """One panel for each condition that the test fold knows of."""
        found = [(name, each) for name, each in self._evaluation.conditions.items() if each.images]
        rows = -(-len(found) // _COLUMNS)
        with _figure(_COLUMNS * _PANEL, max(1, rows) * _PANEL * height) as (figure, save):
            grid = figure.subplots(max(1, rows), _COLUMNS, squeeze=False)
            for axes in grid.flat[len(found) :]:
                axes.set_axis_off()
            for axes, (name, each) in zip(grid.flat, found, strict=False):
                axes.set_title(name.value.replace("_", " "))
                draw(axes, self._answers[name.value], each)
            for row, (text, colour) in enumerate(key):
                grid.flat[-1].text(0.05, 0.8 - 0.14 * row, f"■ {text}", color=colour, fontsize=9)
            return save()


class _figure:
    """A figure of a size in inches, and what saves it as SVG; closed in the end, whatever comes of it."""

    def __init__(self, width: float, height: float) -> None:
        self._size = (width, height)

    def __enter__(self) -> tuple[Figure, Callable[[], str]]:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        self._style = mpl.rc_context(_STYLE)
        self._style.__enter__()
        figure = Figure(figsize=self._size, layout="constrained")
        FigureCanvasSVG(figure)

        def save() -> str:
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
            text = buffer.getvalue()
            return text[text.index("<svg") :]

        return figure, save

    def __exit__(self, *_: object) -> None:
        self._style.__exit__(None, None, None)


def _matrix(axes: Axes, counts: Sequence[Sequence[int]], rows: Sequence[str], columns: Sequence[str]) -> None:
    """Counts, shaded by their share of the row."""
    table = np.array(counts, dtype=np.float64)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="GnBu", vmin=0, vmax=1.25, aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        dark = "white" if shares[row, column] > 0.75 else _INK
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8.5, color=dark)
    axes.set_xticks(range(len(columns)), columns, rotation=30 if len(columns) > 2 else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel("answered")
    axes.grid(visible=False)
    axes.tick_params(length=0, labelsize=7.5)


def _curve(axes: Axes, curve: Curve | None, chosen: tuple[float | None, float | None]) -> None:
    if curve is not None:
        axes.plot(curve.x, curve.y, color=_MAIN, linewidth=1.6, drawstyle=curve.drawn)
    x, y = chosen
    if x is not None and y is not None:
        axes.plot([x], [y], "o", color=_OTHER, markersize=5, clip_on=False, zorder=3)


def _bins(axes: Axes, bins: Sequence[ReliabilityBin], colour: str, label: str, marker: str) -> None:
    sizes = [12 + 60 * (each.images / max(1, sum(other.images for other in bins))) for each in bins]
    x, y = [each.probability for each in bins], [each.share for each in bins]
    axes.scatter(x, y, s=sizes, color=colour, marker=marker, label=label, alpha=0.75, linewidths=0, zorder=3)


def _square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks([0, 0.5, 1])
    axes.set_yticks([0, 0.5, 1])
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _note(axes: Axes, name: str, value: float | None, bounds: tuple[float, float] | None, height: float) -> None:
    if value is None:
        return
    around = f" ({bounds[0]:.2f}–{bounds[1]:.2f})" if bounds is not None else ""
    axes.text(0.97, height, f"{name} {value:.3f}{around}", ha="right", va="bottom", fontsize=8)
