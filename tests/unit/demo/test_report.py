"""The report's page and the console's tables: complete, escaped, self-contained, and no bolder than the numbers."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console, RenderableType

from services.console.tables import balance_table, bar, plan_table, prediction_table
from services.console.text import count, duration, interval, overall_metrics, percent, severity_word, usd
from services.demo.report.document import Report
from services.demo.report.render import DRAWN, render
from services.demo.tables import comparison_table
from services.labeler_api.campaigns.plan import make_plan
from shared.documents.balance import Balance
from shared.documents.predictions import Prediction
from shared.taxonomy import Condition, Severity, split_over_severities
from tests.fakes.evenskin_server import prediction_document

JPEG = b"\xff\xd8\xff picture"
VOID = {"meta", "img", "br"}


def metrics(value: float | None, width: float = 0.1, **others: Any) -> dict[str, Any]:
    names = ("accuracy", "balanced_accuracy", "recall", "f1")
    bounds = None if value is None else [max(0.0, value - width), min(1.0, value + width)]
    return {**dict.fromkeys(names, value), "n": 90, "intervals": dict.fromkeys(names, bounds), **others}


def evaluation(value: float, width: float = 0.1, epochs: int = 3) -> dict[str, Any]:
    return {
        "version": f"v-{value}",
        "overall": metrics(value, width),
        "conditions": {c.value: metrics(value, positives=12) for c in Condition},
        "training": [
            {"epoch": n + 1, "train_loss": 1.0 / (n + 1), "validation_loss": 1.1 / (n + 1)} for n in range(epochs)
        ],
    }


def report(before: float = 0.6, after: float = 0.8, **changes: Any) -> dict[str, Any]:
    return {
        "plan": {
            "total": 134,
            "cost_usd": 4.02,
            "price_usd": 0.03,
            "quotas": [
                {"condition": "redness", "severity": s.label, "count": n} for s, n in split_over_severities(134).items()
            ],
        },
        "dataset": {"before": {"redness": 66, "acne": 122}, "after": {"redness": 200, "acne": 122}, "variants": 322},
        "models": {"before": evaluation(before), "after": evaluation(after), "baseline": evaluation(0.52, epochs=0)},
        "promotion": {"promoted": True, "version": "v-0.8", "reason": "Better on the same fold."},
        "prediction": {**prediction_document(), "truth": {"redness": "severe"}, "source": "A drawn face."},
        "seconds": {"import": 8.25, "train_before": 75.0},
        "peak_memory_mb": 1234.5,
        "versions": {"torch": "2.13.0"},
        "seed": 7,
        "date": "2026-01-02T03:04:05Z",
        **changes,
    }


class Page(HTMLParser):
    """The page, checked for balance while it is read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags, self._open = text, list[tuple[str, dict[str, str | None]]](), list[str]()
        self.words = ""
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words += data + " "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(document: dict[str, Any] | None = None, **options: Any) -> Page:
    return Page(render(report() if document is None else document, **options))


def test_the_page_has_every_section_and_number() -> None:
    shown = page(faces=[("redness", "mild", JPEG)], picture=JPEG)
    for words in (
        "The dataset",
        "What the pictures look like",
        "The models, before and after",
        "Training",
        "A served prediction",
        "Time and memory",
        "How to read this",
        "$4.02",
        "188 → 322",
        "60.0",
        "80.0",
        "70–90",
        "1 min 15 s",
        "1,234 MB",
        "torch 2.13.0",
        "seed 7",
        "2 January 2026",
        "Wilson",
    ):
        assert words in " ".join(shown.words.split()) or words in shown.text, words


def test_the_page_is_one_file_that_loads_nothing() -> None:
    shown = page(faces=[("acne", "severe", JPEG)], picture=JPEG)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in shown.tags}
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in shown.all("img"))
    assert not re.findall(r"(?:https?:)?//|url\(|@import", shown.text)


def test_tables_and_pictures_say_what_they_are() -> None:
    shown = page(faces=[("textured_skin", "mild", JPEG), ("clear", None, JPEG)], picture=JPEG)
    assert len(shown.all("caption")) == len(shown.all("table")) == 4
    assert all(cell["scope"] in ("col", "row", "rowgroup") for cell in shown.all("th"))
    alternatives = [image["alt"] for image in shown.all("img")]
    assert alternatives == ["face with textured skin, slight", "face without any condition", "A drawn face."]
    assert all(drawing.get("aria-label") or drawing.get("aria-hidden") for drawing in _outer_drawings(shown))
    (html,) = shown.all("html")
    assert html["lang"] == "en"


def _outer_drawings(shown: Page) -> list[dict[str, str | None]]:
    return [attributes for attributes in shown.all("svg") if "viewbox" not in attributes]


def test_drawn_faces_are_told_before_any_number() -> None:
    assert page().words.index(DRAWN) < page().words.index("Mean balanced accuracy")
    assert DRAWN not in page(drawn=False).words
    assert "10% of the full dataset" in page(report(scale=0.1)).words
    assert page(report(warnings=[DRAWN, "Mind the gap."])).words.count(DRAWN) == 1


def test_what_others_wrote_is_escaped() -> None:
    evil = "<script>alert('x')</script>\"&"
    document = report(warnings=[evil], versions={evil: evil}, seconds={evil: 1.0})
    document["promotion"]["reason"] = document["prediction"]["model_version"] = evil
    document["prediction"]["source"] = document["plan"]["provider"] = document["promotion"]["version"] = evil
    document["prediction"]["warnings"] = [evil]
    document["prediction"]["conditions"][0]["condition"] = evil
    document["models"]["baseline_text"] = document["models"]["interval_method"] = evil
    shown = page(document, title=evil, picture=JPEG, faces=[("acne", evil, JPEG)])
    assert "script" not in {tag for tag, _ in shown.tags}
    assert evil in shown.words
    assert all(re.fullmatch("[a-z0-9-]+", name) for _, attributes in shown.tags for name in attributes)


@pytest.mark.parametrize(
    ("before", "after", "width", "words"),
    [
        (0.6, 0.8, 0.05, "rose by 20.0 points, from 60.0% to 80.0%"),
        (0.6, 0.8, 0.05, "on the same 90 test pictures. The two 95% intervals do not overlap."),
        (0.6, 0.65, 0.05, "The two 95% intervals overlap: this run alone does not show"),
        (0.7, 0.6, 0.05, "fell by 10.0 points"),
        (0.7, 0.7, 0.05, "stayed the same"),
    ],
)
def test_the_verdict_follows_the_numbers(before: float, after: float, width: float, words: str) -> None:
    document = report()
    document["models"]["before"] = evaluation(before, width)
    document["models"]["after"] = evaluation(after, width)
    assert words in page(document).words


def test_a_model_that_was_not_promoted_is_told() -> None:
    shown = page(report(promotion={"promoted": False, "reason": "Worse."}))
    assert "was not promoted" in shown.words
    assert "is live" not in shown.words


def test_what_could_not_be_measured_is_a_dash() -> None:
    document = report()
    document["models"]["before"]["conditions"]["acne"] = metrics(None, positives=0)
    document["models"]["after"]["overall"] = metrics(None)
    shown = page(document)
    assert "could not be compared" in shown.words
    assert "acne, in percent: before –, after 80.0 (interval 70.0 to 90.0)" in shown.text


def test_a_run_that_stopped_early_still_has_a_page() -> None:
    document = report(prediction=None, promotion=None, seconds={}, peak_memory_mb=None, date=None, seed=None)
    document["models"] = {"before": evaluation(0.6, epochs=1), "after": None}
    document["plan"] = {"total": 0, "cost_usd": 0.0, "quotas": []}
    shown = page(document)
    assert "only one model" in shown.words
    assert "Time and memory" not in shown.words
    document["models"] = {"before": None, "after": None}
    assert page(document).words


def test_the_document_keeps_what_newer_runs_add_and_refuses_nonsense() -> None:
    assert Report.model_validate(report(novelty=1)).model_dump()["novelty"] == 1
    with pytest.raises(ValidationError):
        render({"plan": {}})


# Console


def shown(table: RenderableType, width: int = 100) -> str:
    written = io.StringIO()
    Console(file=written, width=width).print(table)
    return written.getvalue()


def test_models_are_compared_with_counts_and_intervals() -> None:
    models = Report.model_validate(report()).models
    lines = shown(comparison_table(models.before, models.after, baseline=models.baseline)).splitlines()
    acne = next(index for index, line in enumerate(lines) if line.strip().startswith("acne"))
    assert lines[acne].split() == ["acne", "before", "90", "12", *["60.0", "[50–70]"] * 4]
    assert lines[acne + 1].split() == ["after", "90", "12", *["80.0", "[70–90]"] * 4]
    assert lines[acne + 2].split()[0] == "baseline"
    assert any(line.split()[:2] == ["mean", "before"] for line in lines)
    assert max(map(len, lines)) <= 100


def test_one_model_alone_is_shown() -> None:
    models = Report.model_validate(report()).models
    assert "after" not in shown(comparison_table(models.before, None))


def test_the_balance_fits_a_small_terminal() -> None:
    conditions = {
        c.value: {
            "accepted": 0 if c is Condition.AGING else 100,
            "pending": 0,
            "rejected": 0,
            "severities": {**{s.label: 33 for s in Severity}, "unknown": 1},
        }
        for c in Condition
    }
    images = {"accepted": 600, "pending": 0, "rejected": 0}
    balance = {"conditions": conditions, "images": images, "variants": 600, "unaugmented": 0}
    text = shown(balance_table(Balance.model_validate(balance)), width=80)
    assert "…" not in text
    assert "ungraded" in text
    assert "█" * 12 in text
    assert "rejected" not in text.splitlines()[2]


def test_a_plan_of_nothing_is_said() -> None:
    plan = make_plan({Condition.ACNE: 3}, {Condition.ACNE: 5}, price_micro_usd=30_000, max_attempts=3)
    document = plan.document(provider="procedural", images_per_minute=50)
    assert "Nothing is missing" in shown(plan_table(document))


def test_markup_in_names_is_not_styled() -> None:
    prediction = Prediction.model_validate(prediction_document())
    assert "[red]me[/red].jpg" in shown(prediction_table(prediction, title="[red]me[/red].jpg"))


# Words and numbers


def test_numbers_read_well() -> None:
    assert [usd(amount) for amount in (0, 0.03, 15.6, 0.0125, 1234.5)] == [
        "$0.00",
        "$0.03",
        "$15.60",
        "$0.0125",
        "$1,234.50",
    ]
    assert [duration(s) for s in (0.04, 9.94, 59.6, 95, 3720)] == [
        "0.0 s",
        "9.9 s",
        "1 min 00 s",
        "1 min 35 s",
        "1 h 02 min",
    ]
    assert [percent(share) for share in (None, 0, 0.8344, 1)] == ["–", "0.0", "83.4", "100"]
    assert (interval((0.761, 0.894)), interval(None)) == ("76–89", "")
    assert (count(1, "image"), count(1174, "image"), count(2, "copy", "copies")) == (
        "1 image",
        "1,174 images",
        "2 copies",
    )
    assert (severity_word("textured_skin", "mild"), severity_word("acne", "mild")) == ("slight", "mild")
    assert (severity_word("acne", None), severity_word("clear", "x")) == ("–", "x")


def test_a_bar_shows_what_is_not_nothing() -> None:
    assert [bar(share, 4) for share in (0, 0.001, 0.5, 1, 7)] == ["", "▏", "██", "████", "████"]


def test_overall_metrics_are_found_in_any_layout() -> None:
    assert overall_metrics({"overall": {"f1": 1}}) == {"f1": 1}
    assert overall_metrics({"test": {"overall": {"f1": 2}}, "balanced_test": {"overall": {"f1": 3}}}) == {"f1": 3}
    assert overall_metrics({"history": []}) == {}
