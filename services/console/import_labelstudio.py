"""Reads the labels that Label Studio exports ("JSON"), without sending anything.

Its tasks are those of our own export: each names its image (`image_id`) and says its labels as choices such as
`acne:mild`, `aging:unknown` or `clear`. The form is that of https://labelstud.io/guide/export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic_core import from_json

from services.console.file_names import shown
from services.console.import_folder import UNGRADED, Labels
from shared.errors import EvenskinError, InvalidRequest
from shared.taxonomy import CLEAR_NAMES, Condition, Severity, normal_name, parse_condition, parse_severity

ENDING = ".json"
MAX_TASKS_BYTES = 512 * 1024 * 1024  # some hundred thousand tasks
TOOL = "label-studio"  # the reviewer, where Label Studio says a number or nothing of who it was
MAX_REVIEWER_CHARACTERS = 128
_CHOICES = "condition"  # the name of the choices in our export, and in the labelling configuration beside it


@dataclass(frozen=True)
class Said:
    """The labels that somebody gave an image."""

    image_id: str
    labels: Labels
    reviewer: str


@dataclass
class Tasks:
    """What a file says. `without`: tasks that nobody has annotated. `refused`: which task, and why."""

    said: list[Said] = field(default_factory=list)
    without: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)


def read_tasks(path: Path) -> Tasks:
    """Read a file of tasks. Of several annotations of a task the latest counts, cancelled ones do not.

    Raises InvalidRequest for what is no such file.
    """
    found = Tasks()
    for number, task in enumerate(_tasks(path), start=1):
        name = str(task.get("id", number)) if isinstance(task, dict) else str(number)
        try:
            said = _said(task)
        except EvenskinError as error:
            found.refused.append({"task": name, "code": error.code, "reason": error.message})
            continue
        if said is None:
            found.without += 1
        else:
            found.said.append(said)
    return found


def _tasks(path: Path) -> Sequence[Any]:
    try:
        if path.stat().st_size > MAX_TASKS_BYTES:
            raise InvalidRequest(f"'{shown(path)}' has more than {MAX_TASKS_BYTES:,} bytes.")
        tasks = from_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise InvalidRequest(f"'{shown(path)}' cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidRequest(f"'{shown(path)}' is not JSON.", advice="Export from Label Studio as JSON.") from error
    if not isinstance(tasks, list):
        raise InvalidRequest(f"'{shown(path)}' is no list of tasks.", advice="Export from Label Studio as JSON.")
    return tasks


def _said(task: Any) -> Said | None:
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        raise InvalidRequest("It is no task of Label Studio: it has no data. Export as JSON, not as JSON-MIN.")
    try:
        image_id = str(UUID(str(data.get("image_id"))))
    except ValueError:
        raise InvalidRequest("It names no image of ours: its data has no image_id.") from None
    annotations = [each for each in _list(task.get("annotations")) if isinstance(each, dict)]
    annotations = [each for each in annotations if not each.get("was_cancelled")]
    if not annotations:
        return None
    # The latest by its time, of equal ones the last: where one that we exported was left and another was made.
    latest = max(enumerate(annotations), key=lambda each: (str(each[1].get("updated_at") or ""), each[0]))[1]
    return Said(image_id, _labels(latest), _reviewer(latest.get("completed_by")))


def _labels(annotation: Mapping[str, Any]) -> Labels:
    results = [each for each in _list(annotation.get("result")) if isinstance(each, dict)]
    values = [each.get("value") for each in results if each.get("from_name") == _CHOICES]
    choices = [choice for value in values if isinstance(value, dict) for choice in _list(value.get("choices"))]
    if not choices:
        raise InvalidRequest(f"Its annotation chooses nothing under '{_CHOICES}'.")
    labels: dict[Condition, Severity | None] = {}
    for choice in choices:
        name, _, severity = str(choice).partition(":")
        if normal_name(name) in CLEAR_NAMES:
            continue
        condition = parse_condition(name)
        graded = severity and normal_name(severity) not in UNGRADED
        value = parse_severity(severity) if graded else None
        if labels.get(condition, value) != value:
            raise InvalidRequest(f"Its annotation chooses two severities of {condition}.")
        labels[condition] = value
    if labels and any(normal_name(str(choice)) in CLEAR_NAMES for choice in choices):
        raise InvalidRequest("Its annotation chooses clear skin and a condition.")
    return labels


def _reviewer(completed_by: Any) -> str:
    """An e-mail address where Label Studio says one; it mostly says the number of a user."""
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    if isinstance(completed_by, int):
        return f"{TOOL} user {completed_by}"
    text = str(completed_by or TOOL).replace("\0", "")
    return text[:MAX_REVIEWER_CHARACTERS] or TOOL


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def labelling_configuration() -> str:
    """The configuration of a Label Studio project that shows our export's tasks, with every choice there is."""
    choices = ["clear"]
    for condition in Condition:
        choices += [f"{condition}:{severity}" for severity in (*(s.label for s in Severity), "unknown")]
    lines = "\n".join(f'    <Choice value="{choice}"/>' for choice in choices)
    return (
        f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <Choices name="{_CHOICES}" toName="image" choice="multiple" required="true">\n{lines}\n'
        f"  </Choices>\n</View>\n"
    )
