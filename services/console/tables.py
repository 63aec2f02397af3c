"""Tables for the console: plan, balance, models compared, prediction. They return renderables, and print nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from services.console.model_comparison import Comparison, Pair
from services.console.text import (
    METRIC_NAMES,
    NONE,
    condition_text,
    count,
    duration,
    interval,
    overall_metrics,
    percent,
    severity_word,
    usd,
)
from shared.documents.agreement import AgreementDocument
from shared.documents.balance import Balance
from shared.documents.dead_letters import DeadLetterDocument
from shared.documents.models import Models
from shared.documents.predictions import Prediction
from shared.documents.rebalances import Campaign, PlanDocument
from shared.taxonomy import CLEAR, MONK_TONES, Severity

BAR = 12  # cells of the longest bar
CURVE = 40  # cells of a curve at most: the last epochs


@dataclass(frozen=True)
class Look:
    """A campaign at one moment. `per_minute`: images that come in, None where that is not known yet."""

    campaign: Campaign
    per_minute: float | None
    dead_letters: int

    @property
    def remaining_s(self) -> float | None:
        """Seconds until its images are there at this pace; None where there is none."""
        return 60 * self.campaign.slots.open / self.per_minute if self.per_minute else None

    def document(self) -> dict[str, object]:
        """As scripts read it."""
        return {
            "campaign": self.campaign.json_object(),
            "images_per_minute": self.per_minute,
            "remaining_s": self.remaining_s,
            "dead_letters": self.dead_letters,
        }


def plan_table(plan: PlanDocument) -> RenderableType:
    """What a rebalance would generate, per condition and severity, with its cost and duration."""
    if plan.total == 0:
        return Text("Nothing is missing: nothing is generated, and a rebalance trains on what there is.")
    table = numbers_table("What is missing", "condition", "target", "missing", *(s.label for s in Severity), "cost")
    by_condition: dict[str, dict[str | None, int]] = {}  # severities by name; None: of clear skin
    for quota in plan.quotas:
        by_condition.setdefault(quota.condition, {})[quota.severity] = quota.count
    for condition, target in plan.targets.items():
        parts = by_condition.get(condition, {})
        missing = sum(parts.values())
        table.add_row(
            condition_text(condition),
            f"{target:,}",
            *(f"{number:,}" for number in (missing, *(parts.get(severity.label, 0) for severity in Severity))),
            usd(missing * plan.price_usd),
            style="" if missing else "dim",
        )
    table.columns[0].footer, table.columns[2].footer = "total", f"{plan.total:,}"
    table.columns[-1].footer = usd(plan.cost_usd)
    table.show_footer = True
    attempts = count(plan.max_attempts, "attempt")
    summary = (
        f"{count(plan.total, 'image')} from {plan.provider}: {usd(plan.cost_usd)} at "
        f"{usd(plan.price_usd)} each, at most {usd(plan.worst_cost_usd)} with {attempts} each; "
        f"about {duration(plan.duration_s)} at {plan.images_per_minute:g} a minute."
    )
    warnings = [Text(f"Note: {warning.message}", style="yellow") for warning in plan.warnings]
    return Group(table, Text(summary), *warnings, *([_tones_table(plan)] if plan.tones else []))


def _tones_table(plan: PlanDocument) -> Table:
    """The missing images by skin tone, below what is there."""
    table = numbers_table("Skin tones (Monk scale)", "condition", "", *map(str, MONK_TONES))
    table.columns[1].justify = "left"
    for tones in plan.tones:
        table.add_row(condition_text(tones.condition), "there", *_counts(tones.there), style="dim")
        for severity, counts in tones.missing.items():
            table.add_row("", f"+ {severity}", *_counts(counts))
    return table


def _counts(numbers: Sequence[int]) -> list[str]:
    return [f"{number:,}" if number else NONE for number in numbers]


def balance_table(balance: Balance) -> RenderableType:
    """The dataset per condition, with bars that make an imbalance visible."""
    # Columns that are zero throughout only take the width of a small terminal.
    rare = [
        (title, numbers)
        for title, numbers in (
            ("ungraded", {c: entry.severities.unknown for c, entry in balance.conditions.items()}),
            ("pending", {c: entry.pending for c, entry in balance.conditions.items()}),
            ("rejected", {c: entry.rejected for c, entry in balance.conditions.items()}),
        )
        if any(numbers.values())
    ]
    table = numbers_table(
        "Dataset", "condition", "images", "", *(s.label for s in Severity), *(title for title, _ in rare)
    )
    table.columns[2].justify = "left"
    table.columns[2].min_width = BAR
    longest = max((entry.accepted for entry in balance.conditions.values()), default=0) or 1
    for condition, entry in balance.conditions.items():
        table.add_row(
            condition_text(condition),
            f"{entry.accepted:,}",
            Text(bar(entry.accepted / longest), style="cyan"),
            *(f"{getattr(entry.severities, severity.label):,}" for severity in Severity),
            *(f"{numbers[condition]:,}" for _, numbers in rare),
        )
    if balance.clear is not None:
        skipped = [NONE] * len(Severity)
        others = (f"{getattr(balance.clear, title, 0):,}" for title, _ in rare)
        table.add_row(CLEAR, f"{balance.clear.accepted:,}", "", *skipped, *others, style="dim")
    images = balance.images
    summary = (
        f"{count(images.accepted, 'accepted image')}, {count(balance.variants, 'variant')}"
        f" ({balance.unaugmented:,} still without), {images.pending:,} pending, {images.rejected:,} rejected."
        " An image counts for every condition it shows."
    )
    return Group(table, Text(summary))


def campaigns_table(campaigns: Sequence[Campaign], live: str | None) -> RenderableType:
    """Rebalances, the newest first, and below them why they stand so: a cause may be a provider's long sentence.

    `live`: the version of the one model that is served.
    """
    table = numbers_table("Rebalances", "id", "state", "images", "failed", "spent", "model")
    for column in (0, 1, 5):
        table.columns[column].justify = "left"
    for campaign in campaigns:
        slots, model = campaign.slots, campaign.model
        table.add_row(
            campaign.id[:8],
            campaign.state,
            f"{slots.counted:,}/{slots.total:,}",
            f"{slots.failed:,}",
            usd(campaign.spent_usd),
            NONE if model is None else escape(model.version) + (" (live)" if model.version == live else ""),
        )
    causes = [f"{each.id[:8]} {each.state}: {each.reason}" for each in campaigns if each.reason]
    return Group(table, *map(Text, causes))


def campaign_view(look: Look) -> RenderableType:
    """A campaign while it runs: its quotas, pace and cost, the training's curve, the model, what was given up."""
    campaign = look.campaign
    table = numbers_table(f"Rebalance {campaign.id[:8]}", "condition", "", "counted", "of", "failed")
    table.columns[1].justify = "left"
    table.columns[1].min_width = BAR
    for condition, (wanted, counted, failed) in quota_sums(campaign).items():
        share = Text(bar(counted / wanted if wanted else 1.0), style="green" if counted == wanted else "cyan")
        table.add_row(condition_text(condition), share, f"{counted:,}", f"{wanted:,}", f"{failed:,}" if failed else "")
    parts: list[RenderableType] = [table, Text(look_line(look))]
    training = campaign.training
    if training is not None:
        history = training.history or ()
        for name, losses, last in (
            ("train", [epoch.train_loss for epoch in history], training.train_loss),
            ("validation", [epoch.validation_loss for epoch in history], training.validation_loss),
        ):
            parts.append(Text(f"{name + ' loss':<16} {curve(losses)} {last:.3f}", style="cyan"))
    if look.dead_letters:
        parts.append(Text(f"{count(look.dead_letters, 'dead letter')}: see `evenskin dead list`.", style="bold red"))
    return Group(*parts)


def look_line(look: Look) -> str:
    """The same in one line."""
    campaign, training, model = look.campaign, look.campaign.training, look.campaign.model
    slots = campaign.slots
    parts = [f"{slots.counted:,} of {count(slots.total, 'image')}"]
    if slots.failed:
        parts.append(f"{slots.failed:,} failed")
    if slots.open and look.per_minute is not None:
        parts.append(f"{look.per_minute:.1f} a minute")
        if look.remaining_s is not None:
            parts.append(f"about {duration(look.remaining_s)} left")
    parts.append(f"{usd(campaign.spent_usd)} spent")
    if campaign.state in ("paused", "cancelled", "exhausted", "rejected") and campaign.reason is not None:
        parts.append(campaign.reason)
    if model is not None:
        parts.append(f"model {model.version} " + ("is live" if model.promoted else "was not promoted"))
    elif campaign.state == "met" and campaign.reason is not None:
        parts.append(campaign.reason)
    elif training is not None:
        parts.append(f"training: epoch {training.epoch} of {training.epochs}")
    elif campaign.state == "met":
        parts.append("training starts")
    if look.dead_letters:
        parts.append(count(look.dead_letters, "dead letter"))
    return f"{campaign.state}: {', '.join(parts)}"


def quota_sums(campaign: Campaign) -> dict[str, tuple[int, int, int]]:
    """Images asked for, counted and failed, by condition over its severities."""
    sums: dict[str, tuple[int, int, int]] = {}
    for quota in campaign.quotas:
        wanted, counted, failed = sums.get(quota.condition, (0, 0, 0))
        sums[quota.condition] = (wanted + quota.count, counted + quota.counted, failed + quota.failed)
    return sums


def curve(values: Sequence[float]) -> str:
    """The last values as blocks, from the least of them to the greatest."""
    shown = values[-CURVE:]
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    return "".join("▁▂▃▄▅▆▇█"[round(7 * (value - low) / (high - low)) if high > low else 0] for value in shown)


def models_table(models: Models) -> RenderableType:
    """Model versions, and which one is live."""
    table = numbers_table("Models", "version", "made", "live", *(f"{name} %" for name in METRIC_NAMES.values()))
    table.columns[1].justify = table.columns[2].justify = "left"
    for model in models.models:
        overall = overall_metrics(model.metrics)
        table.add_row(
            escape(model.version),
            f"{model.created_at:%Y-%m-%d %H:%M}",
            "live" if model.live else "" if model.stored else "removed",
            *(percent(_number(overall.get(name))) for name in METRIC_NAMES),
            style="bold" if model.live else "",
        )
    return table


def comparison_table(comparison: Comparison) -> RenderableType:
    """Two versions' metrics, overall and by condition, and how far the second one is from the first, in points."""
    table = numbers_table("Two models, in %", "", comparison.first, comparison.second, "difference")
    for name, pair in comparison.overall.items():
        table.add_row(name.replace("_", " "), *_pair(pair))
    for condition, pairs in comparison.conditions.items():
        if (found := pairs.get("balanced_accuracy")) is not None:
            table.add_row(f"{condition_text(condition)}, balanced accuracy", *_pair(found))
    notes = []
    if (paired := comparison.paired) is not None and paired.difference is not None:
        bounds = "" if paired.lower is None else f", 90% interval {_points(paired.lower)} to {_points(paired.upper)}"
        notes.append(f"Balanced accuracy, picture by picture: {_points(paired.difference)} points{bounds}.")
    if not comparison.same_pictures:
        notes.append("They were measured on different test pictures: the difference may be that of the pictures.")
    elif comparison.paired is None:
        notes.append("The gate never compared the two; both are measured on the test pictures of one dataset.")
    return Group(table, *(Text(note) for note in notes))


def _pair(pair: Pair) -> tuple[str, str, str]:
    def cell(value: float | None, bounds: tuple[float, float] | None) -> str:
        return percent(value) + (f" [{interval(bounds)}]" if bounds is not None else "")

    first, second = cell(pair.first, pair.first_interval), cell(pair.second, pair.second_interval)
    return escape(first), escape(second), _points(pair.difference)


def _points(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:+.1f}"


def dead_letters_table(letters: Iterable[DeadLetterDocument]) -> RenderableType:
    """What was given up, with its error."""
    table = numbers_table("Dead letters", "queue", "died", "tries", "error")
    for column in (1, 3):
        table.columns[column].justify = "left"
    for letter in letters:
        died = f"{letter.died_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(escape(letter.queue), died, str(letter.tries), escape(letter.error))
    return table


def agreement_table(agreement: AgreementDocument) -> RenderableType:
    """How far reviewers agree, of all and of every two: kappa, and beside it on how many images."""
    columns = {"everybody": agreement} | {" and ".join(pair.reviewers): pair for pair in agreement.pairs}
    titles = [title for reviewers in columns for title in (reviewers, "images")]
    table = numbers_table("How far reviewers agree (kappa)", "on", *map(escape, titles))
    rows = {"whether it is good": [found.verdicts for found in columns.values()]}
    rows |= {condition_text(c): [found.conditions[c] for found in columns.values()] for c in agreement.conditions}
    for name, row in rows.items():
        cells = [(NONE if one.kappa is None else f"{one.kappa:.2f}", f"{one.images:,}") for one in row]
        table.add_row(name, *chain.from_iterable(cells), style="" if row[0].images else "dim")
    needed = f"{count(agreement.reviews_per_image, 'verdict')} an image (EVENSKIN_REVIEWS_PER_IMAGE)"
    waiting = f"{count(agreement.pending, 'image')} to review, {agreement.disputed:,} of them disputed"
    return Group(table, Text(f"{needed}; {waiting}."))


def prediction_table(prediction: Prediction, *, title: str) -> RenderableType:
    """One answer of the model-server."""
    table = numbers_table(title, "condition", "present", "probability", "", "severity", *(s.label for s in Severity))
    for column in (1, 3, 4):
        table.columns[column].justify = "left"
    for entry in prediction.conditions:
        present, probabilities = entry.present, entry.severity_probabilities
        table.add_row(
            condition_text(entry.condition),
            "yes" if present else "no",
            f"{percent(entry.probability)} %",
            Text(bar(entry.probability), style="cyan" if present else "dim"),
            severity_word(entry.condition, entry.severity) if present else NONE,
            *(percent(getattr(probabilities, severity.label)) for severity in Severity),
            style="" if present else "dim",
        )
    notes = [Text(f"Model {prediction.model_version}. {prediction.notice}", style="dim")]
    return Group(table, *notes, *(Text(f"! {warning}", style="yellow") for warning in prediction.warnings))


def bar(share: float, cells: int = BAR) -> str:
    """A bar in eighths of a cell; something that is not zero is never invisible."""
    eighths = round(min(max(share, 0.0), 1.0) * cells * 8)
    if share > 0:
        eighths = max(eighths, 1)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[rest].strip()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def numbers_table(title: str, first: str, *others: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table
