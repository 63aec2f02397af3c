"""Reading what Label Studio exports: which annotation counts, what its choices mean, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest

from services.console.import_labelstudio import Tasks, labelling_configuration, read_tasks
from shared.errors import InvalidRequest
from shared.taxonomy import Condition, Severity

IMAGE = str(UUID(int=7))


def annotation(*choices: str, **members: Any) -> dict[str, Any]:
    """An annotation in the form that Label Studio 1.23 writes."""
    result = {"id": "r", "from_name": "condition", "to_name": "image", "type": "choices"}
    return {"id": 1, "completed_by": 1, "result": [{**result, "value": {"choices": list(choices)}}], **members}


def task(*annotations: dict[str, Any], image_id: Any = IMAGE) -> dict[str, Any]:
    return {"id": 12, "data": {"image": "http://x/1", "image_id": image_id}, "annotations": list(annotations)}


def read(folder: Path, *tasks: Any) -> Tasks:
    path = folder / "tasks.json"
    path.write_text(json.dumps(tasks))
    return read_tasks(path)


@pytest.mark.parametrize(
    ("choices", "labels"),
    [
        (["acne:severe", "aging:unknown"], {Condition.ACNE: Severity.SEVERE, Condition.AGING: None}),
        (["textured_skin:slight"], {Condition.TEXTURED_SKIN: Severity.MILD}),
        (["wrinkles"], {Condition.FINE_LINES: None}),
        (["clear"], {}),
    ],
)
def test_choices_are_labels(tmp_path: Path, choices: list[str], labels: dict[Condition, Severity | None]) -> None:
    (said,) = read(tmp_path, task(annotation(*choices))).said
    assert (said.image_id, said.labels) == (IMAGE, labels)


@pytest.mark.parametrize(
    ("completed_by", "reviewer"),
    [
        (3, "label-studio user 3"),
        ({"id": 3, "email": "anna@example.org"}, "anna@example.org"),
        ("anna@example.org", "anna@example.org"),
        (None, "label-studio"),
    ],
)
def test_who_said_it(tmp_path: Path, completed_by: Any, reviewer: str) -> None:
    (said,) = read(tmp_path, task(annotation("clear", completed_by=completed_by))).said
    assert said.reviewer == reviewer


def test_the_latest_annotation_counts(tmp_path: Path) -> None:
    old = annotation("acne:mild", updated_at="2026-01-01T00:00:00Z")
    new = annotation("acne:severe", updated_at="2026-02-01T00:00:00Z")
    withdrawn = annotation("clear", updated_at="2026-03-01T00:00:00Z", was_cancelled=True)
    for order in ((old, new, withdrawn), (withdrawn, new, old)):
        (said,) = read(tmp_path, task(*order)).said
        assert said.labels == {Condition.ACNE: Severity.SEVERE}


def test_tasks_that_nobody_has_annotated_are_counted(tmp_path: Path) -> None:
    found = read(tmp_path, task(), task(annotation("clear", was_cancelled=True)))
    assert (found.without, found.said, found.refused) == (2, [], [])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (task(annotation("freckles:mild")), "freckles"),
        (task(annotation("acne:terrible")), "terrible"),
        (task(annotation("acne:mild", "acne:severe")), "two severities of acne"),
        (task(annotation("clear", "acne:mild")), "clear skin and a condition"),
        (task(annotation()), "chooses nothing"),
        (task(annotation("clear"), image_id=None), "no image_id"),
        (task(annotation("clear"), image_id="../1"), "no image_id"),
        ({"image": "x", "condition": "clear"}, "JSON-MIN"),
        ("a text", "no task"),
        (task(annotation("clear", result="none")), "chooses nothing"),
    ],
)
def test_a_wrong_task_is_told_and_the_others_are_read(tmp_path: Path, wrong: Any, told: str) -> None:
    found = read(tmp_path, wrong, task(annotation("clear")))
    assert len(found.said) == 1
    (refused,) = found.refused
    assert told in refused["reason"]


@pytest.mark.parametrize(("text", "told"), [("{}", "no list"), ("[", "not JSON"), (None, "cannot be read")])
def test_what_is_no_file_of_tasks_is_told(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "tasks.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidRequest, match=told):
        read_tasks(path)


def test_every_choice_of_the_configuration_is_understood(tmp_path: Path) -> None:
    choices = [each.attrib["value"] for each in ElementTree.fromstring(labelling_configuration()).iter("Choice")]
    assert len(choices) == 1 + len(Condition) * (len(Severity) + 1)
    found = read(tmp_path, *(task(annotation(choice)) for choice in choices))
    assert len(found.said) == len(choices)
