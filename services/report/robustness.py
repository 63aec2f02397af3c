"""How a model's test changes when the pictures are distorted: the same pictures, prepared as a server would.

The face is found anew in each distorted picture. Bounded: at most MOST_PICTURES are asked about, chosen by a hash of
their ids, so that they are the same for every model of a dataset.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from services.report.distortions import DISTORTIONS, SIDE, STRENGTHS, distorted, encoded, reduced
from services.trainer.data import CONDITIONS
from services.trainer.evaluate import BATCH, ExportedModel
from services.trainer.measures import measure_all
from shared.errors import ImageError
from shared.evaluation import Figures, Judged
from shared.faces import FaceDetector
from shared.imaging import Pixels, decode
from shared.preprocessing import prepare, preprocessing_of

MOST_PICTURES = 60  # × 22 answers: about a minute on two cores
UNCHANGED = "none"
STEPS = ((UNCHANGED, 0), *((name, strength) for name in DISTORTIONS for strength in STRENGTHS))


class Cell(Figures):
    """The means over the conditions for one distortion and strength."""

    distortion: str
    strength: int


class Robustness(BaseModel):
    """The figures of a portion of the test pictures: as they are, reduced (`none`, 0), and distorted.

    `images`: how many; `of`: of so many test pictures.
    """

    model_config = ConfigDict(frozen=True)

    images: int
    of: int
    cells: tuple[Cell, ...]


def chosen(pictures: Sequence[Judged], most: int = MOST_PICTURES) -> list[Judged]:
    """At most so many pictures, by a hash of their ids."""
    return sorted(pictures, key=lambda picture: hashlib.sha256(picture.image_id.encode()).hexdigest())[:most]


def measure_robustness(
    model: ExportedModel,
    detector: FaceDetector | None,
    pictures: Sequence[tuple[Judged, bytes]],
    of: int,
    on_step: Callable[[], None] = lambda: None,
) -> Robustness:
    """Ask the model about every distortion of some pictures and their encoded files. `of`: of so many test pictures.

    One that cannot be read, as it never should be, is left out. Raises ModelInvalid for a preprocessing that this
    program does not know. Calls `on_step` after each distortion.
    """
    size, way = model.metadata.input_size, preprocessing_of(model.metadata.preprocessing)
    thresholds = [model.metadata.thresholds[condition] for condition in CONDITIONS]
    cells = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # Pillow releases the interpreter lock
        decoded = pool.map(lambda pair: _opened(pair[1]), pictures)
        opened = [(judged, image) for (judged, _), image in zip(pictures, decoded, strict=True) if image is not None]
        severity = np.array([judged.labels for judged, _ in opened], dtype=np.int8).reshape(-1, len(CONDITIONS))
        roots = [judged.root_id for judged, _ in opened]

        def seen(image: Image.Image, name: str, strength: int) -> Pixels:
            changed = image if name == UNCHANGED else distorted(image, name, strength)
            return prepare(encoded(changed), size, way, detector=detector).pixels

        for name, strength in STEPS:
            pixels = list(pool.map(partial(seen, name=name, strength=strength), (image for _, image in opened)))
            starts = range(0, len(pixels), BATCH)
            answers = [model.run(np.stack(pixels[start : start + BATCH]))[0] for start in starts]
            probabilities = np.concatenate(answers) if answers else np.zeros((0, len(CONDITIONS), 4), np.float32)
            overall, _ = measure_all(severity, probabilities, thresholds, roots)
            cells.append(Cell.model_validate({**asdict(overall), "distortion": name, "strength": strength}))
            on_step()
    return Robustness(images=len(opened), of=of, cells=tuple(cells))


def _opened(data: bytes) -> Image.Image | None:
    try:
        return reduced(decode(data, min_side=SIDE).image)
    except ImageError:
        return None
