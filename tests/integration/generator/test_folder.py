"""Pictures that somebody made by hand fill slots, each once, whoever asks and however often."""

from __future__ import annotations

import asyncio
import io
import os
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image

from services.generator.folder_provider import FolderProvider
from services.generator.picture_folder import read_pictures
from services.generator.provider import NotDone, Order
from shared.errors import ConfigurationError
from shared.events import ACCOUNT_FAILURES, FailureReason, ImageFailed, ImageGenerated
from shared.imaging import stand_in_mark
from shared.taxonomy import CLEAR, Condition, Severity
from tests.fakes.blobs import FlakyBlobs
from tests.fakes.pictures import png
from tests.integration.generator.serving import SUBJECT, image_id_of, requested, running

ORDER = Order(uuid4(), Condition.ACNE, Severity.MILD, SUBJECT)


def order(**changes: object) -> Order:
    """An order of its own."""
    return replace(ORDER, image_id=uuid4(), **changes)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    root.mkdir()
    return root


def put(folder: Path, name: str, data: bytes) -> Path:
    """A file in the folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


async def test_a_picture_fills_a_slot_and_costs_nothing(tmp_path: Path, folder: Path, blobs: FlakyBlobs) -> None:
    put(folder, "Redness/moderate/anna.png", png(1))
    message = requested(price_usd=0.0)
    async with running(tmp_path, blobs, FolderProvider(folder, blobs)) as generator:
        await generator.bus.publish(message)
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert (event.provider, event.model, event.cost_usd) == ("folder", "by-hand", 0)
    assert event.prompt == "The file Redness/moderate/anna.png"
    assert (await blobs.get(event.key)).data == png(1)


async def test_no_picture_left_pauses_with_what_to_do(tmp_path: Path, folder: Path, blobs: FlakyBlobs) -> None:
    put(folder, "redness/moderate/a.png", png(1))
    put(folder, "redness/severe/b.png", png(2))
    messages = [requested(price_usd=0.0), requested(price_usd=0.0)]
    async with running(tmp_path, blobs, FolderProvider(folder, blobs)) as generator:
        for message in messages:
            await generator.bus.publish(message)
        events = await generator.answers(2)
        (failed,) = [event for event in events if isinstance(event, ImageFailed)]
        assert failed.reason is FailureReason.PICTURES_EXHAUSTED
        assert failed.reason in ACCOUNT_FAILURES
        assert "all 1 are used" in failed.detail
        assert "redness/moderate/" in failed.detail
        put(folder, "redness/moderate/c.png", png(3))
        (again,) = [message for message in messages if image_id_of(message) == failed.image_id]
        await generator.bus.publish(replace(again, id="resumed"))
        assert isinstance((await generator.answers(3))[-1], ImageGenerated)


async def test_each_picture_is_used_once_over_replicas(folder: Path, blobs: FlakyBlobs) -> None:
    for number in range(12):
        put(folder, f"acne/mild/{number}.png", png(number))
    replicas = [FolderProvider(folder, blobs) for _ in range(3)]
    pictures = await asyncio.gather(*(replicas[number % 3].generate(order()) for number in range(12)))
    assert {picture.data for picture in pictures} == {png(number) for number in range(12)}
    with pytest.raises(NotDone):
        await replicas[0].generate(order())


async def test_each_picture_is_used_once_over_restarts(folder: Path, blobs: FlakyBlobs) -> None:
    for number in range(4):
        put(folder, f"acne/mild/{number}.png", png(number))
    used = {(await FolderProvider(folder, blobs).generate(order())).data for _ in range(4)}
    assert len(used) == 4
    with pytest.raises(NotDone):
        await FolderProvider(folder, blobs).generate(order())


async def test_the_same_order_gets_the_same_picture_in_the_same_replica_another_and_after_a_restart(
    folder: Path, blobs: FlakyBlobs
) -> None:
    put(folder, "acne/mild/1.png", png(1))
    asked = order()
    other, first = FolderProvider(folder, blobs), FolderProvider(folder, blobs)
    for provider in (first, first, other):
        assert (await provider.generate(asked)).data == png(1)
    put(folder, "acne/mild/0.png", png(0))  # comes before it, by name
    assert (await FolderProvider(folder, blobs).generate(asked)).data == png(1)


async def test_the_same_bytes_under_two_names_are_one_picture(folder: Path, blobs: FlakyBlobs) -> None:
    put(folder, "acne/mild/a.png", png(1))
    put(folder, "acne/mild/copy of a.png", png(1))
    provider = FolderProvider(folder, blobs)
    await provider.generate(order())
    with pytest.raises(NotDone):
        await provider.generate(order())


async def test_a_picture_fills_no_slot_of_another_severity(folder: Path, blobs: FlakyBlobs) -> None:
    put(folder, "acne/severe/a.png", png(1))
    provider = FolderProvider(folder, blobs)
    with pytest.raises(NotDone):
        await provider.generate(order())
    assert (await provider.generate(order(severity=Severity.SEVERE))).data == png(1)


async def test_a_drawn_face_stays_one(tmp_path: Path, folder: Path, blobs: FlakyBlobs) -> None:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png(1))).save(buffer, "PNG", **stand_in_mark("PNG"))
    put(folder, "redness/moderate/drawn.png", buffer.getvalue())
    async with running(tmp_path, blobs, FolderProvider(folder, blobs)) as generator:
        await generator.bus.publish(requested(price_usd=0.0))
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert event.provider == "procedural"


async def test_clear_skin_comes_from_its_own_folder(folder: Path, blobs: FlakyBlobs) -> None:
    put(folder, "acne/mild/1.png", png(1))
    put(folder, "Clear skin/anna/2.png", png(2))
    put(folder, "clear/3.png", png(3))
    provider = FolderProvider(folder, blobs)
    clear = {"condition": CLEAR, "severity": None}
    assert {(await provider.generate(order(**clear))).data for _ in range(2)} == {png(2), png(3)}
    with pytest.raises(NotDone, match=r"No picture of clear skin is left .* into clear/, and resume"):
        await provider.generate(order(**clear))


async def test_a_folder_that_goes_away_is_told(folder: Path, blobs: FlakyBlobs) -> None:
    provider = FolderProvider(folder, blobs)
    os.rmdir(folder)
    with pytest.raises(NotDone, match="EVENSKIN_PICTURE_FOLDER"):
        await provider.generate(order())
    with pytest.raises(ConfigurationError, match="EVENSKIN_PICTURE_FOLDER"):
        FolderProvider(folder, blobs)


def test_folders_are_read_as_an_import_reads_them(folder: Path) -> None:
    slight = put(folder, "Textured Skin/slight/deeper/still/a.JPG", b"a")
    names = {
        "acne/b.png": "slot has both",
        "c.png": "slot has both",
        "acne/terrible/d.png": "severity",
        "freckles/mild/e.png": "condition",
        "acne/mild/f.heic": "ending",
        "acne/mild/notes.txt": "ending",
    }
    for name in [*names, ".hidden/mild/g.png", "acne/mild/._h.png", "@eaDir/mild/i.png", "__MACOSX/mild/j.png"]:
        put(folder, name, b"x")
    (folder / "acne/mild/link.png").symlink_to(slight)
    found = read_pictures(folder)
    assert found.files == {(Condition.TEXTURED_SKIN, Severity.MILD): [slight]}
    assert {path.relative_to(folder).as_posix() for path in found.passed_over} == set(names)
    for name, told in names.items():
        assert told in found.passed_over[folder / name]
