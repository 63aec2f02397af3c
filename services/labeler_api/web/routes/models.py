"""Models: listed, promoted and rolled back."""

from __future__ import annotations

import json

from aiohttp import web

from services.labeler_api.ledger import outbox
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.web import views
from services.labeler_api.web.routes.base import Routes
from services.labeler_api.webhooks import telling
from shared.blobs import Blobs
from shared.documents.requests import PromotionRequest
from shared.errors import BlobNotFound, InvalidRequest, NotFound
from shared.events import ModelPromoted
from shared.http import document_response, json_body, parsed
from shared.live_model import LivePointer, make_live, put_back, read_live, read_pointer
from shared.message import Message
from shared.model_card import MODEL_FILES, MODELS, ModelCard, card_key, fp32_key, model_key


class ModelRoutes(Routes):
    """`/v1/models`."""

    def configure(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/v1/models", self.list)
        app.router.add_get("/v1/models/{version}/files/{name}", self.show_file)
        app.router.add_post("/v1/models/rollback", self.roll_back)
        app.router.add_post("/v1/models/{version}/promotions", self.promote)

    async def list(self, _: web.Request) -> web.Response:
        """Every model, and which one is live."""
        live = await read_live(self._ledger.blobs)
        stored = {blob.key async for blob in self._ledger.blobs.list(MODELS)}
        return await self._answer(lambda connection: views.models(connection, live, stored))

    async def show_file(self, request: web.Request) -> web.Response:
        """The ONNX file, the card or the evaluation of a version, byte for byte."""
        version, name = request.match_info["version"], request.match_info["name"]
        if name not in MODEL_FILES:
            raise NotFound(f"A model has no file '{name[:80]}'.", advice=f"There are: {', '.join(MODEL_FILES)}.")
        blobs = self._ledger.blobs
        card = await _card_file(blobs, version)
        if name == "card.json":
            return web.Response(body=card, content_type=MODEL_FILES[name])
        keys = {"model.onnx": model_key(version), "model-fp32.onnx": fp32_key(version)}
        key = keys.get(name) or json.loads(card).get("evaluation")
        try:
            found = None if key is None else (await blobs.get(key)).data
        except BlobNotFound:
            found = None
        if found is None:
            raise _gone(version, name)
        return web.Response(body=found, content_type=MODEL_FILES[name])

    async def promote(self, request: web.Request) -> web.Response:
        """Serve this version from now on, by an operator's decision."""
        asked = parsed(PromotionRequest, await json_body(request) if request.can_read_body else {})
        return await self._promote(request.match_info["version"], asked.reason or "promoted by an operator")

    async def roll_back(self, _: web.Request) -> web.Response:
        """Serve the version that was live before."""
        pointer = await read_pointer(self._ledger.blobs)
        live = pointer.live
        if live is None or live.previous is None:
            raise NotFound("There is no earlier model to go back to.")
        return await self._promote(live.previous, f"rolled back from {live.version}", pointer)

    async def _promote(self, version: str, reason: str, replacing: LivePointer | None = None) -> web.Response:
        blobs = self._ledger.blobs
        card = ModelCard.model_validate_json(await _card_file(blobs, version))
        if await blobs.head(card.key) is None:
            raise _gone(version, "model.onnx")
        before = replacing or await read_pointer(blobs)
        live = await make_live(blobs, version=card.version, sha256=card.sha256, reason=reason, replacing=before)
        if await blobs.head(card.key) is None:  # a trainer that did not see it live yet removed it meanwhile
            await put_back(blobs, live, before)
            raise _gone(version, "model.onnx")
        event = ModelPromoted(**live.model_dump(include=set(ModelPromoted.model_fields)))

        async def tell(transaction: Transaction) -> None:
            transaction.emit(Message(event, outbox.SOURCE))
            telling.tell(transaction, event, self._ledger.settings)

        await self._ledger.change(tell)
        return document_response(views.live_model(live), 202)


async def _card_file(blobs: Blobs, version: str) -> bytes:
    try:
        return (await blobs.get(card_key(version))).data
    except (BlobNotFound, InvalidRequest):
        raise NotFound(f"There is no model '{version}'.", advice="List them with GET /v1/models.") from None


def _gone(version: str, name: str) -> NotFound:
    return NotFound(
        f"The store has no '{name}' of model '{version}'.",
        advice="An old model's file is removed after a training (EVENSKIN_MODELS_KEPT); a backup may have it.",
    )
