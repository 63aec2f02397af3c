"""The HTTP API: views that read a request, call, and translate."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from aiohttp import web

from services.model_server.heatmaps import Heatmap
from services.model_server.inference_protocol import INFER_ROUTES, InferenceProtocol
from services.model_server.metrics import ServerMetrics
from services.model_server.models import ModelHolder
from services.model_server.openapi import document
from services.model_server.pool import PredictionPool
from services.model_server.prediction import Pictures, answer_picture
from services.model_server.predictor import Prediction, Predictor
from services.model_server.refusals import paced_refusals
from services.model_server.settings import ModelServerSettings
from services.model_server.shadow import Shadow
from services.model_server.uploads import close_uninvited, read_picture, read_pictures, uninvited
from shared.documents.models import CardSummary, ServedModel
from shared.documents.predictions import PictureAnswer, PortraitProblem, PredictionBatch
from shared.documents.predictions import Prediction as Answer
from shared.errors import EvenskinError, ImageError, ImageTooLarge, InvalidRequest
from shared.http import JSON, add_page_files, document_response
from shared.imaging import Pixels
from shared.model_card import ModelMetadata

PREDICTIONS = "/v1/predictions"
BATCH = "/v1/predictions/batch"
UNLOGGED_ROUTES = (PREDICTIONS, BATCH, *INFER_ROUTES)
STATIC = Path(__file__).parent / "static"

_PRIVATE = {"Cache-Control": "no-store"}
_HEATMAPS = {
    **dict.fromkeys(("1", "true", "yes", "grid"), Heatmap.GRID),
    **dict.fromkeys(("", "0", "false", "no", "none"), Heatmap.NONE),
    "overlay": Heatmap.OVERLAY,
}


class HttpApi:
    """The model-server's views, over the model in service and the pool that predicts."""

    def __init__(
        self,
        models: ModelHolder,
        pool: PredictionPool,
        metrics: ServerMetrics,
        settings: ModelServerSettings,
        pictures: Pictures,
        shadow: Shadow,
    ) -> None:
        self._models = models
        self._pool = pool
        self._metrics = metrics
        self._settings = settings
        self._pictures = pictures
        self._shadow = shadow
        self._document = document(settings)
        self._protocol = InferenceProtocol(models, pool, metrics, settings)

    def configure(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post(PREDICTIONS, self.predict, expect_handler=uninvited)
        app.router.add_post(BATCH, self.predict_batch, expect_handler=uninvited)
        app.middlewares.append(paced_refusals())
        app.on_response_prepare.append(close_uninvited)
        app.router.add_get("/v1/model", self.model)
        app.router.add_get("/openapi.json", self.openapi)
        self._protocol.configure(app)
        app.router.add_get("/", self.page)
        add_page_files(app, STATIC)

    async def predict(self, request: web.Request) -> web.Response:
        """`POST /v1/predictions`: what the model sees in the picture."""
        with self._failure_counted():
            response = await self._predict(request)
        self._metrics.predictions.labels("ok").inc()
        return response

    async def _predict(self, request: web.Request) -> web.Response:
        arrived = time.perf_counter()
        heatmap = heatmap_asked_for(request)
        _ = self._models.served  # without a model nobody uploads in vain
        with self._pool.admitted():
            data = await read_picture(
                request, max_bytes=self._pictures.max_bytes, timeout_s=self._settings.upload_timeout_s
            )
            predictor = self._models.served.predictor  # kept by this request, whatever is promoted meanwhile
            answer = await self._pool.run_on_picture(
                data,
                # Its JSON too is made on a worker's thread: the event loop has the other requests.
                lambda: self._answer(predictor, data, heatmap, arrived).json_text().encode(),
                min_side=self._pictures.first_side(predictor),
            )
        return web.Response(body=answer, headers=_PRIVATE, content_type=JSON)

    async def predict_batch(self, request: web.Request) -> web.Response:
        """`POST /v1/predictions/batch`: what the model sees in each of several pictures."""
        with self._failure_counted():
            return await self._predict_batch(request)

    async def _predict_batch(self, request: web.Request) -> web.Response:
        arrived = time.perf_counter()
        heatmap = heatmap_asked_for(request)
        _ = self._models.served
        with contextlib.ExitStack() as places:  # one for each picture, as if it were sent by itself
            places.enter_context(self._pool.admitted())
            pictures = await read_pictures(
                request,
                max_bytes=self._pictures.max_bytes,
                timeout_s=self._settings.upload_timeout_s,
                most=self._settings.batch_pictures,
                before_next=lambda: places.enter_context(self._pool.admitted()),
            )
            predictor = self._models.served.predictor
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._one_of_batch(p, predictor, heatmap, arrived)) for p in pictures]
            except ExceptionGroup as errors:  # ours, not the pictures': the others ended with it
                raise errors.exceptions[0] from errors
            batch = PredictionBatch(
                model_version=predictor.metadata.version, pictures=tuple(task.result() for task in tasks)
            )
            answer = await self._pool.run(lambda: batch.json_text().encode())
        return web.Response(body=answer, headers=_PRIVATE, content_type=JSON)

    async def _one_of_batch(
        self, data: bytes | ImageTooLarge, predictor: Predictor, heatmap: Heatmap, arrived: float
    ) -> PictureAnswer:
        """The answer about one picture, or why it is refused."""
        try:
            if isinstance(data, ImageTooLarge):
                raise data
            prediction = await self._pool.run_on_picture(
                data,
                partial(self._answer, predictor, data, heatmap, arrived),
                min_side=self._pictures.first_side(predictor),
            )
        except ImageError as error:
            self._metrics.predictions.labels(error.code).inc()
            return PictureAnswer(problem=PortraitProblem.model_validate(error.problem()))
        self._metrics.predictions.labels("ok").inc()
        return PictureAnswer(prediction=prediction)

    def _answer(self, predictor: Predictor, data: bytes, heatmap: Heatmap, arrived: float) -> Answer:
        """The answer about a picture. Called on a worker's thread."""

        def seen(pixels: Pixels, output: Prediction) -> None:
            self._metrics.drift.seen(pixels)
            if self._shadow.is_loaded:
                self._pool.run_later(partial(self._shadow.compare, predictor, pixels, output))

        answer = answer_picture(predictor, data, self._pictures, heatmap=heatmap, arrived=arrived, seen=seen)
        self._metrics.answered(answer)
        return answer

    @contextlib.contextmanager
    def _failure_counted(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._metrics.predictions.labels(_outcome(error)).inc()
            raise

    async def model(self, _: web.Request) -> web.Response:
        """`GET /v1/model`: the model in service and what its card says."""
        served = self._models.served
        card = served.card
        answer = ServedModel(
            version=served.live.version,
            sha256=served.live.sha256,
            promoted_at=served.live.promoted_at,
            reason=served.live.reason,
            loaded_at=served.loaded_at,
            metadata=ModelMetadata(**dict(served.predictor.metadata)),  # every field, also what was left out
            card=None
            if card is None
            else CardSummary(**{name: getattr(card, name) for name in CardSummary.model_fields}),
        )
        return document_response(answer, headers=_PRIVATE)

    async def openapi(self, _: web.Request) -> web.Response:
        """`GET /openapi.json`."""
        return web.json_response(self._document)

    async def page(self, _: web.Request) -> web.StreamResponse:
        """`GET /`: the page to try a selfie on."""
        return web.FileResponse(STATIC / "index.html")


def _outcome(error: BaseException) -> str:
    """What a request that failed so is counted as."""
    if isinstance(error, EvenskinError):
        return error.code
    if isinstance(error, web.HTTPException):
        return f"http_{error.status}"
    return "client_gone" if isinstance(error, asyncio.CancelledError) else "internal_error"


def heatmap_asked_for(request: web.Request) -> Heatmap:
    """The query's `heatmap`. Raises InvalidRequest."""
    asked = request.query.get("heatmap", "").lower()
    if asked not in _HEATMAPS:
        raise InvalidRequest(f"'heatmap' is '{asked[:40]}'.", advice="Use heatmap=1 (or grid), overlay, or 0.")
    return _HEATMAPS[asked]
