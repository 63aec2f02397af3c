"""`report VERSION DIR` and `train --report DIR`: a version's evaluation as `report.html` and `report.json`.

The evaluation was made in training; only the pictures of the worst errors, and those that are distorted, are had from
the labeler-api, and only the latter are asked about again, here, by the version's own ONNX file.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.markup import escape

from services.console.client import LabelerClient
from services.console.commands.campaigns import exit_status, watch
from services.console.commands.campaigns import report as tell_campaign
from services.console.connection import labeler
from services.console.output import print_json, results
from services.console.progress import progress_bars
from shared.errors import ConfigurationError, EvenskinError, InvalidRequest, NotFound
from shared.evaluation import Evaluation

LIVE = "live"  # instead of a version
FETCHES = 4  # pictures on their way at a time
_NEEDED = ("matplotlib", "onnxruntime", "jinja2")


async def report(
    version: str, directory: Path, *, pictures: int, home: Path | None, url: str | None, json_output: bool
) -> int:
    """Write the report of a version, or of the live one. `pictures`: of the test fold that are distorted at most."""
    check_installed()
    async with labeler(home, url) as (client, _):
        if version == LIVE:
            live = (await client.models()).live
            if live is None:
                raise NotFound("No model is live.", advice="`evenskin train` makes one of what there is.")
            version = live.version
        written = await write_report(client, version, directory, pictures)
    _tell(written, json_output=json_output)
    return 0


async def train_and_report(
    directory: Path, *, pictures: int, home: Path | None, url: str | None, json_output: bool
) -> int:
    """Train on what there is, wait for the model, and write its report."""
    check_installed()  # before anything takes long
    async with labeler(home, url, services=None) as (client, _):
        last = await watch(client, await client.rebalance({"target_per_condition": 0}))
        if last.model is None:
            tell_campaign(last, json_output=json_output)
            return exit_status(last)
        written = await write_report(client, last.model.version, directory, pictures)
    if not json_output:
        tell_campaign(last, json_output=False)
    _tell(written, json_output=json_output)
    return exit_status(last)


def check_installed() -> None:
    """Raise ConfigurationError where a package that draws the report is not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"A report needs {', '.join(missing)}, which is not installed.",
            advice="Install evenskin with its extra `report`: pip install 'evenskin[report]'.",
        )


async def write_report(client: LabelerClient, version: str, directory: Path, pictures: int) -> dict[str, Any]:
    """Write `report.html` and `report.json` of a version into a directory. Returns what was written, for scripts.

    Raises NotFound where the version, or its evaluation, is not in the store.
    """
    from services.report.mistakes import worst_mistakes
    from services.report.render import Shown, render
    from services.report.robustness import chosen

    try:
        evaluation = Evaluation.model_validate_json(await client.model_file(version, "evaluation.json"))
    except ValidationError as error:
        raise InvalidRequest(f"The evaluation of '{version}' is not one that this program reads.") from error
    mistakes, asked = worst_mistakes(evaluation), chosen(evaluation.pictures, pictures)
    names = {mistake.picture.image_id for mistake in mistakes} | {judged.image_id for judged in asked}
    files = await _fetch(client, sorted(names))
    data = await client.model_file(version, "model.onnx")
    found, seen = await asyncio.to_thread(
        _ask,
        data,
        evaluation,
        [(judged, files[judged.image_id]) for judged in asked if judged.image_id in files],
        {
            mistake.picture.image_id: files[mistake.picture.image_id]
            for mistake in mistakes
            if mistake.picture.image_id in files
        },
    )
    shown = [Shown(mistake, seen.get(mistake.picture.image_id)) for mistake in mistakes]
    page = await asyncio.to_thread(render, evaluation, robustness=found, mistakes=shown)
    document = {
        "evaluation": evaluation.model_dump(mode="json"),
        "robustness": None if found is None else found.model_dump(mode="json"),
        "worst_errors": [
            {
                "image_id": mistake.picture.image_id,
                "condition": mistake.condition.value,
                "shown": mistake.shown,
                "probability": round(mistake.probability, 6),
                "threshold": mistake.threshold,
            }
            for mistake in mistakes
        ],
    }
    await asyncio.to_thread(_write, directory, {"report.html": page, "report.json": json.dumps(document, indent=1)})
    return {"version": version, "html": str(directory / "report.html"), "json": str(directory / "report.json")}


async def _fetch(client: LabelerClient, names: Iterable[str]) -> dict[str, bytes]:
    """The files of images, by their ids; one that is not to be had is left out."""
    places = asyncio.Semaphore(FETCHES)
    found: dict[str, bytes] = {}

    async def fetch(name: str) -> None:
        async with places:
            try:
                found[name] = await client.image_content(name)
            except NotFound:
                return

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(fetch(name), name="fetch picture")
    return found


def _ask(data: bytes, evaluation: Evaluation, asked: list[Any], wrong: dict[str, bytes]) -> tuple[Any, dict[str, str]]:
    """The robustness, None where no picture is asked about; and what the model saw of some files, as data URIs."""
    from services.report.asking import Asked
    from services.report.robustness import STEPS

    model = Asked.of(data)
    seen = model.seen(wrong)
    if not asked:
        return None, seen
    with progress_bars() as bars:
        task = bars.add_task("distorted pictures", total=len(STEPS), note="")
        return model.robustness(asked, evaluation.images, lambda: bars.advance(task)), seen


def _write(directory: Path, files: dict[str, str]) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            partial = directory / f".{name}"
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, directory / name)
    except OSError as error:
        failed = EvenskinError(
            f"'{directory}' cannot be written: {error.strerror or error}.", advice="Name another one."
        )
        failed.code, failed.status = "report_failed", 400
        raise failed from error


def _tell(written: dict[str, Any], *, json_output: bool) -> None:
    if json_output:
        print_json(written)
    else:
        results().print(f"Report of {escape(written['version'])}: {escape(written['html'])}", soft_wrap=True)
