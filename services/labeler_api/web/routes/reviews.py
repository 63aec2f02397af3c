"""Reviews: a verdict on one image or many, and taking the last one back."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from aiohttp import web

from services.labeler_api.campaigns import reviews
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.web import views
from services.labeler_api.web.agreement import agreement
from services.labeler_api.web.guard import said_by
from services.labeler_api.web.routes.base import Routes, id_in_path
from shared.documents.images import ReviewResult, ReviewResults
from shared.documents.problems import ReviewProblem, problem_of
from shared.documents.requests import MAX_BATCH, Review, UndoRequest
from shared.errors import EvenskinError, InvalidRequest
from shared.http import document_response, json_body, parsed


class ReviewRoutes(Routes):
    """`/v1/images/{id}/reviews` and `/v1/reviews`."""

    def configure(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/v1/images/{id}/reviews", self.review)
        app.router.add_post("/v1/reviews", self.review_many)
        app.router.add_post("/v1/reviews/undo", self.undo)
        app.router.add_get("/v1/reviews/agreement", self.agreement)

    async def review(self, request: web.Request) -> web.Response:
        """A verdict on one image."""
        image_id = id_in_path(request)
        await self._review(image_id, said_by(request, await json_body(request)))
        return await self._answer(lambda connection: views.image(connection, image_id), status=201)

    async def _review(self, image_id: UUID, body: dict[str, Any]) -> None:
        said = parsed(Review, body)

        async def apply(transaction: Transaction) -> None:
            await reviews.review(transaction, image_id, said, None, self._ledger.settings)

        await self._ledger.change(apply)

    async def review_many(self, request: web.Request) -> web.Response:
        """Verdicts on many images: `{"reviews": [{"image_id": …, "verdict": …, …}]}`; each has its own result."""
        body = await json_body(request)
        items = body.get("reviews")
        if not isinstance(items, list) or not 1 <= len(items) <= MAX_BATCH:
            raise InvalidRequest(f"'reviews' must be a list of 1 to {MAX_BATCH} reviews.")
        results = [await self._review_item(request, item) for item in items]
        status = 201 if all(result.ok for result in results) else 207
        return document_response(ReviewResults(results=tuple(results)), status)

    async def _review_item(self, request: web.Request, item: Any) -> ReviewResult:
        named = item.get("image_id") if isinstance(item, dict) else None
        try:
            image_id = UUID(str(named))
        except ValueError:
            return _refused(named, InvalidRequest("'image_id' is not an image's id."))
        try:
            said = {key: value for key, value in item.items() if key != "image_id"}
            await self._review(image_id, said_by(request, said))
        except EvenskinError as error:
            return _refused(named, error)
        return ReviewResult(image_id=named, ok=True)

    async def undo(self, request: web.Request) -> web.Response:
        """Take back the last review of `{"reviewer": …}`, or the one with its `key`."""
        said = parsed(UndoRequest, said_by(request, await json_body(request)))
        undone: list[UUID] = []

        async def apply(transaction: Transaction) -> None:
            undone[:] = [await reviews.undo(transaction, said.reviewer, self._ledger.settings, key=said.key)]

        await self._ledger.change(apply)
        return await self._answer(lambda connection: views.image(connection, undone[0]))

    async def agreement(self, _: web.Request) -> web.Response:
        """How far reviewers agree."""
        return await self._answer(partial(agreement, required=self._ledger.settings.reviews_per_image))


def _refused(named: Any, error: EvenskinError) -> ReviewResult:
    return ReviewResult(image_id=named, ok=False, problem=ReviewProblem(**problem_of(error).json_object()))
