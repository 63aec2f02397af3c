"""From pictures to what the trainer learns from, by its own settings: decoded, framed, their features computed once.

A mirror image is made of the square that is cut, not of the file: no picture is decoded, and no face looked for, twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.trainer.backbone import load_backbone, load_detector
from services.trainer.data import CONDITIONS, FoldData, Severities, severities_of
from services.trainer.features import Answers, FeatureReader, Features, Sample
from services.trainer.pixel_cache import Picture, PixelCache, Pixels, View
from services.trainer.settings import TrainerSettings
from services.trainer.spec import preprocessing_for
from services.trainer.train import model_config, use_threads
from shared.errors import ImagesUnreadable
from shared.manifest import ManifestImage

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MirroredToo(FoldData):
    """N pictures as they are, then all N mirrored: row n + N is the mirror image of row n."""

    def batch(self, indices: Rows) -> Pixels:
        """Copy some samples' pixels, uint8 (n, S, S, 3)."""
        pixels = super().batch(indices).copy()
        mirrored = indices >= len(self) // 2
        pixels[mirrored] = pixels[mirrored, :, ::-1]
        return pixels


class Seeing:
    """Sees pictures as a training by these settings would. `work`: directory for what is decoded.

    Raises WeightsUnusable where the installed weights are absent or are others.
    """

    def __init__(self, settings: TrainerSettings, work: Path) -> None:
        config = settings.training
        network = model_config(config)
        self._threads = use_threads(config.threads)
        self._features = Features(network.scales, network.cell, load_backbone(settings.backbone))
        self._detector = load_detector(settings.faces)
        view = View(config.input_size, preprocessing_for(settings.faces), self._detector is not None)
        self.cache = PixelCache(work / "decoded", view)
        """Where decoded pictures are kept."""
        self._reader = FeatureReader(self._features, config.input_size, work, self._threads)
        self._work = work

    @property
    def filters(self) -> int:
        """Number of channels that are filter answers, which come first."""
        return self._features.filter_channels

    def sample(self, images: Sequence[ManifestImage], encoded: Path) -> Sample:
        """N images and their mirror images, 2N rows, with their features. `encoded`: their files, by SHA-256.

        Raises ImagesUnreadable where one cannot be decoded.
        """
        pictures = [Picture(str(image.image_id), image.key, image.sha256, image.frame) for image in images]
        unreadable = self.cache.add(pictures, encoded, self._threads, self._detector)
        for picture in pictures:
            if picture.sha256 in unreadable:
                raise ImagesUnreadable(
                    f"'{picture.key}': {unreadable[picture.sha256]}", advice="Mend or remove it, and start again."
                )
        severity: Severities = np.array([severities_of(image) for image in images], np.int8)
        data = MirroredToo(
            [picture.image_id for picture in pictures] * 2,
            [str(image.root_id) for image in images] * 2,
            np.tile(self.cache.rows(pictures), 2),
            np.tile(severity.reshape(-1, len(CONDITIONS)), (2, 1)),
            self.cache,
        )
        return Sample(data, self._reader.read(data, self._work))


def part(sample: Sample, rows: Rows) -> Sample:
    """Some rows of a sample: their labels and features, without their pixels."""
    data, answers = sample.data, sample.answers
    chosen = FoldData(
        [data.image_ids[row] for row in rows],
        [data.root_ids[row] for row in rows],
        data.rows[rows],
        data.severity[rows],
        data.cache,
    )
    return Sample(chosen, Answers(answers.grid[rows], answers.statistics[rows]))


def with_mirror_images(rows: Rows, count: int) -> Rows:
    """Rows of originals, and those of their mirror images. `count`: originals in the sample."""
    return np.concatenate([rows, rows + count])
