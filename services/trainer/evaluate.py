"""Measures exported models through ONNX Runtime, as they are served, on the decoded pictures of a fold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.trainer.data import CONDITIONS, FoldData
from services.trainer.scores import Probabilities, answers, fold_metrics
from shared.errors import ModelInvalid
from shared.inference_session import inference_session
from shared.model_card import INPUT_NAME, METADATA_KEY, OUTPUT_NAMES, ModelMetadata

BATCH = 8  # pictures at a time: bounds memory; the widest map of one takes 5 MB


@dataclass(frozen=True)
class Judgement:
    """A model's metrics on a fold of N pictures, its answers (N, 7), and the probabilities (N, 7, 4) they rest on."""

    metrics: dict[str, Any]
    answers: np.typing.NDArray[np.bool_]
    probabilities: Probabilities


class ExportedModel:
    """A model read from its ONNX file: the ONNX Runtime session and our metadata."""

    def __init__(self, session: Any, metadata: ModelMetadata) -> None:
        self._session = session
        self.metadata = metadata

    @classmethod
    def load(cls, path: Path, threads: int = 0) -> ExportedModel:
        """Open a file. Raises ModelInvalid where it is missing, damaged, or without our metadata."""
        try:
            session = inference_session(path, threads=threads)
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

    def judge(self, data: FoldData) -> Judgement:
        """What the model says of a fold, deciding by its own thresholds."""
        thresholds = [self.metadata.thresholds[condition] for condition in CONDITIONS]
        probabilities = self.probabilities(data)
        metrics = fold_metrics(data.severity, probabilities, thresholds, data.root_ids)
        return Judgement(metrics, answers(probabilities, thresholds), probabilities)
