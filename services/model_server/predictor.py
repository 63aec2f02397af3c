"""Loads a model, checks it against the graph contract, and predicts with ONNX Runtime.

The contract is in `shared/model_card.py`. No torch here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from shared.errors import InvalidRequest, ModelInvalid
from shared.imaging import Pixels
from shared.inference_session import inference_session
from shared.message import first_problem
from shared.model_card import INPUT_NAME, METADATA_KEY, OUTPUT_NAMES, ModelMetadata
from shared.preprocessing import Preprocessing, preprocessing_of
from shared.taxonomy import Condition, Severity

Floats = npt.NDArray[np.float32]

LEVELS = ("absent", *(severity.label for severity in Severity))
"""Names along the last axis of `severity_probabilities`."""

_TOLERANCE = 1e-3  # of float32 probabilities and their sum: far above rounding, far below a missing softmax
_MAX_INPUT_SIZE = 2048  # pixels: a larger figure in the metadata is an accident, and would be allocated


@dataclass(frozen=True)
class Prediction:
    """The model's answer to N pictures.

    `probabilities`: float32 (N, 7, 4), for each condition absent, mild, moderate, severe, summing to 1.
    `activation`: float32 (N, 7, h, w), where in the picture the evidence lies, without a unit.
    """

    probabilities: Floats
    activation: Floats


@dataclass(frozen=True)
class Predictor:
    """An ONNX Runtime session and the metadata of its file. Several threads may use one.

    `preprocessing`: how the model wants its pictures.
    """

    session: Any
    metadata: ModelMetadata
    preprocessing: Preprocessing

    @classmethod
    def load(cls, onnx_bytes: bytes, *, sha256: str | None = None, threads: int = 1) -> Predictor:
        """Load an ONNX file.

        `sha256`: hexadecimal digest the bytes must have; `threads`: of ONNX Runtime for one prediction.
        Raises ModelInvalid where the bytes are damaged, not ONNX, or break the graph contract, and where the model
        wants its pictures preprocessed in a way that this program does not know.
        """
        if sha256 is not None and hashlib.sha256(onnx_bytes).hexdigest() != sha256.lower():
            raise ModelInvalid("The model's SHA-256 is not the promised one.", advice="Upload or promote it again.")
        try:
            session = inference_session(onnx_bytes, threads=threads)
        except Exception as error:  # ONNX Runtime has a dozen exception classes without a common base
            raise ModelInvalid("The model is not a file that ONNX Runtime can load.") from error
        metadata = _read_metadata(session.get_modelmeta().custom_metadata_map)
        _check_graph(session, metadata)
        return cls(session, metadata, preprocessing_of(metadata.preprocessing))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one picture: (S, S, 3)."""
        return (self.metadata.input_size, self.metadata.input_size, 3)

    def predict(self, batch: Pixels) -> Prediction:
        """Predict N pictures, uint8 (N, S, S, 3), RGB as `shared.preprocessing.prepare` gives them.

        Raises InvalidRequest for another shape or type, ModelInvalid where the model gives no usable answer.
        """
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != self.input_shape or not len(batch):
            raise InvalidRequest(
                f"The model takes uint8 pictures of shape {('N', *self.input_shape)}, not {batch.dtype} {batch.shape}."
            )
        try:
            probabilities, activation = self.session.run(list(OUTPUT_NAMES), {INPUT_NAME: batch})
        except Exception as error:
            raise ModelInvalid("The model failed on its input.") from error
        prediction = Prediction(np.asarray(probabilities, np.float32), np.asarray(activation, np.float32))
        _check_answer(prediction, len(batch), len(self.metadata.conditions))
        return Prediction(np.clip(prediction.probabilities, 0, 1), prediction.activation)

    def warm_up(self) -> None:
        """Predict made-up pictures, one and then two at a time, so that the first request is not slower than others.

        Raises ModelInvalid where the model does not give usable answers.
        """
        ramp = np.linspace(0, 255, int(np.prod(self.input_shape)), dtype=np.uint8).reshape(self.input_shape)
        self.predict(ramp[np.newaxis])
        self.predict(np.stack([ramp, ramp[::-1]]))


def _read_metadata(stored: dict[str, str]) -> ModelMetadata:
    if METADATA_KEY not in stored:
        raise ModelInvalid(f"The model carries no '{METADATA_KEY}' metadata: it is not one of evenskin's.")
    try:
        metadata = ModelMetadata.model_validate_json(stored[METADATA_KEY])
    except ValidationError as error:
        raise ModelInvalid(f"The model's metadata is wrong: {first_problem(error)}.") from error
    if sorted(metadata.conditions) != sorted(Condition):
        raise ModelInvalid("The model's metadata does not name each of the seven conditions once.")
    if tuple(name for name in metadata.severities if name != "absent") != LEVELS[1:]:
        raise ModelInvalid(f"The model's severities are {metadata.severities}, not {LEVELS[1:]}.")
    if set(metadata.thresholds) != set(Condition) or not all(0 <= t <= 1 for t in metadata.thresholds.values()):
        raise ModelInvalid("The model's metadata lacks a threshold from 0 to 1 for a condition.")
    if not 1 <= metadata.input_size <= _MAX_INPUT_SIZE:
        raise ModelInvalid(f"The model's input size is {metadata.input_size}; it must be 1 to {_MAX_INPUT_SIZE}.")
    return metadata


def _check_graph(session: Any, metadata: ModelMetadata) -> None:
    size, count = metadata.input_size, len(metadata.conditions)
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    if set(inputs) != {INPUT_NAME}:
        raise ModelInvalid(f"The model's inputs are {sorted(inputs)}, not '{INPUT_NAME}'.")
    if missing := set(OUTPUT_NAMES) - set(outputs):
        raise ModelInvalid(f"The model lacks the outputs {sorted(missing)}.")
    _check_tensor(inputs[INPUT_NAME], "tensor(uint8)", (None, size, size, 3))
    _check_tensor(outputs[OUTPUT_NAMES[0]], "tensor(float)", (None, count, len(LEVELS)))
    _check_tensor(outputs[OUTPUT_NAMES[1]], "tensor(float)", (None, count, None, None))
    if isinstance(inputs[INPUT_NAME].shape[0], int):
        raise ModelInvalid("The model takes batches of one size only.")


def _check_tensor(node: Any, type_name: str, shape: tuple[int | None, ...]) -> None:
    """Check type and shape. The warm-up checks the dimensions that the graph leaves open."""
    fits = len(node.shape) == len(shape) and all(
        wanted is None or not isinstance(found, int) or found == wanted
        for found, wanted in zip(node.shape, shape, strict=True)
    )
    if node.type != type_name or not fits:
        raise ModelInvalid(f"The model's '{node.name}' is {node.type} {node.shape}, not {type_name} {list(shape)}.")


def _check_answer(prediction: Prediction, n: int, conditions: int) -> None:
    probabilities, activation = prediction.probabilities, prediction.activation
    if probabilities.shape != (n, conditions, len(LEVELS)) or activation.shape[:2] != (n, conditions):
        raise ModelInvalid(f"The model answered with shapes {probabilities.shape} and {activation.shape}.")
    if activation.ndim != 4 or not activation.size or not np.isfinite(activation).all():
        raise ModelInvalid("The model's activation is no map of finite numbers.")
    # Neither comparison holds of what is no number.
    if not (probabilities.min() > -_TOLERANCE and np.abs(probabilities.sum(axis=-1) - 1).max() <= _TOLERANCE):
        raise ModelInvalid("The model's probabilities do not sum to 1.")
