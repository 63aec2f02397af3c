"""What the report's charts draw. `templates/charts.html` draws it as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.console.text import percent
from services.demo.report.document import Epoch, Evaluation, Interval, Metrics


class Point(NamedTuple):
    """One measured share, with its interval, of the model `before` or `after` or of the `baseline`."""

    model: str
    value: float | None
    bounds: Interval | None = None


class Curve(NamedTuple):
    """A training's losses by epoch, as shares of the chart's width and height; y runs downwards.

    `train` and `validation` are an SVG polyline's points in a box of 100 by 100. `best` is the place of the lowest
    validation loss. `said` is the chart in a sentence.
    """

    train: str
    validation: str
    best: tuple[float, float]
    first_epoch: int
    last_epoch: int
    said: str


def points_of(models: dict[str, Evaluation], condition: str | None, metric: str) -> list[Point]:
    """A metric of each model for one condition; of None, the mean over all of them."""

    def point(name: str, metrics: Metrics | None) -> Point:
        if metrics is None:
            return Point(name, None)
        return Point(name, getattr(metrics, metric), metrics.intervals.get(metric))

    return [
        point(name, model.overall if condition is None else model.conditions.get(condition))
        for name, model in models.items()
    ]


def points_said(points: Sequence[Point]) -> str:
    """The points in words, for those who do not see the chart."""
    told = []
    for point in points:
        around = f" (interval {percent(point.bounds[0])} to {percent(point.bounds[1])})" if point.bounds else ""
        told.append(f"{point.model} {percent(point.value)}{around}")
    return ", ".join(told)


def highest_loss(trainings: Sequence[Sequence[Epoch]]) -> float:
    """The highest loss of all trainings, which their charts have as common scale."""
    losses = [loss for epochs in trainings for epoch in epochs for loss in (epoch.train_loss, epoch.validation_loss)]
    return max(losses, default=0.0) or 1.0


def curve(epochs: Sequence[Epoch], ceiling: float) -> Curve:
    """The curve of one training's losses (at least one epoch) on a scale from 0 to `ceiling`."""
    last = max(len(epochs) - 1, 1)
    train = [epoch.train_loss for epoch in epochs]
    validation = [epoch.validation_loss for epoch in epochs]
    best = validation.index(min(validation))

    def place(index: int, loss: float) -> tuple[float, float]:
        return index / last, 1 - min(loss, ceiling) / ceiling

    def line(losses: Sequence[float]) -> str:
        places = (place(index, loss) for index, loss in enumerate(losses))
        return " ".join(f"{100 * x:.2f},{100 * y:.2f}" for x, y in places)

    said = (
        f"Loss over {len(epochs)} epochs: training from {train[0]:.3f} to {train[-1]:.3f}, "
        f"validation from {validation[0]:.3f} to {validation[-1]:.3f}, lowest {validation[best]:.3f} "
        f"in epoch {epochs[best].epoch}."
    )
    return Curve(line(train), line(validation), place(best, validation[best]), epochs[0].epoch, epochs[-1].epoch, said)
