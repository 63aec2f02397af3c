"""The report's sentences that follow from its numbers, and claim no more than they do."""

from __future__ import annotations

from services.console.text import count, duration, percent, usd
from services.demo.report.document import Models, Plan, Report


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


def terms(plan: Plan) -> str:
    """What the plan was going to generate, from whom, at what price and pace."""
    parts = [
        f"{count(plan.total, 'image')} for {usd(plan.cost_usd)}",
        f"at {usd(plan.price_usd)} each" if plan.price_usd is not None else "",
        f"from {plan.provider}" if plan.provider else "",
        f"in about {duration(plan.duration_s)} at the set pace" if plan.duration_s is not None else "",
    ]
    return ", ".join(filter(None, parts))


def when(report: Report) -> str:
    """The run's date and seed, as far as they are known."""
    parts = [
        f"{report.date:%d %B %Y, %H:%M}".lstrip("0") if report.date else "",
        f"seed {report.seed}" if report.seed is not None else "",
        "every number below was measured in this run",
    ]
    return capitalised("; ".join(filter(None, parts))) + "."


def versions(report: Report) -> str:
    """The models' and packages' versions."""
    models = {name: model.version for name in ("before", "after") if (model := getattr(report.models, name))}
    named = [f"model {name} {version}" for name, version in models.items() if version]
    named += [f"{name} {version}" for name, version in report.versions.items()]
    return "Made by evenskin. " + (", ".join(named) + "." if named else "")


def capitalised(words: str) -> str:
    """The words with a capital first letter; the others stay as they are."""
    return words[0].upper() + words[1:]
