"""`predict` and `models list|compare|promote|rollback`: the live model's answers, and which model is live."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from services.console.client import ModelClient
from services.console.commands.importing import read_picture
from services.console.connection import labeler, model_server
from services.console.file_names import as_text, shown
from services.console.model_comparison import compare
from services.console.output import print_json, results
from services.console.picture_files import check_files, exit_status, tell_failure
from services.console.tables import comparison_table, models_table, prediction_table
from shared.documents.models import LiveModelDocument
from shared.documents.predictions import Prediction
from shared.errors import EvenskinError
from shared.model_card import ModelCard

PREDICTIONS = 4  # on their way at a time


async def predict(files: Sequence[Path], *, home: Path | None, url: str | None, json_output: bool) -> int:
    """Ask the live model about pictures. One that it cannot read does not stop the others."""
    check_files(files)
    async with model_server(home, url) as client:
        places = asyncio.Semaphore(PREDICTIONS)
        answers = await asyncio.gather(*(_predict(client, path, places) for path in files))
    failures = [answer for answer in answers if isinstance(answer, EvenskinError)]
    if json_output:
        print_json({"predictions": [_entry(*pair) for pair in zip(files, answers, strict=True)]})
    for path, answer in zip(files, answers, strict=True):
        if isinstance(answer, EvenskinError):
            tell_failure(path, answer)
        elif not json_output:
            results().print(prediction_table(answer, title=escape(shown(path))))
    return exit_status(failures)


async def _predict(client: ModelClient, path: Path, places: asyncio.Semaphore) -> Prediction | EvenskinError:
    async with places:
        try:
            data = await asyncio.to_thread(read_picture, path)
        except EvenskinError as error:
            return error
        try:
            return await client.predict(data, filename="selfie")  # the name is nobody's business but the user's
        except EvenskinError as error:
            if error.status in (413, 415, 422):
                return error
            raise


def _entry(path: Path, answer: Prediction | EvenskinError) -> dict[str, Any]:
    if isinstance(answer, EvenskinError):
        return {"file": as_text(path), "error": answer.problem()}
    return {"file": as_text(path), **answer.json_object()}


async def list_models(*, home: Path | None, url: str | None, json_output: bool) -> int:
    """Show every version, and which one is live."""
    async with labeler(home, url) as (client, _):
        models = await client.models()
    if json_output:
        print_json(models.json_object())
    elif models.models:
        results().print(models_table(models))
    else:
        results().print("No model yet: `evenskin train` makes one of what there is.")
    return 0


async def compare_models(first: str, second: str, *, home: Path | None, url: str | None, json_output: bool) -> int:
    """Show two versions' metrics side by side, with the difference."""
    async with labeler(home, url) as (client, _):
        cards = [
            ModelCard.model_validate_json(await client.model_file(version, "card.json")) for version in (first, second)
        ]
    comparison = compare(*cards)
    if json_output:
        print_json(comparison.json_object())
    else:
        results().print(comparison_table(comparison))
    return 0


async def promote(version: str, *, reason: str, home: Path | None, url: str | None, json_output: bool) -> int:
    """Serve a version from now on."""
    async with labeler(home, url) as (client, _):
        return _print_live(await client.promote(version, reason=reason), json_output=json_output)


async def roll_back(*, home: Path | None, url: str | None, json_output: bool) -> int:
    """Serve the version that was live before."""
    async with labeler(home, url) as (client, _):
        return _print_live(await client.rollback(), json_output=json_output)


def _print_live(live: LiveModelDocument, *, json_output: bool) -> int:
    if json_output:
        print_json(live.json_object())
    else:
        results().print(f"Model {escape(live.version)} is live.")
    return 0
