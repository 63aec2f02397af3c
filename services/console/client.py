"""HTTP clients of the labeler-api and the model-server: typed answers, and our own errors.

A problem document becomes the EvenskinError it was made from, with the same code, status and advice; no
answer at all becomes ServiceUnreachable. The documents are those of `shared.documents`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import ValidationError

from shared.documents.agreement import AgreementDocument
from shared.documents.balance import Balance
from shared.documents.base import Document
from shared.documents.dead_letters import DeadLetterDocument, DeadLetterList, Replayed
from shared.documents.images import ImageDetail, ImagePage, ReviewResult, ReviewResults
from shared.documents.models import LiveModelDocument, Models, ServedModel
from shared.documents.operations import Health
from shared.documents.predictions import PictureAnswer, Prediction, PredictionBatch
from shared.documents.problems import Problem
from shared.documents.rebalances import Campaign, CampaignList, PlanDocument
from shared.errors import ConfigurationError, EvenskinError, ServiceUnreachable
from shared.events import CampaignChange
from shared.taxonomy import Fold
from shared.tracing import Span, outgoing_headers

CONNECT_S = 5.0  # seconds to a connection: services are near
ANSWER_S = 120.0  # seconds to a whole answer: a plan or an upload on a loaded machine
SILENCE_S = 60.0  # seconds without a byte of a stream; the server sends keep-alives more often
LOST_STREAMS = 5  # connections lost in a row, after which a watcher gives up
MAX_EVENT_BYTES = 4 * 1024 * 1024  # bytes of one streamed document

Query = Mapping[str, str | int | float | None]
HeatmapKind = Literal["grid", "overlay"]
"""A small grey map, or a larger one in colours to be laid over the picture."""
D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Download:
    """A file being answered: its media type, the name the server gives it, its bytes as they come."""

    content_type: str
    filename: str | None
    chunks: AsyncIterator[bytes]


class _Client:
    """One server; an async context manager that holds the connections.

    `session`: connections of the caller's own, which stay open; absent: new ones, closed at the end.
    """

    service = "The service"

    def __init__(self, url: str, *, api_key: str | None = None, session: aiohttp.ClientSession | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"'{url}' is not the address of a service.", advice="Write it as http://host:port."
            )
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session = session
        self._owns_session = session is None

    async def __aenter__(self) -> Self:
        if self._owns_session:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_S, connect=None, sock_connect=CONNECT_S)
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owns_session and self._session is not None:
            await self._session.close()
            self._session = None

    @contextlib.asynccontextmanager
    async def _answer(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, if it is a good one; transport errors while it is read become ours as well."""
        if self._session is None:
            raise RuntimeError("Use the client as an async context manager.")
        try:
            # Only until the answer begins: a stream is read on by whoever asks for the next piece, in any task.
            with Span(f"{method} {self.service}", kind="client") as span:
                headers = {**self._headers, **options.pop("headers", {}), **outgoing_headers()}
                response = await self._session.request(method, self.url + path, headers=headers, **options)
                span.note("http.response.status_code", response.status)
            async with response:
                if response.status >= 400:
                    raise problem_error(response.status, await response.read())
                yield response
        except aiohttp.InvalidURL as error:
            raise ConfigurationError(
                f"'{self.url}' is not the address of a service.", advice="Write it as http://host:port."
            ) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceUnreachable(
                f"{self.service} at {self.url} does not answer: {_reason(error)}.",
                advice="Start it with `evenskin serve all`, or say where it is.",
            ) from error

    async def _document(self, kind: type[D], method: str, path: str, query: Query | None = None, **options: Any) -> D:
        """The document that a request is answered with."""
        params = {key: str(value) for key, value in (query or {}).items() if value is not None}
        async with self._answer(method, path, params=params, **options) as response:
            return parsed(kind, await response.read(), response.status)

    async def healthy(self, *, timeout_s: float = 2.0) -> bool:
        """Whether the process at this address answers at all."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._document(Health, "GET", "/healthz")
        except (EvenskinError, TimeoutError):
            return False
        return True


class LabelerClient(_Client):
    """The labeler-api: the ledger, campaigns, exports, models and dead letters."""

    service = "The labeler-api"

    async def balance(self) -> Balance:
        """How many images every condition has, by state and severity."""
        return await self._document(Balance, "GET", "/v1/balance")

    async def plan(
        self,
        *,
        target_per_condition: int | None = None,
        conditions: tuple[str, ...] | None = None,
        targets: Mapping[str, int] | None = None,
        max_attempts: int | None = None,
    ) -> PlanDocument:
        """What a rebalance would generate and cost: a dry run."""
        query: Query = {
            "target_per_condition": target_per_condition,
            "conditions": ",".join(conditions) if conditions else None,
            "targets": ",".join(f"{name}:{number}" for name, number in targets.items()) if targets else None,
            "max_attempts": max_attempts,
        }
        return await self._document(PlanDocument, "GET", "/v1/plan", query)

    async def rebalance(self, request: Mapping[str, Any]) -> Campaign:
        """Start a campaign; `request` is the data of RebalanceRequested."""
        return await self._document(Campaign, "POST", "/v1/rebalances", json=dict(request))

    async def campaigns(self, limit: int | None = None) -> tuple[Campaign, ...]:
        """The latest campaigns, the newest first, without the history of their trainings."""
        return (await self._document(CampaignList, "GET", "/v1/rebalances", {"limit": limit})).rebalances

    async def campaign(self, campaign_id: str) -> Campaign:
        """One campaign. Raises NotFound."""
        return await self._document(Campaign, "GET", f"/v1/rebalances/{quote(campaign_id, safe='')}")

    async def change_campaign(self, campaign_id: str, change: CampaignChange, *, reason: str | None) -> Campaign:
        """Pause, resume or cancel a campaign. Raises NotFound, Conflict where it has ended."""
        path = f"/v1/rebalances/{quote(campaign_id, safe='')}/{change}"
        return await self._document(Campaign, "POST", path, json={} if reason is None else {"reason": reason})

    async def stream_campaign(self, campaign_id: str) -> AsyncGenerator[Campaign]:
        """The campaign's document at every change, over one connection, until the server ends it."""
        path = f"/v1/rebalances/{quote(campaign_id, safe='')}/stream"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        async with self._answer("GET", path, timeout=timeout, headers={"Accept": "text/event-stream"}) as response:
            async for data in server_sent_data(response.content.iter_any()):
                yield parsed(Campaign, data, response.status)

    async def watch_campaign(self, campaign_id: str, *, pause_s: float = 1.0) -> AsyncGenerator[Campaign]:
        """The campaign's document at every change, for as long as the caller asks; connects again when cut off."""
        lost = 0
        while True:
            try:
                async with contextlib.aclosing(self.stream_campaign(campaign_id)) as stream:
                    async for document in stream:
                        lost = 0
                        yield document
            except ServiceUnreachable:
                lost += 1
                if lost >= LOST_STREAMS:
                    raise
            await asyncio.sleep(pause_s)

    async def add_image(
        self,
        data: bytes,
        *,
        filename: str,
        labels: Mapping[str, str | None],
        complete: bool = True,
        skin_tone: int | None = None,
        group: str | None = None,
        fold: Fold | None = None,
        update: bool = False,
    ) -> tuple[ImageDetail, bool]:
        """Bring in one picture; the second value says whether it is new. `fold`: its own, if it becomes a root.

        Raises the ImageError that refused it; LabelsDiffer where it is there with other labels, unless this is an
        `update`; GroupDiffers, NearDuplicate.
        """
        form = aiohttp.FormData()
        form.add_field("labels", json.dumps(dict(labels)))
        form.add_field("complete", "true" if complete else "false")
        if skin_tone is not None:
            form.add_field("skin_tone", str(skin_tone))
        if group is not None:
            form.add_field("group", group)
        if fold is not None:
            form.add_field("fold", fold.value)
        if update:
            form.add_field("update", "true")
        form.add_field("file", data, filename=filename, content_type="application/octet-stream")
        async with self._answer("POST", "/v1/images", data=form) as response:
            return parsed(ImageDetail, await response.read(), response.status), response.status == 201

    async def images(
        self,
        *,
        status: str | None = None,
        condition: str | None = None,
        severity: str | None = None,
        skin_tone: int | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> ImagePage:
        """One page of images; `next_cursor` leads to the next one."""
        query: Query = {
            "status": status,
            "condition": condition,
            "severity": severity,
            "skin_tone": skin_tone,
            "cursor": cursor,
            "limit": limit,
        }
        return await self._document(ImagePage, "GET", "/v1/images", query)

    async def review(self, reviews: Sequence[Mapping[str, Any]]) -> tuple[ReviewResult, ...]:
        """Verdicts on many images, at most `MAX_BATCH`; a result for each, in their order."""
        sent = {"reviews": [dict(review) for review in reviews]}
        return (await self._document(ReviewResults, "POST", "/v1/reviews", json=sent)).results

    async def image_content(self, image_id: str) -> bytes:
        """The original's bytes as they came. Raises NotFound."""
        async with self._answer("GET", f"/v1/images/{quote(image_id, safe='')}/content") as response:
            return await response.read()

    async def image_thumbnail(self, image_id: str) -> bytes:
        """A small upright copy of a picture, as WebP. Raises NotFound, BlobNotFound, the ImageError of its bytes."""
        async with self._answer("GET", f"/v1/images/{quote(image_id, safe='')}/thumbnail") as response:
            return await response.read()

    @contextlib.asynccontextmanager
    async def export(self, format: str, *, annotators: bool = False) -> AsyncIterator[Download]:
        """The dataset in a format others read, while it is being sent. `annotators`: see `GET /v1/export`."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        params = {"format": format, **({"annotators": "true"} if annotators else {})}
        async with self._answer("GET", "/v1/export", params=params, timeout=timeout) as response:
            disposition = response.content_disposition
            filename = disposition.filename if disposition is not None else None
            yield Download(response.content_type, filename, response.content.iter_chunked(1 << 18))

    async def models(self) -> Models:
        """Every model version, and which one is live."""
        return await self._document(Models, "GET", "/v1/models")

    async def model_file(self, version: str, name: str) -> bytes:
        """A file of a version: one of `shared.model_card.MODEL_FILES`. Raises NotFound."""
        async with self._answer(
            "GET", f"/v1/models/{quote(version, safe='')}/files/{quote(name, safe='')}"
        ) as response:
            return await response.read()

    async def promote(self, version: str, *, reason: str) -> LiveModelDocument:
        """Serve this version from now on. Raises NotFound."""
        path = f"/v1/models/{quote(version, safe='')}/promotions"
        return await self._document(LiveModelDocument, "POST", path, json={"reason": reason})

    async def rollback(self) -> LiveModelDocument:
        """Serve the version that was live before. Raises Conflict where there is none."""
        return await self._document(LiveModelDocument, "POST", "/v1/models/rollback", json={})

    async def agreement(self) -> AgreementDocument:
        """How far reviewers agree."""
        return await self._document(AgreementDocument, "GET", "/v1/reviews/agreement")

    async def dead_letters(self, queue: str | None = None) -> tuple[DeadLetterDocument, ...]:
        """What was given up, oldest first."""
        return (await self._document(DeadLetterList, "GET", "/v1/dead-letters", {"queue": queue})).dead_letters

    async def replay(self, queue: str | None = None) -> int:
        """Send dead letters back to their queues; how many."""
        wanted = {"queue": queue} if queue else {}
        return (await self._document(Replayed, "POST", "/v1/dead-letters/replay", json=wanted)).replayed


class ModelClient(_Client):
    """The model-server, for the command line and for an app's own backend.

    Every call raises Unauthorized, Overloaded (ask again in a moment), NoModel and ServiceUnreachable.
    """

    service = "The model-server"

    async def predict(self, data: bytes, *, filename: str = "selfie", heatmap: HeatmapKind | None = None) -> Prediction:
        """What the live model sees in an encoded picture. Raises the ImageError that refused it."""
        form = aiohttp.FormData()
        _add_picture(form, data, filename)
        return await self._document(Prediction, "POST", "/v1/predictions", {"heatmap": heatmap}, data=form)

    async def predict_batch(
        self, pictures: Sequence[bytes], *, heatmap: HeatmapKind | None = None
    ) -> tuple[Prediction | EvenskinError, ...]:
        """What one model sees in each of at most `BATCH_PICTURES` encoded pictures, in their order.

        A picture that is refused has its ImageError in its place. Raises InvalidRequest for none, or for more than the
        server takes at a time.
        """
        form = aiohttp.FormData(default_to_multipart=True)
        for data in pictures:
            _add_picture(form, data, "selfie")
        batch = await self._document(PredictionBatch, "POST", "/v1/predictions/batch", {"heatmap": heatmap}, data=form)
        return tuple(_told(picture) for picture in batch.pictures)

    async def served_model(self) -> ServedModel:
        """The model in service and what its card says."""
        return await self._document(ServedModel, "GET", "/v1/model")

    async def served_version(self) -> str:
        """The version of the model in service."""
        return (await self.served_model()).version


def _add_picture(form: aiohttp.FormData, data: bytes, filename: str) -> None:
    form.add_field("image", data, filename=filename, content_type="application/octet-stream")


def _told(picture: PictureAnswer) -> Prediction | EvenskinError:
    if picture.prediction is not None:
        return picture.prediction
    return _unexpected(200) if picture.problem is None else _error_of(picture.problem.json_object())


def parsed(kind: type[D], body: bytes | str, status: int) -> D:
    """The document in an answer's body. Raises EvenskinError `unexpected_answer` where it is another or none."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _unexpected(status) from error


def problem_error(status: int, body: bytes) -> EvenskinError:
    """The error that a server's answer tells of: our own class where the code is ours."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "code" not in document:
        return _unexpected(status)
    return _error_of({**document, "status": status})


def _error_of(document: Mapping[str, Any]) -> EvenskinError:
    """The error that a problem document with its `status` tells of."""
    code, status = str(document["code"]), document["status"]
    message = str(document.get("detail") or document.get("title") or code)
    details = {key: value for key, value in document.items() if key not in (*Problem.model_fields, "message")}
    error = _class_of(code)(message, advice=str(document.get("advice", "")), **details)
    error.code, error.status = code, status
    return error


async def server_sent_data(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The data of every server-sent event, as the HTML standard reads them; comments are passed over."""
    buffer, data = b"", []
    async for chunk in chunks:
        buffer += chunk
        if len(buffer) > MAX_EVENT_BYTES:
            raise _unexpected(200)
        *lines, buffer = buffer.replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" ").decode())
            elif not line and data:
                yield "\n".join(data)
                data = []


def _class_of(code: str) -> type[EvenskinError]:
    waiting = [EvenskinError]
    while waiting:
        candidate = waiting.pop()
        if candidate.code == code:
            return candidate
        waiting.extend(candidate.__subclasses__())
    return EvenskinError


def _unexpected(status: int) -> EvenskinError:
    error = EvenskinError(
        f"The server answered {status}, and not as evenskin's services do.",
        advice="Check that the address is that of the service.",
    )
    error.code, error.status = "unexpected_answer", 502
    return error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or "no connection"
    return str(error) or type(error).__name__
