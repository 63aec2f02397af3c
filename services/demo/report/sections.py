"""The report's sections, each from its part of the document to markup. The wording follows the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.console.text import NONE, condition_text, count, duration, percent, severity_word, usd
from services.demo.report.charts import bars
from services.demo.report.document import Models, Prediction, Promotion, Report
from services.demo.report.markup import Markup, el, join
from services.demo.report.model_sections import verdict
from services.demo.report.parts import conditions_of, data_uri, key_of, section, table_of
from shared.taxonomy import Severity

Face = tuple[str, str | None, bytes]
"""Condition (or "clear"), severity, and a picture's bytes."""


def summary(report: Report) -> Markup:
    """What was measured, in a sentence and a few figures."""
    before, after = sum_of(report, "before"), sum_of(report, "after")
    pictures = (report.dataset.originals or after) + report.dataset.variants
    tiles = [
        ("originals", f"{before:,} → {after:,}", f"{count(pictures, 'picture')} with variants"),
        ("generated", f"{report.plan.total:,}", f"planned at {usd(report.plan.cost_usd)}"),
        *_score_tile(report.models),
        *_promotion_tile(report.promotion),
        ("time", duration(sum(report.seconds.values())), _memory(report)),
    ]
    listed = el("dl", (_tile(*tile) for tile in tiles), class_="tiles")
    return join((el("p", verdict(report.models), class_="lead"), listed))


def sum_of(report: Report, side: str) -> int:
    """Labels of all conditions; an image counts for every condition it shows."""
    return sum(getattr(report.dataset, side).values())


def warnings(texts: Iterable[str]) -> Markup:
    """What the reader must know before any number."""
    return el("div", (el("p", text) for text in texts), class_="warning", role="note")


def dataset(report: Report) -> Markup:
    """Originals per condition before and after, and what was generated."""
    sides = report.dataset
    conditions = conditions_of((sides.before, sides.after))
    longest = max([*sides.before.values(), *sides.after.values(), 1])
    made = {(quota.condition, quota.severity): quota.count for quota in report.plan.quotas}
    rows = [
        el(
            "tr",
            el("th", condition_text(name), scope="row"),
            el("td", bars([(s, getattr(sides, s).get(name, 0) / longest) for s in ("before", "after")]), class_="wide"),
            el("td", f"{sides.before.get(name, 0):,}"),
            el("td", f"{sides.after.get(name, 0):,}"),
            (el("td", f"{made[name, s.label]:,}" if (name, s.label) in made else NONE) for s in Severity),
        )
        for name in conditions
    ]
    totals = [sum(number for (_, severity), number in made.items() if severity == s.label) for s in Severity]
    head = el(
        "tr",
        el("th", "condition", scope="col", class_="text"),
        el("th", el("span", "originals", class_="text"), scope="col", class_="text"),
        (el("th", text, scope="col") for text in ("before", "after", *(f"+ {s.label}" for s in Severity))),
    )
    foot = el(
        "tr",
        el("th", "all", scope="row"),
        (el("td", text) for text in ("", f"{sum_of(report, 'before'):,}", f"{sum_of(report, 'after'):,}")),
        (el("td", f"{number:,}") for number in totals),
    )
    caption = "Originals that show each condition, and how many of each severity the rebalance planned to generate."
    plan = report.plan
    terms = [
        f"{count(plan.total, 'image')} for {usd(plan.cost_usd)}",
        f"at {usd(plan.price_usd)} each" if plan.price_usd is not None else "",
        f"from {plan.provider}" if plan.provider else "",
        f"in about {duration(plan.duration_s)} at the set pace" if plan.duration_s is not None else "",
    ]
    return section(
        "The dataset",
        el("p", "The plan, shown before anything was generated: ", ", ".join(filter(None, terms)), "."),
        key_of(("before", "after")),
        table_of(caption, head, rows, foot),
        el(
            "p",
            f"Accepted originals are mirrored: {count(sides.variants, 'variant')} in all. Variants are trained on only "
            "where their source is in the train fold; validation and test see originals.",
            class_="soft",
        ),
    )


def faces(pictures: Sequence[Face]) -> Markup:
    """A few originals per condition and severity."""
    cards = []
    for name in (
        *conditions_of([{name: 0 for name, _, _ in pictures}]),
        *({"clear"} & {name for name, _, _ in pictures}),
    ):
        shown = [(severity, data) for condition, severity, data in pictures if condition == name]
        items = [_face(name, severity, data) for severity, data in _in_rows(shown)]
        title = "clear skin" if name == "clear" else condition_text(name)
        cards.append(el("div", el("h3", title), el("ul", items, class_="faces"), class_="card"))
    note = "Originals of the dataset, the condition and its severity as labelled. Mild is meant to be hard to see."
    return section("What the pictures look like", el("p", note), el("div", cards, class_="cards"))


def _in_rows(pictures: list[tuple[str | None, bytes]]) -> list[tuple[str | None, bytes]]:
    """Mild, moderate, severe beside each other: the first of each, then the second of each."""
    seen: dict[str | None, int] = {}
    placed = []
    for severity, data in pictures:
        seen[severity] = seen.get(severity, 0) + 1
        placed.append((seen[severity], _rank(severity), severity, data))
    return [(severity, data) for _, _, severity, data in sorted(placed, key=lambda place: place[:2])]


def _face(condition: str, severity: str | None, data: bytes) -> Markup:
    word = severity_word(condition, severity) if severity else ""
    alt = "face without any condition" if condition == "clear" else f"face with {condition_text(condition)}, {word}"
    image = el("img", src=data_uri(data), alt=alt, loading="lazy")
    return el("li", el("figure", image, el("figcaption", word) if word else None))


def prediction(answer: Prediction, picture: bytes | None) -> Markup:
    """One request to the running model-server, with its answer."""
    truth = answer.truth
    head = el(
        "tr",
        el("th", "condition", scope="col", class_="text"),
        el("th", "probability", scope="col", class_="text"),
        (el("th", text, scope="col") for text in ("%", "answer", *(["label"] if truth is not None else []))),
    )
    rows = [
        el(
            "tr",
            el("th", condition_text(entry.condition), scope="row"),
            el("td", bars([("after" if entry.present else "before", entry.probability)]), class_="wide"),
            el("td", percent(entry.probability)),
            el("td", severity_word(entry.condition, entry.severity) if entry.present else "absent", class_="yes")
            if entry.present
            else el("td", "absent"),
            None if truth is None else el("td", _label(entry.condition, truth)),
        )
        for entry in answer.conditions
    ]
    caption = f"Answer of model {answer.model_version} to POST /v1/predictions."
    image = el("figure", el("img", src=data_uri(picture), alt="the picture that was sent")) if picture else None
    if image is not None and answer.source:
        image = el(
            "figure", el("img", src=data_uri(picture or b""), alt=answer.source), el("figcaption", answer.source)
        )
    block = el("div", image, table_of(caption, head, rows), class_="answer" if image else "answer alone")
    return section(
        "A served prediction",
        el("p", "One picture was posted to the running model-server; it is neither stored nor logged there."),
        block,
        warnings(answer.warnings) if answer.warnings else None,
    )


def _label(condition: str, truth: dict[str, str | None]) -> str:
    if condition not in truth:
        return "absent"
    return severity_word(condition, truth[condition]) if truth[condition] else "present"


def seconds(report: Report) -> Markup | None:
    """Where the time went."""
    if not report.seconds:
        return None
    longest = max(report.seconds.values()) or 1.0
    rows = [
        el(
            "tr",
            el("th", stage.replace("_", " "), scope="row"),
            el("td", bars([("after", value / longest)]), class_="wide"),
            el("td", duration(value)),
        )
        for stage, value in report.seconds.items()
    ]
    foot = el("tr", el("th", "all", scope="row"), el("td"), el("td", duration(sum(report.seconds.values()))))
    head = el("tr", el("th", "stage", scope="col", class_="text"), el("td"), el("th", "time", scope="col"))
    memory = f"Peak memory: {report.peak_memory_mb:,.0f} MB." if report.peak_memory_mb else None
    return section(
        "Time and memory", table_of("Seconds of each stage, by the wall.", head, rows, foot), el("p", memory)
    )


def reading(models: Models) -> Markup:
    """What the words of the tables mean."""
    terms = [
        ("present", "a condition counts as found where its probability reaches its threshold, chosen on the validation "
         "fold"),
        ("accuracy", "share of test pictures whose presence or absence of the condition was answered right"),
        ("balanced accuracy", "mean of the share found among those that show it and the share cleared among those that "
         "do not; guessing gives 50%, however rare the condition is"),
        ("recall", "share found among the pictures that show the condition"),
        ("F1", "2 TP / (2 TP + FP + FN): the harmonic mean of recall and precision"),
        ("mean", "the plain mean over the conditions, each counting alike"),
        ("95% interval", f"{models.interval_method}. It covers the choice of test pictures only, not the chance in "
         "training"),
        ("test fold", "about 15% of all originals, fixed by a hash for ever; never trained on, never mirrored"),
    ]  # fmt: skip
    listed = [(el("dt", term), el("dd", f"{meaning[0].upper()}{meaning[1:]}.")) for term, meaning in terms]
    return section("How to read this", el("dl", listed, class_="terms"))


def _rank(severity: str | None) -> int:
    labels = [s.label for s in Severity]
    return labels.index(severity) if severity in labels else len(labels)


def _tile(title: str, value: str, note: str) -> Markup:
    return el("div", el("dt", title), el("dd", value, el("small", note) if note else None), class_="tile")


def _score_tile(models: Models) -> list[tuple[str, str, str]]:
    if models.before is None or models.after is None:
        return []
    old, new = (percent(model.overall.balanced_accuracy) for model in (models.before, models.after))
    note = ""
    if models.baseline is not None:
        note = f"colour-histogram baseline: {percent(models.baseline.overall.balanced_accuracy)}%"
    return [("balanced accuracy", f"{old}% → {new}%", note)]


def _promotion_tile(decision: Promotion | None) -> list[tuple[str, str, str]]:
    if decision is None:
        return []
    return [("promotion gate", "promoted" if decision.promoted else "not promoted", decision.version or "")]


def _memory(report: Report) -> str:
    return f"peak memory {report.peak_memory_mb:,.0f} MB" if report.peak_memory_mb else ""
