"""labeler-api over HTTP: every handler parses, calls the ledger, and answers with a view."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import structlog
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns import reviews, starting
from services.labeler_api.campaigns.campaign import ACTIVE, CampaignState
from services.labeler_api.campaigns.plan import PLANNED_ON, plan_for
from services.labeler_api.ledger import counters, outbox
from services.labeler_api.ledger.ledger import Ledger
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.pictures import intake as uploads
from services.labeler_api.pictures.images import Status
from services.labeler_api.pictures.thumbnail import thumbnail
from services.labeler_api.web import exports, views
from services.labeler_api.web.openapi import EXPORTS, MAX_PAGE, PAGE, openapi
from shared.blobs import Blobs
from shared.bus import Bus
from shared.documents.base import Document
from shared.documents.dead_letters import DeadLetterDocument, DeadLetterList, Replayed
from shared.documents.images import ReviewResult, ReviewResults
from shared.documents.problems import problem_of
from shared.documents.rebalances import Campaign, PlanDocument
from shared.documents.requests import MAX_BATCH, PromotionRequest, ReplayRequest, Review, UndoRequest
from shared.errors import (
    BlobNotFound,
    DatabaseUnavailable,
    EvenskinError,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    StoreUnavailable,
)
from shared.events import ModelPromoted, RebalanceRequested
from shared.http import MAX_NUMBER, add_page_files, document_response, json_body, parsed
from shared.live_model import make_live, read_live
from shared.message import Message
from shared.model_card import ModelCard, card_key
from shared.schemas import known_queues
from shared.taxonomy import parse_condition, parse_severity

log = structlog.get_logger(__name__)

STATIC = Path(__file__).parent / "static"
STREAM_S = 0.5  # seconds between looks at a campaign that is being watched
HEARTBEAT_S = 15.0  # seconds of silence on a stream, after which a comment is sent: proxies cut silent ones off

E = TypeVar("E", bound=StrEnum)


class LabelerHttp:
    """The routes of labeler-api."""

    def __init__(self, ledger: Ledger, bus: Bus) -> None:
        self._ledger = ledger
        self._bus = bus
        self._stopping = asyncio.Event()

    def configure(self, app: web.Application) -> None:
        """Add the routes."""
        app.on_shutdown.append(self._stop)
        get, post = app.router.add_get, app.router.add_post
        get("/openapi.json", self.openapi)
        get("/v1/balance", self.balance)
        get("/v1/plan", self.plan)
        post("/v1/rebalances", self.start_rebalance)
        get("/v1/rebalances", self.list_rebalances)
        get("/v1/rebalances/{id}", self.show_rebalance)
        get("/v1/rebalances/{id}/stream", self.stream_rebalance)
        post("/v1/images", self.add_image)
        get("/v1/images", self.list_images)
        get("/v1/images/{id}", self.show_image)
        get("/v1/images/{id}/content", self.image_content)
        get("/v1/images/{id}/thumbnail", self.image_thumbnail)
        post("/v1/images/{id}/reviews", self.review_image)
        post("/v1/reviews", self.review_images)
        post("/v1/reviews/undo", self.undo_review)
        get("/v1/datasets/{version}", self.show_dataset)
        get("/v1/export", self.export)
        get("/v1/models", self.list_models)
        post("/v1/models/rollback", self.roll_back)
        post("/v1/models/{version}/promotions", self.promote)
        get("/v1/dead-letters", self.list_dead_letters)
        post("/v1/dead-letters/replay", self.replay_dead_letters)
        get("/", self.page)
        get("/dermatologist_drag_drop_tool.html", self.old_page)
        add_page_files(app, STATIC)

    async def _stop(self, _: web.Application) -> None:
        self._stopping.set()  # open streams would hold up the drain

    async def page(self, _: web.Request) -> web.StreamResponse:
        """The review page."""
        return web.FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    async def old_page(self, _: web.Request) -> web.StreamResponse:
        """The name that reviewers have in their bookmarks."""
        raise web.HTTPFound("/")

    async def openapi(self, _: web.Request) -> web.Response:
        """The API's description."""
        return web.json_response(openapi(secured=self._ledger.settings.api_key is not None))

    async def _answer(self, view: Callable[[AsyncConnection], Awaitable[Document]], status: int = 200) -> web.Response:
        async with self._ledger.database.reading() as connection:
            return document_response(await view(connection), status)

    async def balance(self, _: web.Request) -> web.Response:
        """How many images every condition has."""
        return await self._answer(views.balance)

    async def plan(self, request: web.Request) -> web.Response:
        """A dry run of a rebalance."""
        asked = _rebalance_of_query(request)
        settings = self._ledger.settings

        async def view(connection: AsyncConnection) -> PlanDocument:
            planned = plan_for(await counters.totals(connection, *PLANNED_ON), asked, settings)
            return planned.document(provider=settings.provider, images_per_minute=settings.images_per_minute)

        return await self._answer(view)

    async def start_rebalance(self, request: web.Request) -> web.Response:
        """Start a campaign, or say why not."""
        asked = parsed(RebalanceRequested, await json_body(request))
        message = Message(asked, source="operator")

        async def start(transaction: Transaction) -> None:
            await starting.start(transaction, asked, message, self._ledger.settings)

        await self._ledger.change(start)
        return await self._answer(lambda connection: views.campaign(connection, asked.campaign_id), status=202)

    async def list_rebalances(self, request: web.Request) -> web.Response:
        """The latest campaigns, without the history of their trainings."""
        limit = _limit(request)
        return await self._answer(lambda connection: views.campaign_list(connection, limit))

    async def show_rebalance(self, request: web.Request) -> web.Response:
        """One campaign."""
        campaign_id = _uuid(request)
        return await self._answer(lambda connection: views.campaign(connection, campaign_id))

    async def stream_rebalance(self, request: web.Request) -> web.StreamResponse:
        """A campaign as server-sent events, whenever it changes, until there is nothing more to come."""
        campaign_id = _uuid(request)
        async with self._ledger.database.reading() as connection:
            document = await views.campaign(connection, campaign_id)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError):  # nobody listens any more
            await self._stream(response, document, campaign_id)
            await response.write_eof()
        return response

    async def _stream(self, response: web.StreamResponse, document: Campaign, campaign_id: UUID) -> None:
        sent, sent_at = "", 0.0
        while True:
            text = document.json_text()
            if text != sent:
                await response.write(f"event: campaign\ndata: {text}\n\n".encode())
                sent, sent_at = text, time.monotonic()
            elif time.monotonic() - sent_at > HEARTBEAT_S:
                await response.write(b":\n\n")
                sent_at = time.monotonic()
            if document.state not in (*ACTIVE, CampaignState.MET):
                return
            if document.state == CampaignState.MET and document.model is not None:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STREAM_S):
                    await self._stopping.wait()
                return
            with contextlib.suppress(DatabaseUnavailable):  # the page waits with us
                async with self._ledger.database.reading() as connection:
                    document = await views.campaign(connection, campaign_id)

    async def add_image(self, request: web.Request) -> web.Response:
        """Bring in a picture with its labels."""
        image_id, new = await uploads.add_image(self._ledger, await uploads.read_form(request))
        return await self._answer(
            lambda connection: views.image(connection, UUID(image_id)), status=201 if new else 200
        )

    async def list_images(self, request: web.Request) -> web.Response:
        """A page of images."""
        query = request.query
        status = _member(Status, query.get("status"), "status")
        condition = parse_condition(query["condition"]) if query.get("condition") else None
        severity = parse_severity(query["severity"]) if query.get("severity") else None
        cursor, limit = _cursor(request), _limit(request)
        return await self._answer(
            lambda connection: views.image_list(
                connection, status=status, condition=condition, severity=severity, cursor=cursor, limit=limit
            )
        )

    async def show_image(self, request: web.Request) -> web.Response:
        """One image."""
        image_id = _uuid(request)
        return await self._answer(lambda connection: views.image(connection, image_id))

    async def image_content(self, request: web.Request) -> web.StreamResponse:
        """The picture as it came."""
        row = await self._image_row(request)
        data = (await self._ledger.blobs.get(row["key"])).data
        return _cached(request, data, row["media_type"], row["sha256"])

    async def image_thumbnail(self, request: web.Request) -> web.StreamResponse:
        """A small, upright copy as WebP."""
        row = await self._image_row(request)
        key = f"images/{row['id']}/thumbnail.webp"
        try:
            data = (await self._ledger.blobs.get(key)).data
        except BlobNotFound:
            original = (await self._ledger.blobs.get(row["key"])).data
            data = await asyncio.to_thread(thumbnail, original)
            # Kept for the next time; a picture can be looked at without that.
            with contextlib.suppress(PreconditionFailed, StoreUnavailable):
                await self._ledger.blobs.put(key, data, content_type="image/webp", if_absent=True)
        return _cached(request, data, "image/webp", f"{row['sha256']}-thumbnail")

    async def _image_row(self, request: web.Request) -> dict[str, Any]:
        async with self._ledger.database.reading() as connection:
            return await views.image_row(connection, _uuid(request))

    async def review_image(self, request: web.Request) -> web.Response:
        """A verdict on one image."""
        image_id = _uuid(request)
        await self._review(image_id, await json_body(request))
        return await self._answer(lambda connection: views.image(connection, image_id), status=201)

    async def _review(self, image_id: UUID, body: dict[str, Any]) -> None:
        said = parsed(Review, body)

        async def apply(transaction: Transaction) -> None:
            await reviews.review(transaction, image_id, said, None, self._ledger.settings)

        await self._ledger.change(apply)

    async def review_images(self, request: web.Request) -> web.Response:
        """Verdicts on many images: `{"reviews": [{"image_id": …, "verdict": …, …}]}`; each has its own result."""
        body = await json_body(request)
        items = body.get("reviews")
        if not isinstance(items, list) or not 1 <= len(items) <= MAX_BATCH:
            raise InvalidRequest(f"'reviews' must be a list of 1 to {MAX_BATCH} reviews.")
        results = [await self._review_item(item) for item in items]
        status = 201 if all(result.ok for result in results) else 207
        return document_response(ReviewResults(results=tuple(results)), status)

    async def _review_item(self, item: Any) -> ReviewResult:
        named = item.get("image_id") if isinstance(item, dict) else None
        try:
            image_id = UUID(str(named))
        except ValueError:
            return _refused(named, InvalidRequest("'image_id' is not an image's id."))
        try:
            await self._review(image_id, {key: value for key, value in item.items() if key != "image_id"})
        except EvenskinError as error:
            return _refused(named, error)
        return ReviewResult(image_id=named, ok=True)

    async def undo_review(self, request: web.Request) -> web.Response:
        """Take back the last review of `{"reviewer": …}`."""
        reviewer = parsed(UndoRequest, await json_body(request)).reviewer
        undone: list[UUID] = []

        async def undo(transaction: Transaction) -> None:
            undone[:] = [await reviews.undo(transaction, reviewer, self._ledger.settings)]

        await self._ledger.change(undo)
        return await self._answer(lambda connection: views.image(connection, undone[0]))

    async def show_dataset(self, request: web.Request) -> web.Response:
        """One published dataset version."""
        version = request.match_info["version"]
        if "\0" in version:  # which PostgreSQL refuses to look for
            raise NotFound("There is no such dataset version.")
        return await self._answer(lambda connection: views.dataset(connection, version))

    async def export(self, request: web.Request) -> web.StreamResponse:
        """The accepted dataset in another tool's format."""
        wanted = request.query.get("format", "imagefolder")
        database, blobs = self._ledger.database, self._ledger.blobs
        formats: dict[str, tuple[str, Callable[[], AsyncIterator[bytes]]]] = {
            "imagefolder": ("evenskin.tar", lambda: exports.imagefolder(database, blobs)),
            "labelstudio": ("evenskin-labelstudio.json", lambda: exports.label_studio(database)),
            "coco": ("evenskin-coco.json", lambda: exports.coco(database)),
            "csv": ("evenskin.csv", lambda: exports.table(database)),
        }
        if wanted not in formats:
            raise InvalidRequest(
                f"'{wanted[:40]}' is not an export format.", advice=f"Use one of: {', '.join(formats)}."
            )
        name, chunks = formats[wanted]
        headers = {"Content-Type": EXPORTS[wanted], "Content-Disposition": f'attachment; filename="{name}"'}
        stream = chunks()
        first = await anext(stream, b"")  # what is wrong from the start is still a problem document
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        try:
            await response.write(first)
            async for chunk in stream:
                await response.write(chunk)
            await response.write_eof()
        except EvenskinError as error:
            log.warning("export_cut_off", format=wanted, error=error.message)
            if request.transport is not None:
                request.transport.abort()  # not a whole file: the reader must not take it for one
        return response

    async def list_models(self, _: web.Request) -> web.Response:
        """Every model, and which one is live."""
        live = await read_live(self._ledger.blobs)
        return await self._answer(lambda connection: views.models(connection, live))

    async def promote(self, request: web.Request) -> web.Response:
        """Serve this version from now on, by an operator's decision."""
        asked = parsed(PromotionRequest, await json_body(request) if request.can_read_body else {})
        return await self._promote(request.match_info["version"], asked.reason or "promoted by an operator")

    async def roll_back(self, _: web.Request) -> web.Response:
        """Serve the version that was live before."""
        live = await read_live(self._ledger.blobs)
        if live is None or live.previous is None:
            raise NotFound("There is no earlier model to go back to.")
        return await self._promote(live.previous, f"rolled back from {live.version}")

    async def _promote(self, version: str, reason: str) -> web.Response:
        card = await _card(self._ledger.blobs, version)
        live = await make_live(self._ledger.blobs, version=card.version, sha256=card.sha256, reason=reason)
        event = ModelPromoted(
            version=live.version, key=live.key, sha256=live.sha256, promoted_at=live.promoted_at, reason=live.reason
        )

        async def tell(transaction: Transaction) -> None:
            transaction.emit(Message(event, outbox.SOURCE))

        await self._ledger.change(tell)
        return document_response(views.live_model(live), 202)

    async def list_dead_letters(self, request: web.Request) -> web.Response:
        """Messages that were given up."""
        letters = await self._bus.dead_letters(_queue(request.query.get("queue")))
        listed = tuple(DeadLetterDocument(**vars(letter)) for letter in letters)
        return document_response(DeadLetterList(dead_letters=listed))

    async def replay_dead_letters(self, request: web.Request) -> web.Response:
        """Send dead letters to their queues again: `{"queue": …}`, or all."""
        asked = parsed(ReplayRequest, await json_body(request) if request.can_read_body else {})
        return document_response(Replayed(replayed=await self._bus.replay(_queue(asked.queue))))


def _refused(named: Any, error: EvenskinError) -> ReviewResult:
    return ReviewResult(image_id=named, ok=False, problem=problem_of(error))


def _rebalance_of_query(request: web.Request) -> RebalanceRequested:
    query = request.query
    document: dict[str, Any] = {}
    if "target_per_condition" in query:
        document["target_per_condition"] = _number(query["target_per_condition"], "target_per_condition", 0)
    if query.get("conditions"):
        document["conditions"] = query["conditions"].split(",")
    if query.get("targets"):
        pairs = (pair.partition(":") for pair in query["targets"].split(","))
        document["targets"] = {name: _number(value, f"targets {name}", 0) for name, _, value in pairs}
    if "max_attempts" in query:
        document["max_attempts"] = _number(query["max_attempts"], "max_attempts", 1)
    return parsed(RebalanceRequested, document)


def _number(text: str | None, name: str, default: int) -> int:
    try:
        number = default if text is None else int(text)
    except ValueError:
        raise InvalidRequest(f"'{name}' is not a whole number.") from None
    if abs(number) > MAX_NUMBER:
        raise InvalidRequest(f"'{name}' is too large a number.")
    return number


def _cursor(request: web.Request) -> int:
    """Where the last page ended. Raises InvalidRequest."""
    cursor = _number(request.query.get("cursor"), "cursor", 0)
    if cursor < 0:
        raise InvalidRequest("'cursor' is none that a page has told.")
    return cursor


def _limit(request: web.Request) -> int:
    """How many things one answer lists. Raises InvalidRequest."""
    limit = _number(request.query.get("limit"), "limit", PAGE)
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"'limit' must be from 1 to {MAX_PAGE}.")
    return limit


def _member(kind: type[E], text: str | None, name: str) -> E | None:
    try:
        return kind(text) if text else None
    except ValueError:
        raise InvalidRequest(f"'{text}' is not a {name}.", advice=f"Use one of: {', '.join(kind)}.") from None


def _queue(name: str | None) -> str | None:
    """A consumer queue, or None for all. Raises NotFound."""
    if name is None:
        return None
    if name not in known_queues():
        raise NotFound(f"There is no queue '{name[:80]}'.", advice=f"Use one of: {', '.join(known_queues())}.")
    return name


def _uuid(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise NotFound(f"'{request.match_info['id'][:60]}' is not an id.") from None


def _cached(request: web.Request, data: bytes, media_type: str, tag: str) -> web.Response:
    """An answer that never changes: the browser may keep it."""
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, max-age=31536000, immutable"}
    if any(match.value in (tag, "*") for match in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=data, content_type=media_type, headers=headers)


async def _card(blobs: Blobs, version: str) -> ModelCard:
    try:
        blob = await blobs.get(card_key(version))
    except (BlobNotFound, InvalidRequest):
        raise NotFound(f"There is no model '{version}'.", advice="List them with GET /v1/models.") from None
    return ModelCard.model_validate_json(blob.data)
