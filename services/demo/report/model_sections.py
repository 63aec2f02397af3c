"""The report's sections about the models. The wording follows the numbers, and claims no more than they do."""

from __future__ import annotations

from collections.abc import Sequence

from services.console.text import METRIC_NAMES, NONE, condition_text, count, interval, percent
from services.demo.report.charts import Point, curves, whisker_panel
from services.demo.report.document import Evaluation, Metrics, Models, Promotion
from services.demo.report.markup import Markup, el
from services.demo.report.parts import conditions_of, key_of, section, table_of


def verdict(models: Models) -> str:
    """Whether the model became better, said no more strongly than the intervals allow."""
    if models.before is None or models.after is None:
        return "There is only one model: nothing to compare it with."
    old, new = models.before.overall, models.after.overall
    if old.balanced_accuracy is None or new.balanced_accuracy is None:
        return "The models could not be compared: a condition's presence or absence is missing from the test fold."
    points = 100 * (new.balanced_accuracy - old.balanced_accuracy)
    change = (
        "stayed the same" if abs(points) < 0.05 else f"{'rose' if points > 0 else 'fell'} by {abs(points):.1f} points"
    )
    said = (
        f"Mean balanced accuracy over the conditions {change}, from {percent(old.balanced_accuracy)}% to "
        f"{percent(new.balanced_accuracy)}%, on the same {count(new.n, 'test picture')}."
    )
    first, second = old.intervals.get("balanced_accuracy"), new.intervals.get("balanced_accuracy")
    if first is None or second is None:
        return said
    overlap = first[0] <= second[1] and second[0] <= first[1]
    return said + (
        " The two 95% intervals overlap: this run alone does not show that the difference is more than chance."
        if overlap
        else " The two 95% intervals do not overlap."
    )


def comparison(models: Models) -> Markup:
    """Both models and the baseline on the same test pictures, as charts and as a table."""
    present = [(name, model) for name in ("before", "after", "baseline") if (model := getattr(models, name))]
    conditions = conditions_of(model.conditions for _, model in present)
    panels = [
        whisker_panel(title, _points(present, conditions, metric), chance=metric == "balanced_accuracy")
        for metric, title in (("balanced_accuracy", "Balanced accuracy, %"), ("f1", "F1, %"))
    ]
    groups = [
        _metric_rows(condition_text(name), [(m, model.conditions.get(name)) for m, model in present])
        for name in conditions
    ]
    groups.append(_metric_rows("mean", [(m, model.overall) for m, model in present]))
    head = el(
        "tr",
        (el("th", text, scope="col", class_="text") for text in ("condition", "model")),
        (el("th", text, scope="col") for text in ("n", "shown", *METRIC_NAMES.values())),
    )
    caption = (
        "Percent on the test fold; in small figures the 95% interval. n: test pictures whose label for the condition "
        "is known; shown: those that show it."
    )
    baseline = f" Baseline: {models.baseline_text}." if models.baseline else ""
    return section(
        "The models, before and after",
        el("p", "Measured on the same test originals, which no model was trained on.", baseline),
        key_of([name for name, _ in present]),
        el("div", panels, class_="panels"),
        table_of(caption, head, groups),
    )


def _points(
    present: Sequence[tuple[str, Evaluation]], conditions: Sequence[str], metric: str
) -> list[tuple[str, list[Point]]]:
    def point(name: str, metrics: Metrics | None) -> Point:
        if metrics is None:
            return Point(name, None)
        return Point(name, getattr(metrics, metric), metrics.intervals.get(metric))

    rows = [(condition_text(c), [point(name, model.conditions.get(c)) for name, model in present]) for c in conditions]
    return [*rows, ("mean", [point(name, model.overall) for name, model in present])]


def _metric_rows(title: str, models: Sequence[tuple[str, Metrics | None]]) -> Markup:
    rows = []
    for index, (name, metrics) in enumerate(models):
        heading = el("th", title, scope="rowgroup", rowspan=len(models)) if index == 0 else None
        if metrics is None:
            cells: object = el("td", NONE, colspan=2 + len(METRIC_NAMES))
        else:
            cells = [
                el("td", f"{metrics.n:,}"),
                el("td", NONE if metrics.positives is None else f"{metrics.positives:,}"),
                (_metric_cell(getattr(metrics, metric), metrics.intervals.get(metric)) for metric in METRIC_NAMES),
            ]
        rows.append(el("tr", heading, el("td", name, class_="text"), cells, class_=name))
    return el("tbody", rows, class_="group")


def _metric_cell(value: float | None, bounds: tuple[float, float] | None) -> Markup:
    return el("td", percent(value), el("small", interval(bounds)) if bounds else None)


def promotion(decision: Promotion) -> Markup:
    """How the gate decided."""
    fate = "is live" if decision.promoted else "was not promoted: the model before stays live"
    which = f"The model after ({decision.version}) " if decision.version else "The model after "
    return el("p", el("strong", which, fate, "."), f" {decision.reason}" if decision.reason else None)


def training(models: Models) -> Markup | None:
    """Loss curves of both trainings on one scale."""
    runs = [
        (name, model.training) for name in ("before", "after") if (model := getattr(models, name)) and model.training
    ]
    if not runs:
        return None
    ceiling = max(loss for _, epochs in runs for epoch in epochs for loss in (epoch.train_loss, epoch.validation_loss))
    figures = [curves(f"Model {name}", epochs, ceiling=ceiling, colour=name) for name, epochs in runs]
    note = (
        "Solid: loss on the validation fold; dashed: on the training pictures, as they were seen with their "
        "distortions. The dot marks the lowest validation loss."
    )
    return section("Training", el("p", note), el("div", figures, class_="panels"))
