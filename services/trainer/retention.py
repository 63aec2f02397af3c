"""Removes old models' files, by a rule, after a training. Their cards stay, so that what they were is still known."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from pydantic import ValidationError

from shared.blobs import Blobs
from shared.errors import BlobNotFound
from shared.live_model import read_live
from shared.model_card import LIVE_KEY, MODELS, LiveModel, ModelCard, card_key

YOUNG = timedelta(days=1)  # as long as somebody may take to promote a model that was just stored

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StoredModel:
    """A version whose ONNX file lies in the store, and when it was made."""

    version: str
    created_at: datetime


def superfluous(
    models: Sequence[StoredModel], live: LiveModel | None, *, newest: int, now: datetime, pinned: Collection[str] = ()
) -> list[str]:
    """The versions that the rule keeps no longer, the oldest first.

    Kept are the `newest` ones, those younger than YOUNG, the live one, the one before it (a rollback's), and those that
    are pinned.
    """
    ordered = sorted(models, key=lambda model: (model.created_at, model.version))
    kept = {model.version for model in ordered[max(0, len(ordered) - newest) :]} | set(pinned)
    kept |= {model.version for model in models if now - model.created_at < YOUNG}
    if live is not None:
        kept |= {live.version, live.previous or live.version}
    return [model.version for model in ordered if model.version not in kept]


async def remove_old_models(blobs: Blobs, *, newest: int, pinned: Collection[str] = ()) -> list[str]:
    """Remove what lies beside the cards of superfluous versions; returns these versions.

    The live model is read anew before each, for an operator may have promoted an old one meanwhile; where it cannot be
    read, nothing is removed. Models without a card, or with a damaged one, are left alone: nobody knows how old they
    are. Raises StoreUnavailable.
    """
    removed = []
    models = await _stored_models(blobs)

    async def superfluous_now() -> list[str]:
        try:
            live = await read_live(blobs)
        except ValidationError:
            log.warning("live_model_unreadable", key=LIVE_KEY, effect="No old model is removed.")
            return []
        return superfluous(models, live, newest=newest, pinned=pinned, now=datetime.now(UTC))

    for version in await superfluous_now():
        if version not in await superfluous_now():
            continue
        card = card_key(version)
        for key in [blob.key async for blob in blobs.list(card.removesuffix("card.json"))]:
            if key != card:
                await blobs.delete(key)
        log.info("model_removed", version=version, kept=newest)
        removed.append(version)
    return removed


async def _stored_models(blobs: Blobs) -> list[StoredModel]:
    found = []
    async for blob in blobs.list(MODELS):
        version, _, name = blob.key.removeprefix(MODELS).partition("/")
        if name != "model.onnx":
            continue
        try:
            card = ModelCard.model_validate_json((await blobs.get(card_key(version))).data)
        except (BlobNotFound, ValidationError):
            continue
        found.append(StoredModel(version, card.created_at))
    return found
