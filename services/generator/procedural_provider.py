"""The procedural provider: draws stand-in faces here, for nothing, so that the loop can be tried without a key."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

from services.generator.procedural.draw import draw
from services.generator.prompts import prompt_of
from services.generator.provider import Order, Picture, Turn

MODEL = "evenskin-procedural-1"
SIZE = 512  # pixels of a side


def seed_of(image_id: object) -> int:
    """The seed of an image's drawing: the same id draws the same picture."""
    return int.from_bytes(hashlib.sha256(str(image_id).encode()).digest()[:8], "big")


class ProceduralProvider:
    """Draws in threads: the drawing's time is spent in OpenCV and NumPy, which release the interpreter lock."""

    name = "procedural"

    def __init__(self, *, threads: int, images_per_minute: float | None = None) -> None:
        self.concurrency = threads
        self.images_per_minute = images_per_minute
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="draw")

    async def generate(self, order: Order, turn: Turn) -> Picture:
        """Draw the order's face; deterministic by image id."""
        await turn()
        labels = {order.condition: order.severity}
        loop = asyncio.get_running_loop()
        data = await loop.run_in_executor(self._pool, draw, labels, order.subject, seed_of(order.image_id), SIZE)
        return Picture(data, prompt_of(order), MODEL, cost_usd=0.0, calls=0)

    async def close(self) -> None:
        """Wait for drawings at work."""
        await asyncio.to_thread(self._pool.shutdown)
