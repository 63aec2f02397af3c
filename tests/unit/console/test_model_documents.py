"""The model card and the datasheet that people read: whole, and every figure that of `card.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from services.console.model_documents import datasheet, model_card
from shared.dataset_summary import IMPORTED
from shared.model_card import ModelCard
from tests.fakes.model_cards import card

NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]*\w)")
SAID = {"2019", "2021", "95", "1"}  # years of the two papers, the intervals' share, and 1 − P(absent)
EVALUATION: dict[str, Any] = {
    "groups": [
        {
            "kind": "tone_band",
            "name": name,
            "images": images,
            "roots": images - 3,
            "values": {"balanced_accuracy": share, "recall": share - 0.0123, "false_positive_rate": 0.0871},
            "intervals": {"balanced_accuracy": [share - 0.0456, share + 0.0345], "recall": None},
        }
        for name, images, share in (("light", 61, 0.8123), ("dark", 47, 0.6789))
    ],
    "gaps": [{"kind": "tone_band", "best": "light", "worst": "dark", "gap": 0.1334, "alarm": True}],
}
CARD_PARTS = (
    "Model details",
    "Intended use",
    "Factors",
    "Evaluation and training data",
    "Metrics and quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
    "Provenance and licences",
)
SHEET_PARTS = (
    "Motivation",
    "Composition",
    "Collection",
    "Preprocessing, cleaning, labelling",
    "Uses",
    "Distribution",
    "Maintenance",
)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from leaves(each)
    elif isinstance(value, list):
        yield len(value)
        for each in value:
            yield from leaves(each)
    else:
        yield value


def written(value: Any) -> set[str]:
    """The ways in which a document may write a value of the JSON."""
    if isinstance(value, str):
        return {value, *NUMBER.findall(value), *re.findall(r"\d+", value)}
    if isinstance(value, int | float) and not isinstance(value, bool):
        forms = {f"{value:.4f}", f"{value:.1e}", f"{value:.0e}", f"{100 * value:.1f}"}
        return forms | ({f"{value:.0f}"} if value == round(value) else set()) | ({"100"} if value == 1 else set())
    return set()


def unknown_numbers(text: str, of: ModelCard, evaluation: Any = None) -> set[str]:
    known = set(SAID)
    for value in leaves(json.loads(of.model_dump_json())):
        known |= written(value)
    for value in leaves(evaluation):
        known |= written(value)
    assert of.dataset is not None
    made = [sum(n for name, n in fold.providers.items() if name != IMPORTED) for fold in of.dataset.folds.values()]
    return set(NUMBER.findall(text)) - known - {str(number) for number in made}


def test_every_number_is_the_jsons() -> None:
    found = card()
    text = model_card(found, EVALUATION)
    assert len(NUMBER.findall(text)) > 150
    assert unknown_numbers(text, found, EVALUATION) == set()
    sheet = datasheet(found)
    assert len(NUMBER.findall(sheet)) > 100
    assert unknown_numbers(sheet, found) == set()


def test_a_number_that_is_not_the_jsons_would_be_seen() -> None:
    found = card()
    assert unknown_numbers(model_card(found).replace("187", "188"), found) == {"188"}


def test_the_documents_have_the_parts_that_their_sources_ask_for() -> None:
    found = card()
    assert re.findall(r"^## (.+)$", model_card(found), re.MULTILINE) == list(CARD_PARTS)
    assert re.findall(r"^## (.+)$", datasheet(found), re.MULTILINE) == list(SHEET_PARTS)
    for text in (model_card(found), datasheet(found)):
        assert "Not a medical device" in text
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            assert len({line.count(" | ") for line in table.splitlines()}) == 1, table


def test_what_is_known_of_a_model_is_told() -> None:
    found = card()
    text = model_card(found)
    assert found.metadata.backbone is not None
    assert found.metadata.detector is not None
    for said in (
        found.metadata.warnings[0],
        "No model was live.",
        f"| {found.metadata.backbone.licence} |",
        f"| {found.metadata.detector.licence} |",
        found.sha256,
        "13 of 63 originals of all folds were generated or drawn.",
        "1 of the manifest's images",
        "None was measured apart.",
    ):
        assert said in text, said


def test_subgroups_are_told_where_they_were_measured() -> None:
    text = model_card(card(), EVALUATION)
    assert "| tone band | dark | 47 | 44 | 67.9 [63.3–71.3] | 66.7 | 8.7 |" in text
    assert "By tone band, dark is 13.3 points below light in balanced accuracy. **That is more than is" in text


def test_a_card_of_an_older_program_is_written_as_well() -> None:
    found = card()
    bare = found.metadata.model_copy(update={"backbone": None, "detector": None, "manifest_sha256": ""})
    older = found.model_copy(update={"dataset": None, "metadata": bare, "metrics": {}, "config": {}, "parity": {}})
    assert "does not count images" in model_card(older)
    assert "does not count images" in datasheet(older)
