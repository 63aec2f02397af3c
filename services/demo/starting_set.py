"""Draws an unbalanced dataset to start from, into folders that `import` reads.

Every condition's pictures are split over the severities as evenly as can be and walk through the ten Monk
skin tones, the ages, the sexes, the lights and the views. Drawing again draws only what is missing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID, uuid5

from services.generator.procedural_provider import ProceduralProvider
from services.generator.provider import Order
from shared.events import Subject
from shared.taxonomy import MONK_TONES, AgeBand, Condition, Light, Sex, View, derived_id, split_over_severities

UNBALANCED: Mapping[Condition, int] = {
    Condition.ACNE: 122,
    Condition.REDNESS: 66,
    Condition.PORE_SIZE: 66,
    Condition.TEXTURED_SKIN: 70,
    Condition.HYPERPIGMENTATION: 78,
    Condition.FINE_LINES: 126,
    Condition.AGING: 126,
}
"""Originals per condition of the seed dataset, 654 in all: the balance that a rebalance is to mend."""

TARGET = 200  # originals per condition that the rebalance asks for
REBALANCED = (Condition.REDNESS, Condition.PORE_SIZE, Condition.TEXTURED_SKIN, Condition.HYPERPIGMENTATION)
"""The conditions that it is asked for; with TARGET of each, the dataset has 1,174 originals."""


def starting_orders(counts: Mapping[Condition, int], seed: int) -> dict[str, Order]:
    """The orders of all pictures, by their paths below the folder: `<condition>/<severity>/<number>.jpg`."""
    namespace: UUID = derived_id("starting-set", seed)
    found = {}
    for offset, (condition, count) in enumerate(counts.items()):
        number = 0
        for severity, share in split_over_severities(count).items():
            for _ in range(share):
                path = f"{condition}/{severity.label}/{number:04d}.jpg"
                image_id = uuid5(namespace, path)
                found[path] = Order(image_id, condition, severity, subject_at(number + 3 * offset))
                number += 1
    return found


def subject_at(step: int) -> Subject:
    """The subject at a step of the walk: each trait changes at its own pace, so that all combinations come."""
    return Subject(
        skin_tone=MONK_TONES[step % len(MONK_TONES)],
        age_band=tuple(AgeBand)[(step + step // 10) % len(AgeBand)],
        sex=tuple(Sex)[(step + step // 10) % len(Sex)],
        light=tuple(Light)[(step // 3) % len(Light)],
        view=tuple(View)[(step // 2) % len(View)],
    )


async def draw_starting_set(
    counts: Mapping[Condition, int], directory: Path, *, seed: int, processes: int, on_drawn: Callable[[], None]
) -> None:
    """Draw the pictures that `directory` lacks. Calls `on_drawn` for every picture that is there or drawn."""
    provider = ProceduralProvider(processes=processes)
    places = asyncio.Semaphore(2 * processes)
    there = await asyncio.to_thread(lambda: set(directory.rglob("*.jpg")))

    async def draw_one(path: Path, order: Order) -> None:
        if path not in there:
            async with places:
                picture = await provider.generate(order)
                await asyncio.to_thread(_write, path, picture.data)
        on_drawn()

    try:
        async with asyncio.TaskGroup() as group:
            for name, order in starting_orders(counts, seed).items():
                group.create_task(draw_one(directory / name, order), name=f"draw {name}")
    finally:
        await provider.close()


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, so that an interrupted demo leaves no half picture to import."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    os.replace(partial, path)
