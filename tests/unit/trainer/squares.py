"""A tiny dataset of coloured squares, and the tiny network that learns it in seconds."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
from PIL import Image

from services.trainer.data import pictures_of
from services.trainer.pixel_cache import PixelCache, View
from services.trainer.spec import RunSpec, TrainingConfig
from shared.manifest import ManifestImage, ManifestVariant, dump_manifest
from shared.preprocessing import Preprocessing
from shared.taxonomy import Condition, Fold, Severity, fold_of, imported_image_id

SIDE = 64  # pixels of a stored picture: the smallest that is read
TINY = TrainingConfig(
    seed=3,
    batch_size=16,
    images_seen=400,
    min_epochs=3,
    max_epochs=6,
    input_size=32,
    threads=1,
    model={"scales": 2, "cell": 8, "width": 8, "depth": 1},
)


def drawn(labels: dict[Condition, Severity | None], seed: int) -> bytes:
    """A noisy grey picture; each condition is a square of a colour of its own, larger if more severe."""
    random = np.random.default_rng(seed)
    pixels = random.integers(100, 140, (SIDE, SIDE, 3)).astype(np.uint8)
    for condition, severity in labels.items():
        number = list(Condition).index(condition) + 1
        side = 12 + 6 * int(severity or 2)
        left, top = random.integers(0, SIDE - side, 2)
        pixels[top : top + side, left : left + side] = [255 * (number >> bit & 1) for bit in range(3)]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def plain(labels: dict[Condition, Severity | None], seed: int) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    colour = np.random.default_rng(seed).integers(0, 256, 3)
    Image.new("RGB", (SIDE, SIDE), tuple(map(int, colour))).save(buffer, "PNG")
    return buffer.getvalue()


def cache_of(directory: Path, size: int) -> PixelCache:
    """A cache of middle squares."""
    return PixelCache(directory, View(size, Preprocessing.MIDDLE_3, looks=False))


def flipped(data: bytes) -> bytes:
    """The mirror image, as PNG."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Dataset:
    """A manifest's images, and the bytes of every file they name, by key."""

    images: list[ManifestImage]
    files: dict[str, bytes]

    def add(
        self,
        labels: dict[Condition, Severity | None],
        seed: int,
        *,
        fold: Fold | None = None,
        complete: bool = True,
        provider: str | None = None,
        draw: Callable[[dict[Condition, Severity | None], int], bytes] = drawn,
    ) -> ManifestImage:
        """Draw one more original with its flip."""
        data = draw(labels, seed)
        mirror = flipped(data)
        sha256 = hashlib.sha256(data).hexdigest()
        image_id: UUID = imported_image_id(sha256)
        image = ManifestImage(
            image_id=image_id,
            root_id=image_id,
            key=f"images/{image_id}/original.png",
            sha256=sha256,
            fold=fold or fold_of(image_id),
            labels=labels,
            complete=complete,
            provider=provider,
            variants=(
                ManifestVariant(
                    operation="hflip",
                    key=f"images/{image_id}/flip.png",
                    sha256=hashlib.sha256(mirror).hexdigest(),
                ),
            ),
        )
        self.images.append(image)
        self.files[image.key], self.files[image.variants[0].key] = data, mirror
        return image

    def add_broken(self, fold: Fold, seed: int = 999) -> ManifestImage:
        """One more original, whose file is cut off, with its SHA-256 as the manifest names it."""
        self.add({Condition.ACNE: Severity.MILD}, seed, fold=fold)
        image = self.images.pop()
        data = self.files[image.key][:200]
        broken = image.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
        self.images.append(broken)
        self.files[image.key] = data
        return broken

    def write_encoded(self, directory: Path) -> None:
        """Put every file a run uses where a fetch would have put it."""
        directory.mkdir(parents=True, exist_ok=True)
        for image in self.images:
            for picture in pictures_of(image):
                (directory / picture.sha256).write_bytes(self.files[picture.key])

    def spec(self, directory: Path, config: TrainingConfig = TINY, name: str = "run") -> RunSpec:
        """Lay everything out that the worker reads; cache and files are shared by the runs of a test."""
        run_dir = directory / name
        run_dir.mkdir(parents=True, exist_ok=True)
        manifest = run_dir / "manifest.jsonl"
        manifest.write_bytes(dump_manifest(self.images))
        self.write_encoded(directory / "encoded")
        return RunSpec(
            run_id=name,
            version=f"v-{name}",
            dataset_version="d1",
            manifest=manifest,
            encoded=directory / "encoded",
            cache=directory / "cache",
            run_dir=run_dir,
            config=config,
        )


def dataset_of(each: int, conditions: Sequence[Condition] = tuple(Condition)) -> Dataset:
    """`each` originals per condition, over the severities in turn, in the folds that their ids give."""
    dataset = Dataset([], {})
    for number, condition in enumerate(conditions):
        for index in range(each):
            dataset.add({condition: list(Severity)[index % 3]}, seed=1000 * number + index)
    return dataset
