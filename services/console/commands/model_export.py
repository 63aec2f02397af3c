"""`models export`: a version's model, card, evaluation, model card and datasheet, in a directory or a bucket."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from rich.markup import escape

from services.console import model_documents
from services.console.client import LabelerClient
from services.console.commands.export import check_empty, prepare, put_in_place, unwritable
from services.console.connection import command_settings, labeler
from services.console.output import print_json, results
from services.console.text import count
from shared.adapters import open_bucket
from shared.blobs import Blobs
from shared.errors import Conflict, ModelInvalid, NotFound, PreconditionFailed
from shared.model_card import MODEL_FILES, ModelCard

BUCKET = "s3://"
_MARKDOWN = "text/markdown"


async def export_model(version: str, target: str, *, home: Path | None, url: str | None, json_output: bool) -> int:
    """Write a version's files to DIR, new or empty, or to `s3://bucket/prefix`."""
    is_bucket = target.startswith(BUCKET)
    if not is_bucket:
        check_empty(Path(target))  # before anything is fetched
    bucket = open_bucket(target, command_settings(home).s3_endpoint_url) if is_bucket else None
    async with labeler(home, url) as (client, _):
        files = await fetch_model(client, version)
    if bucket is not None:
        try:
            await put_model(bucket, files)
        finally:
            await bucket.close()
    else:
        await asyncio.to_thread(write_model, Path(target), files)
    if json_output:
        print_json({"version": version, "target": target, "files": sorted(files)})
    else:
        where = escape(target)
        results().print(f"Model {escape(version)}: {count(len(files), 'file')} written to {where}.", soft_wrap=True)
    return 0


async def fetch_model(client: LabelerClient, version: str) -> dict[str, bytes]:
    """A version's files, by name, the card last. Raises NotFound, and ModelInvalid for a model that is another one."""
    card_file = await client.model_file(version, "card.json")
    card = ModelCard.model_validate_json(card_file)
    files = {"model.onnx": await client.model_file(version, "model.onnx")}
    if hashlib.sha256(files["model.onnx"]).hexdigest() != card.sha256:
        raise ModelInvalid(f"The file of model '{version}' is not the one that its card describes.")
    for name in ("model-fp32.onnx", "evaluation.json"):
        with contextlib.suppress(NotFound):
            files[name] = await client.model_file(version, name)
    evaluation = json.loads(files.get("evaluation.json", b"null"))
    files[model_documents.CARD] = model_documents.model_card(card, evaluation).encode()
    files[model_documents.DATASHEET] = model_documents.datasheet(card).encode()
    return {**files, "card.json": card_file}


def write_model(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write the files into a new or empty directory, all or none. Raises Conflict, InvalidRequest, `export_failed`."""
    partial = prepare(directory)
    try:
        for name, data in files.items():
            (partial / name).write_bytes(data)
        put_in_place(partial, directory)
    except OSError as error:
        raise unwritable(directory, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


async def put_model(bucket: Blobs, files: Mapping[str, bytes]) -> None:
    """Put the files where none is. The same ones again are no error; raises Conflict for others.

    What a model is never changes: its ONNX file comes first and decides. What is written about it may be put anew.
    """
    for name, data in files.items():
        media_type = MODEL_FILES.get(name, _MARKDOWN)
        try:
            await bucket.put(name, data, content_type=media_type, if_absent=True)
        except PreconditionFailed as error:
            if (await bucket.get(name)).data == data:
                continue
            if name not in MODEL_FILES:
                await bucket.put(name, data, content_type=media_type)  # an older program put it into other words
                continue
            raise Conflict(
                f"There is another '{name}' at that place already, and a version never changes.",
                advice="Export into a prefix of its own.",
            ) from error
