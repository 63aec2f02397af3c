"""`import tasks.json`: labels that were corrected in Label Studio become reviews of the images that they are about."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from services.console.client import LabelerClient
from services.console.commands.importing import print_some
from services.console.connection import labeler
from services.console.import_labelstudio import Said, read_tasks
from services.console.output import print_json, results
from services.console.text import count
from shared.documents.images import ImageDocument
from shared.documents.requests import MAX_BATCH

PAGE = 200  # images of one answer


async def import_corrections(path: Path, *, home: Path | None, url: str | None, json_output: bool) -> int:
    """Take what is said in a file of tasks as reviews. Returns exit status 1 if some of it was not taken."""
    tasks = read_tasks(path)
    refused = list(tasks.refused)
    changed: list[Said] = []
    same = 0
    async with labeler(home, url) as (client, _):
        known = await _known(client)
        for said in tasks.said:
            image = known.get(said.image_id)
            if image is None:
                refused.append(_refusal(said, "not_found", "There is no such image."))
            elif image.status == "rejected":
                refused.append(_refusal(said, "conflict", "It was rejected: accept it on the review page first."))
            elif image.status == "pending" or dict(image.labels) != _names(said):
                changed.append(said)
            else:
                same += 1
        taken = await _review(client, changed, refused)
    if json_output:
        print_json({"corrected": taken, "unchanged": same, "not_annotated": tasks.without, "refused": refused})
    else:
        results().print(
            f"{count(taken, 'image')} corrected, {same:,} as they were, {len(refused):,} refused"
            f" ({count(tasks.without, 'task')} without an annotation)."
        )
        print_some(f"{each.get('image_id') or 'task ' + each['task']}: {each['reason']}" for each in refused)
    return 1 if refused else 0


async def _known(client: LabelerClient) -> dict[str, ImageDocument]:
    known: dict[str, ImageDocument] = {}
    cursor: str | None = None
    while True:
        page = await client.images(cursor=cursor, limit=PAGE)
        known.update((image.id, image) for image in page.images)
        cursor = page.next_cursor
        if cursor is None:
            return known


async def _review(client: LabelerClient, changed: list[Said], refused: list[dict[str, Any]]) -> int:
    taken = 0
    waiting = iter(changed)
    while batch := list(islice(waiting, MAX_BATCH)):
        answers = await client.review([_review_of(said) for said in batch])
        for said, answer in zip(batch, answers, strict=True):
            if answer.ok:
                taken += 1
            elif answer.problem is not None:
                refused.append(_refusal(said, answer.problem.code, answer.problem.detail))
    return taken


def _review_of(said: Said) -> dict[str, Any]:
    names = _names(said)
    return {"image_id": said.image_id, "verdict": "accepted", "labels": names, "reviewer": said.reviewer}


def _names(said: Said) -> dict[Any, str | None]:
    return {name.value: severity.label if severity else None for name, severity in said.labels.items()}


def _refusal(said: Said, code: str, reason: str) -> dict[str, Any]:
    return {"image_id": said.image_id, "code": code, "reason": reason}
