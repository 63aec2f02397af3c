"""Which old models go, and what stays of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.trainer.retention import YOUNG, StoredModel, remove_old_models, superfluous
from services.trainer.settings import TrainerSettings
from shared.embedded.blobs import DirectoryBlobs
from shared.live_model import make_live
from shared.model_card import LIVE_KEY, LiveModel, card_key, model_key
from tests.fakes.model_cards import card

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=99)


def made(*names: str) -> list[StoredModel]:
    """Versions, the oldest first."""
    return [StoredModel(name, START + timedelta(days=day)) for day, name in enumerate(names)]


def live(version: str, previous: str | None = None) -> LiveModel:
    return LiveModel(version=version, key="k", sha256="s", promoted_at=START, reason="", previous=previous)


@pytest.mark.parametrize(
    ("newest", "served", "pinned", "gone"),
    [
        (9, None, (), []),
        (5, None, (), []),
        (2, None, (), ["a", "b", "c"]),
        (1, None, (), ["a", "b", "c", "d"]),
        (1, live("e", "d"), (), ["a", "b", "c"]),
        (1, live("a", "c"), (), ["b", "d"]),  # rolled back to the oldest: the next training keeps it
        (1, live("a"), ("b", "unheard-of"), ["c", "d"]),
        (2, live("d", "d"), (), ["a", "b", "c"]),
    ],
)
def test_the_rule(newest: int, served: LiveModel | None, pinned: tuple[str, ...], gone: list[str]) -> None:
    models = made("a", "b", "c", "d", "e")
    assert superfluous(models, served, newest=newest, pinned=pinned, now=LATER) == gone
    assert superfluous(models[::-1], served, newest=newest, pinned=pinned, now=LATER) == gone


def test_nothing_is_removed_where_there_is_nothing() -> None:
    assert superfluous([], None, newest=1, now=LATER) == []


def test_a_young_model_is_kept_for_whoever_is_about_to_promote_it() -> None:
    models = made("a", "b", "c", "d")
    assert superfluous(models, None, newest=1, now=START + YOUNG - timedelta(seconds=1)) == []
    assert superfluous(models, None, newest=1, now=START + YOUNG) == ["a"]
    assert superfluous(models, None, newest=1, now=START + timedelta(days=1) + YOUNG) == ["a", "b"]


async def put_models(blobs: DirectoryBlobs, *models: StoredModel) -> None:
    """Store a model file, an evaluation and a card of each."""
    for model in models:
        made_then = card(model.version, created_at=model.created_at)
        await blobs.put(card_key(model.version), made_then.model_dump_json().encode())
        for name in ("model.onnx", "evaluation-0123.json"):
            await blobs.put(model_key(model.version).replace("model.onnx", name), b"content")


async def test_the_files_of_old_models_go_and_their_cards_stay(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    await put_models(blobs, *made("a", "b", "c", "d"))
    await blobs.put(model_key("nobody-knows"), b"without a card")
    await make_live(blobs, version="b", sha256="s", reason="test")
    assert await remove_old_models(blobs, newest=1, pinned={"c"}) == ["a"]
    assert [blob.key async for blob in blobs.list("models/a/")] == [card_key("a")]
    for version in ("b", "c", "d"):
        assert len([blob.key async for blob in blobs.list(f"models/{version}/")]) == 3
    assert await blobs.head(model_key("nobody-knows"))
    assert await remove_old_models(blobs, newest=1, pinned={"c"}) == []


async def test_the_files_of_a_model_made_today_stay(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    now = datetime.now(UTC)
    await put_models(blobs, *made("a"), StoredModel("b", now - timedelta(hours=1)), StoredModel("c", now))
    assert await remove_old_models(blobs, newest=1) == ["a"]


@pytest.mark.parametrize("damaged", [b"", b"{}", b"\xff"])
async def test_a_damaged_card_is_as_none(tmp_path: Path, damaged: bytes) -> None:
    blobs = DirectoryBlobs(tmp_path)
    await put_models(blobs, *made("a", "b", "c"))
    await blobs.put(card_key("a"), damaged)
    assert await remove_old_models(blobs, newest=1) == ["b"]
    assert await blobs.head(model_key("a"))


@pytest.mark.parametrize("damaged", [b"", b"{}", b"\xff"])
async def test_nothing_is_removed_where_nobody_knows_which_model_is_live(tmp_path: Path, damaged: bytes) -> None:
    blobs = DirectoryBlobs(tmp_path)
    await put_models(blobs, *made("a", "b", "c"))
    await blobs.put(LIVE_KEY, damaged)
    with capture_logs() as logged:
        assert await remove_old_models(blobs, newest=1) == []
    assert [(entry["event"], entry["log_level"]) for entry in logged] == [("live_model_unreadable", "warning")]
    assert await blobs.head(model_key("a"))


def test_many_models_are_kept_unless_the_settings_say_otherwise(tmp_path: Path) -> None:
    settings = TrainerSettings(home=tmp_path)
    assert settings.models_kept >= 20
    assert settings.pinned == frozenset()
    assert TrainerSettings(home=tmp_path, pinned_models="m-1, m-2,").pinned == {"m-1", "m-2"}
