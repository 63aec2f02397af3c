"""An in-process bus that delivers everything twice, and a listener that remembers what it hears."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TypeVar

from shared.bus import Bus, Subscription
from shared.embedded.bus import InProcessBus
from shared.events import Event
from shared.message import Message, Wire

E = TypeVar("E", bound=Event)


class TwiceBus(InProcessBus):
    """Delivers every event twice, the second time up to 50 ms later."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._echoes: set[asyncio.Task[None]] = set()

    async def publish_wire(self, wire: Wire) -> None:
        await super().publish_wire(wire)
        echo = asyncio.create_task(self._again(wire, self._random.uniform(0, 0.05)))
        self._echoes.add(echo)
        echo.add_done_callback(self._echoes.discard)

    async def _again(self, wire: Wire, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await super().publish_wire(wire)

    async def close(self) -> None:
        for echo in self._echoes:
            echo.cancel()
        await asyncio.gather(*self._echoes, return_exceptions=True)
        await super().close()


@dataclass
class Listener:
    """Subscribes to events and remembers every message."""

    bus: Bus
    heard: list[Message] = field(default_factory=list)

    async def start(self, *kinds: type[Event]) -> None:
        """Listen to these from now on."""
        for kind in kinds:
            await self.bus.subscribe(Subscription("listener", kind, self._hear))

    async def _hear(self, message: Message) -> None:
        self.heard.append(message)

    def events(self, kind: type[E]) -> list[E]:
        """The events of one kind, without repetitions."""
        once = {message.id: message.event for message in self.heard}
        return [event for event in once.values() if isinstance(event, kind)]
