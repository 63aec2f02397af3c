"""Measures exported models through ONNX Runtime, as they are served, on the decoded pictures of a fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from services.trainer.data import CONDITIONS, FoldData, originals, shuffle_key
from services.trainer.scores import Probabilities, fold_metrics
from shared.errors import ModelInvalid
from shared.manifest import ManifestImage
from shared.model_card import INPUT_NAME, METADATA_KEY, OUTPUT_NAMES, ModelMetadata
from shared.taxonomy import Condition, Fold

BATCH = 32  # pictures at a time: bounds memory


class ExportedModel:
    """A model read from its ONNX file: the ONNX Runtime session and our metadata."""

    def __init__(self, session: onnxruntime.InferenceSession, metadata: ModelMetadata) -> None:
        self._session = session
        self.metadata = metadata

    @classmethod
    def load(cls, path: Path, threads: int = 0) -> ExportedModel:
        """Open a file. Raises ModelInvalid where it is missing, damaged, or without our metadata."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            metadata = ModelMetadata.model_validate_json(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
        except Exception as error:  # the runtime has many exceptions of its own, with no common base
            raise ModelInvalid(f"'{path.name}' is not a model of evenskin: {error}") from error
        return cls(session, metadata)

    def run(self, pixels: np.typing.NDArray[np.uint8]) -> tuple[Probabilities, np.typing.NDArray[np.float32]]:
        """uint8 (N, S, S, 3) → severity probabilities (N, 7, 4) and activation maps (N, 7, h, w)."""
        probabilities, activation = self._session.run(list(OUTPUT_NAMES), {INPUT_NAME: pixels})
        return probabilities, activation

    def probabilities(self, data: FoldData) -> Probabilities:
        """Severity probabilities of a whole fold, (N, 7, 4)."""
        if not len(data):
            return np.zeros((0, len(CONDITIONS), 4), np.float32)
        starts = range(0, len(data), BATCH)
        parts = [self.run(data.batch(np.arange(start, min(start + BATCH, len(data)))))[0] for start in starts]
        return np.concatenate(parts)

    def measure(self, data: FoldData) -> dict[str, Any]:
        """The model's metrics on a fold, deciding by its own thresholds."""
        thresholds = [self.metadata.thresholds[condition] for condition in CONDITIONS]
        return fold_metrics(data.severity, self.probabilities(data), thresholds)


def balanced_fold(images: Sequence[ManifestImage]) -> list[str]:
    """Choose images of the test fold, as many of each condition and of clear skin. Returns their ids.

    The number is that of the fold's rarest condition. An image is taken while all its conditions are below the
    number, in the order of a hash of its id, so the choice depends on the fold alone. Where images show several
    conditions, a condition may stay below the number.
    """
    testing = originals(images, Fold.TEST)
    counts = Counter(condition for image in testing for condition in image.labels)
    if not counts:
        return sorted(str(image.image_id) for image in testing)
    room = min(counts.values())
    taken: Counter[Condition | None] = Counter()
    chosen = []
    for image in sorted(testing, key=shuffle_key):
        shown: list[Condition | None] = [*image.labels] or [None]
        if all(taken[condition] < room for condition in shown):
            taken.update(shown)
            chosen.append(str(image.image_id))
    return sorted(chosen)
