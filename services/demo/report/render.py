"""The report as one HTML file: no script, nothing loaded from anywhere, readable on paper and on a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.demo.report import model_sections, sections
from services.demo.report.document import Report
from services.demo.report.markup import Markup, el
from services.demo.report.sections import Face
from services.demo.report.style import CSS

DRAWN = (
    "The faces in this run are drawn by a program, as stand-ins for trying the loop without photographs, keys or cost. "
    "The numbers say how well a model recognises drawings. They say nothing about people, and a model trained on "
    "drawings is not for people."
)
"""Shown first where the pictures were drawn, whatever the numbers are."""


def render(
    report: Report | Mapping[str, Any],
    *,
    faces: Sequence[Face] = (),
    picture: bytes | None = None,
    title: str = "One run of the whole loop",
    drawn: bool = True,
) -> str:
    """The page. `faces`: samples by condition and severity; `picture`: what the prediction was asked about.

    `drawn`: whether the pictures are drawings, which is then said before any number.
    """
    document = report if isinstance(report, Report) else Report.model_validate(report)
    notes = ([DRAWN] if drawn else []) + [text for text in document.warnings if text != DRAWN]
    if document.scale != 1:
        notes.append(f"This run used {document.scale:.0%} of the full dataset: intervals are wider than a full run's.")
    body = (
        el("header", el("h1", f"evenskin: {title[0].lower()}{title[1:]}"), el("p", _when(document), class_="soft")),
        el(
            "main",
            sections.warnings(notes) if notes else None,
            sections.summary(document),
            sections.dataset(document),
            sections.faces(faces) if faces else None,
            model_sections.comparison(document.models),
            model_sections.promotion(document.promotion) if document.promotion else None,
            model_sections.training(document.models),
            sections.prediction(document.prediction, picture) if document.prediction else None,
            sections.seconds(document),
            sections.reading(document.models),
        ),
        el("footer", el("p", _versions(document))),
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name_="color-scheme", content="light dark"),
        el("title", f"evenskin report: {title}"),
        el("style", Markup(CSS)),
    )
    return f"<!doctype html>\n{el('html', head, el('body', body), lang='en')}\n"


def _when(report: Report) -> str:
    parts = [
        f"{report.date:%d %B %Y, %H:%M}".lstrip("0") if report.date else "",
        f"seed {report.seed}" if report.seed is not None else "",
        "every number below was measured in this run",
    ]
    text = "; ".join(filter(None, parts))
    return text[0].upper() + text[1:] + "."


def _versions(report: Report) -> str:
    models = {name: model.version for name in ("before", "after") if (model := getattr(report.models, name))}
    named = [f"model {name} {version}" for name, version in models.items() if version]
    named += [f"{name} {version}" for name, version in report.versions.items()]
    return "Made by evenskin. " + (", ".join(named) + "." if named else "")
