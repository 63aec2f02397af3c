"""The order of one training run: its settings and paths. Service and worker both import it, so no torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class TrainingConfig(BaseModel):
    """How a network is trained. The network itself is described by `model.ModelConfig`.

    `input_size`: pixels of the square that pictures are scaled to.
    `images_seen`: how many pictures training shows the network in all, repeats counted. Epochs follow from
    it (never fewer than `min_epochs`, never more than `max_epochs`), so that a dataset twice as large does
    not cost twice the time. `patience`: epochs without a better validation loss before it stops early.
    `ema_decay`: per step, of the averaged weights that are validated and kept. `threads`: 0 takes all cores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    seed: int = 7
    input_size: Annotated[int, Field(ge=32, le=512)] = 256
    batch_size: Annotated[int, Field(ge=2, le=1024)] = 32
    images_seen: Annotated[int, Field(ge=1)] = 14_000
    min_epochs: Annotated[int, Field(ge=1)] = 6
    max_epochs: Annotated[int, Field(ge=1)] = 40
    patience: Annotated[int, Field(ge=1)] = 8
    learning_rate: Annotated[float, Field(gt=0)] = 1e-2
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of all steps
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.98
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    threads: Annotated[int, Field(ge=0)] = 0
    model: dict[str, Any] = {}  # overrides of ModelConfig's other fields

    def epochs(self, images: int) -> int:
        """Number of epochs that show `images_seen` pictures, of `images` an epoch, within the bounds."""
        return max(self.min_epochs, min(self.max_epochs, round(self.images_seen / images)))


class RunSpec(BaseModel):
    """The worker's order, written as JSON into the run's directory.

    `encoded`: directory of the encoded pictures, each named by its SHA-256. It holds those of the parity check and
    all that are not in `cache` yet. `live`: ONNX file of the live model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    run_id: str
    version: str
    dataset_version: str
    manifest: Path
    encoded: Path
    cache: Path
    run_dir: Path
    live: Path | None = None
    live_version: str | None = None
    config: TrainingConfig = TrainingConfig()


def result_path(run_dir: Path) -> Path:
    """Where the worker leaves its measurements, as JSON. It writes them last: the file marks a finished run."""
    return run_dir / "result.json"


def model_path(run_dir: Path) -> Path:
    """Where the worker leaves the exported model."""
    return run_dir / "model.onnx"


def checkpoint_path(run_dir: Path) -> Path:
    """Where the worker leaves its state after each epoch, from which a later process goes on."""
    return run_dir / "checkpoint.pt"


FAILED_STATUS = 3
"""Exit status of a worker that could say what went wrong, on its last line."""
