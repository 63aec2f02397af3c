"""Images: brought in, listed, shown, and their bytes."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

from aiohttp import web

from services.labeler_api.campaigns import imports
from services.labeler_api.ledger.ledger import Ledger
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.pictures import framing, intake
from services.labeler_api.pictures.images import Status
from services.labeler_api.pictures.thumbnail import DECODED_SIDE, thumbnail
from services.labeler_api.web import views
from services.labeler_api.web.guard import said_by
from services.labeler_api.web.routes.base import Routes, cursor, id_in_path, limit, member, truth
from shared.documents.requests import FrameCorrection
from shared.errors import BlobNotFound, InvalidRequest, PreconditionFailed, StoreUnavailable
from shared.http import json_body, parsed
from shared.taxonomy import MONK_TONES, parse_condition, parse_severity
from shared.uploads import UploadPlaces, reading_upload


class ImageRoutes(Routes):
    """`/v1/images`."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._places = UploadPlaces(ledger.settings.max_uploads)

    def configure(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/v1/images", self.add)
        app.router.add_get("/v1/images", self.list)
        app.router.add_get("/v1/images/{id}", self.show)
        app.router.add_put("/v1/images/{id}/frame", self.correct_frame)
        app.router.add_get("/v1/images/{id}/content", self.show_content)
        app.router.add_get("/v1/images/{id}/thumbnail", self.show_thumbnail)

    async def add(self, request: web.Request) -> web.Response:
        """Bring in a picture with its labels."""
        with self._places.taken():
            async with reading_upload(self._ledger.settings.upload_timeout_s):
                form = await intake.read_form(request)
            incoming = await intake.take_in(self._ledger, form)
            image_id, new = await imports.bring_in(self._ledger, incoming)
        return await self._answer(lambda connection: views.image(connection, image_id), status=201 if new else 200)

    async def list(self, request: web.Request) -> web.Response:
        """A page of images."""
        query = request.query
        status = member(Status, query.get("status"), "status")
        condition = parse_condition(query["condition"]) if query.get("condition") else None
        severity = parse_severity(query["severity"]) if query.get("severity") else None
        tone = query.get("skin_tone")
        if tone and tone not in map(str, MONK_TONES):
            raise InvalidRequest("'skin_tone' is not a step of the Monk scale.", advice="Use 1 to 10.")
        awaiting = query.get("awaiting") or None
        if awaiting is not None and "\0" in awaiting:  # which PostgreSQL refuses to look for
            raise InvalidRequest("'awaiting' is no reviewer's name.")
        disputed = truth(request, "disputed")
        start, count = cursor(request), limit(request)
        return await self._answer(
            lambda connection: views.image_list(
                connection,
                status=status,
                condition=condition,
                severity=severity,
                tone=int(tone) if tone else None,
                awaiting=awaiting,
                disputed=disputed,
                cursor=start,
                limit=count,
            )
        )

    async def show(self, request: web.Request) -> web.Response:
        """One image."""
        image_id = id_in_path(request)
        return await self._answer(lambda connection: views.image(connection, image_id))

    async def correct_frame(self, request: web.Request) -> web.Response:
        """The square that models are to see of an image."""
        image_id = id_in_path(request)
        said = parsed(FrameCorrection, said_by(request, await json_body(request)))

        async def apply(transaction: Transaction) -> None:
            await framing.correct(transaction, image_id, said)

        await self._ledger.change(apply)
        return await self._answer(lambda connection: views.image(connection, image_id))

    async def show_content(self, request: web.Request) -> web.StreamResponse:
        """The picture as it came."""
        row = await self._row(request)
        data = (await self._ledger.blobs.get(row["key"])).data
        return _cached(request, data, row["media_type"], row["sha256"])

    async def show_thumbnail(self, request: web.Request) -> web.StreamResponse:
        """A small, upright copy as WebP."""
        row = await self._row(request)
        key = f"images/{row['id']}/thumbnail.webp"
        try:
            data = (await self._ledger.blobs.get(key)).data
        except BlobNotFound:
            original = (await self._ledger.blobs.get(row["key"])).data
            data = await self._ledger.admission.run(original, partial(thumbnail, original), min_side=DECODED_SIDE)
            # Kept for the next time; a picture can be looked at without that.
            with contextlib.suppress(PreconditionFailed, StoreUnavailable):
                await self._ledger.blobs.put(key, data, content_type="image/webp", if_absent=True)
        return _cached(request, data, "image/webp", f"{row['sha256']}-thumbnail")

    async def _row(self, request: web.Request) -> dict[str, Any]:
        async with self._ledger.database.reading() as connection:
            return await views.image_row(connection, id_in_path(request))


def _cached(request: web.Request, data: bytes, media_type: str, tag: str) -> web.Response:
    """An answer that never changes: the browser may keep it."""
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, max-age=31536000, immutable"}
    if any(match.value in (tag, "*") for match in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=data, content_type=media_type, headers=headers)
