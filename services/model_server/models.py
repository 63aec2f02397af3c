"""Holds the served model, and swaps it without a dropped request.

`models/live.json` names the live model; `ModelPromoted` only says that it changed. The holder reads the file at
start and every `poll_s` seconds, which mends a missed event or a store that was down. Events come late and twice, so
they are ordered by their generation number; the file is followed whatever it says.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog
from pydantic import ValidationError

from services.model_server.metrics import ServerMetrics
from services.model_server.predictor import Predictor
from shared.blobs import Blobs
from shared.errors import EvenskinError, ModelInvalid, NoModel
from shared.live_model import read_live
from shared.message import first_problem
from shared.model_card import LIVE_KEY, LiveModel, ModelCard, card_key
from shared.tracing import Span, valid_correlation_id, valid_traceparent

log = structlog.get_logger(__name__)

START_WAIT_S = 10.0  # a store that hangs delays the start no longer than this; the poll goes on trying
UNSERVED_POLL_S = 2.0  # while no model is served, look more often: everybody waits for the first one


@dataclass(frozen=True)
class ServedModel:
    """A model in service: its entry in `models/live.json`, its predictor, and its card where the store has one."""

    live: LiveModel
    predictor: Predictor
    card: ModelCard | None
    loaded_at: datetime


class ModelHolder:
    """Holds the served model, as a context manager: entering it loads the live model.

    A request takes `served` once and keeps it. The swap is one assignment on the event loop, and the old model
    lives until the last request that took it is answered.
    """

    def __init__(self, blobs: Blobs, metrics: ServerMetrics, *, threads: int = 1, poll_s: float = 30.0) -> None:
        self._blobs = blobs
        self._metrics = metrics
        self._threads = threads
        self._poll_s = poll_s
        self._served: ServedModel | None = None
        self._swapping = asyncio.Lock()

    @property
    def served(self) -> ServedModel:
        """The model to answer with. Raises NoModel."""
        if self._served is None:
            raise NoModel("No model is live yet.", advice="Train and promote one; it is then served by itself.")
        return self._served

    async def __aenter__(self) -> Self:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_WAIT_S):
                await self.refresh()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._served = None

    async def check(self) -> None:
        """Raise NoModel while no model is served."""
        _ = self.served

    async def watch(self) -> None:
        """Read `models/live.json` again and again, for ever."""
        while True:
            await asyncio.sleep(self._poll_s if self._served else min(self._poll_s, UNSERVED_POLL_S))
            await self.refresh()

    async def refresh(self) -> None:
        """Serve what `models/live.json` names, unless it is served already. Logs what goes wrong.

        The file decides, even where its generation is lower: it was restored from a backup, or an older program
        that knows no number wrote it. It is read while no swap is under way, so it is never older than what is served.
        """
        async with self._swapping:
            try:
                live = await read_live(self._blobs)
            except ValidationError as error:
                log.warning("live_model_unreadable", key=LIVE_KEY, error=first_problem(error))
                return
            except EvenskinError as error:
                log.warning("live_model_unreadable", key=LIVE_KEY, code=error.code, error=error.message)
                return
            if live is None or (self._served is not None and self._served.live == live):
                return  # nothing has been promoted yet, and readiness says so; or nothing since
            with Span(
                "serve live model",
                parent=valid_traceparent(live.traceparent),
                correlation_id=valid_correlation_id(live.correlation_id),
            ):
                await self._serve(live)

    async def promote(self, live: LiveModel) -> bool:
        """Load, check and warm up a model, then serve it. Returns whether it is served now.

        The model before it answers until then, and stays if anything fails (`model_swap_failed`). A promotion that is
        not newer than the served model's is ignored.
        """
        async with self._swapping:
            served = self._served
            if served is None or _is_newer(live, served.live):
                return await self._serve(live)
            if _same_model(live, served.live):
                return True
            self._metrics.swaps.labels("ignored").inc()
            log.info("model_promotion_ignored", version=live.version, served=served.live.version)
            return False

    async def _serve(self, live: LiveModel) -> bool:
        """Serve a model, unless it cannot be served. Call it with no other swap under way."""
        served = self._served
        if served is not None and _same_model(live, served.live):
            self._served = replace(served, live=live)  # promoted anew: the same bytes, nothing to load
            return True
        try:
            successor = await self._load(live)
        except Exception as error:  # whatever it was, the model in service goes on
            code = error.code if isinstance(error, EvenskinError) else "internal_error"
            unexpected = not isinstance(error, EvenskinError)
            log.warning("model_swap_failed", version=live.version, code=code, error=str(error), exc_info=unexpected)
            self._metrics.swaps.labels("failed").inc()
            return False
        self._served = successor
        self._metrics.model_served(live.version, successor.predictor.metadata.dataset_version, successor.card)
        self._metrics.swaps.labels("done").inc()
        log.info("model_served", version=live.version, before=served.live.version if served else None)
        return True

    async def _load(self, live: LiveModel) -> ServedModel:
        data = (await self._blobs.get(live.key)).data
        predictor = await asyncio.to_thread(self._load_and_warm_up, data, live.sha256)
        if predictor.metadata.version != live.version:
            raise ModelInvalid(f"The file says it is version {predictor.metadata.version}, not {live.version}.")
        return ServedModel(live, predictor, await self._card(live), datetime.now(UTC))

    def _load_and_warm_up(self, data: bytes, sha256: str) -> Predictor:
        predictor = Predictor.load(data, sha256=sha256, threads=self._threads)
        predictor.warm_up()
        return predictor

    async def _card(self, live: LiveModel) -> ModelCard | None:
        """Read the model's card; None where it is missing or unreadable. People read it; the model serves without."""
        try:
            return ModelCard.model_validate_json((await self._blobs.get(card_key(live.version))).data)
        except (EvenskinError, ValidationError) as error:
            log.info("model_card_missing", version=live.version, error=type(error).__name__)
            return None


def _same_model(one: LiveModel, other: LiveModel) -> bool:
    return (one.version, one.sha256) == (other.version, other.sha256)


def _is_newer(one: LiveModel, other: LiveModel) -> bool:
    """Whether a promotion is the later of two. Times count only between two that older programs left unnumbered."""
    if one.generation or other.generation:
        return one.generation > other.generation
    return _promoted_at(one) > _promoted_at(other)


def _promoted_at(live: LiveModel) -> datetime:
    """Time of the promotion; one without a zone is taken as UTC."""
    return live.promoted_at if live.promoted_at.tzinfo else live.promoted_at.replace(tzinfo=UTC)
