"""The model-server's handlers: one coroutine per event, and their table at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.model_server.models import ModelHolder
from shared.events import Event, ModelPromoted
from shared.message import Message
from shared.model_card import LiveModel


async def serve_promoted_model(models: ModelHolder, message: Message) -> None:
    """ModelPromoted: swap to the promoted model. If it cannot be served, log that and keep the model before it."""
    event = message.event
    assert isinstance(event, ModelPromoted)
    await models.promote(LiveModel.model_validate(event.model_dump()))


HANDLERS: dict[type[Event], Callable[[ModelHolder, Message], Awaitable[None]]] = {
    ModelPromoted: serve_promoted_model,
}
