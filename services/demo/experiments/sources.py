"""Where an experiment's pictures come from: drawn anew for every seed, or a user's own folder."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from services.console.progress import progress_bars
from services.demo.experiments.arms import condition_of, fitting_scale, kept_apart, needed, scaled
from services.demo.experiments.folder import LabelledFolder, read_labelled
from services.demo.starting_set import draw_starting_set
from shared.cores import usable_cores
from shared.errors import DatasetTooSmall
from shared.manifest import ManifestImage
from shared.taxonomy import Condition

TEST_EACH = 100  # drawn faces of a condition in the test fold, at scale 1
TEST_SEED = 20261127  # of the test fold's drawings
_SEED = 1000  # of the drawings for seed 0; no seed draws what the test fold shows


class Source(Protocol):
    """The pictures of an experiment. All methods give the same again. `encoded`: a directory for files by SHA-256."""

    encoded: Path
    scale: float
    conditions: tuple[Condition, ...]

    def identity(self) -> dict[str, Any]:
        """What the pictures follow from."""
        ...

    def test(self) -> list[ManifestImage]:
        """The test fold of all arms and seeds; nothing in a pool shares a root with it."""
        ...

    def pool(self, seed: int) -> list[ManifestImage]:
        """The pictures that a seed's arms choose from."""
        ...


class DrawnFaces:
    """Faces that are drawn by a program, others for every seed, below `directory`."""

    def __init__(self, directory: Path, scale: float) -> None:
        self.scale = scale
        self.conditions = tuple(Condition)
        self.encoded = directory / "encoded"
        self._directory = directory

    def identity(self) -> dict[str, Any]:
        """What the pictures follow from."""
        return {"pictures": "drawn", "scale": self.scale}

    def test(self) -> list[ManifestImage]:
        """So many of each condition, over its severities."""
        return self._drawn("test", scaled(dict.fromkeys(self.conditions, TEST_EACH), self.scale), TEST_SEED)

    def pool(self, seed: int) -> list[ManifestImage]:
        """As many of each condition as the largest set has."""
        return self._drawn(f"seed-{seed}", needed(self.conditions, self.scale), _SEED + seed)

    def _drawn(self, name: str, counts: Mapping[Condition, int], seed: int) -> list[ManifestImage]:
        directory = self._directory / name
        with progress_bars() as bars:
            task = bars.add_task("drawing faces", total=sum(counts.values()), note=name)
            drawing = draw_starting_set(
                counts, directory, seed=seed, processes=usable_cores(), on_drawn=lambda: bars.advance(task)
            )
            asyncio.run(drawing)
        folder = read_labelled(directory, look_alikes=False)
        folder.link(self.encoded)
        return folder.images


class OwnFolder:
    """A user's own folder, the same for every seed. `left_out`: pictures that show several conditions."""

    def __init__(self, folder: LabelledFolder, encoded: Path) -> None:
        self.encoded = encoded
        folder.link(encoded)
        single = [image for image in folder.images if len(image.labels) <= 1]
        self.left_out = len(folder.images) - len(single)
        self._pool, self._test = kept_apart(single)
        found = [condition_of(image) for image in self._pool]
        there = {condition: found.count(condition) for condition in Condition if condition in found}
        self.scale = fitting_scale(there)
        self.conditions = tuple(there)
        tested = {condition_of(image) for image in self._test}
        for condition in self.conditions:
            if condition not in tested:
                raise DatasetTooSmall(f"The test fold has no '{condition}'.", advice="Add pictures of it.")

    def identity(self) -> dict[str, Any]:
        """What the pictures follow from."""
        digest = hashlib.sha256()
        for image in (*self._pool, *self._test):
            digest.update(f"{image.sha256} {image.root_id} {sorted(image.labels.items())}".encode())
        return {"pictures": digest.hexdigest(), "scale": round(self.scale, 6)}

    def test(self) -> list[ManifestImage]:
        """A fifth of the roots of each condition, and of clear skin."""
        return self._test

    def pool(self, seed: int) -> list[ManifestImage]:
        """All others."""
        return self._pool
