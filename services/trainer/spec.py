"""The order of one training run: its settings and paths. Service and worker both import it, so no torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.events import stated
from shared.faces import FaceSearch
from shared.preprocessing import NEWEST, Preprocessing

Backbone = Literal["efficientnet-lite0", "none"]


class TrainingConfig(BaseModel):
    """How a network is trained. The network itself is described by `model.ModelConfig`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)

    seed: Annotated[int, stated(bounds="any whole number")] = 7
    """Seed of everything random: the same run gives the same weights."""
    input_size: Annotated[int, Field(ge=32, le=512), stated(unit="pixels")] = 224
    """Side of the square that pictures are scaled to."""
    batch_size: Annotated[int, Field(ge=2, le=1024), stated(unit="pictures")] = 32
    """Pictures of one step."""
    images_seen: Annotated[int, Field(ge=1), stated(unit="pictures")] = 14_000
    """Pictures that training shows in all, repeats counted, so that twice the images do not take twice the time.

    The number of epochs follows from it, within the two bounds below.
    """
    min_epochs: Annotated[int, Field(ge=1), stated(unit="epochs")] = 6
    """Fewest epochs that are planned."""
    max_epochs: Annotated[int, Field(ge=1), stated(unit="epochs")] = 40
    """Most epochs that are planned."""
    patience: Annotated[int, Field(ge=1), stated(unit="epochs")] = 8
    """Epochs without a better validation loss before training stops early."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-2
    """Highest learning rate, at the end of the warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Decay of matrices and kernels (AdamW)."""
    warmup: Annotated[float, Field(ge=0, lt=1), stated(unit="share of all steps")] = 0.1
    """Steps in which the learning rate rises; it falls to zero in the others."""
    ema_decay: Annotated[float, Field(ge=0, lt=1), stated(unit="per step")] = 0.98
    """Decay of the averaged weights, which are those that are validated and kept."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5), stated(unit="share")] = 0.02
    """Share of doubt in every label."""
    threads: Annotated[int, Field(ge=0), stated(unit="threads")] = 0
    """Threads of PyTorch; 0 takes all cores."""
    model: dict[str, Any] = {}
    """Overrides of the network's own settings, by their names in `ModelConfig`."""

    def epochs(self, images: int) -> int:
        """Number of epochs that show `images_seen` pictures, of `images` an epoch, within the bounds."""
        return max(self.min_epochs, min(self.max_epochs, round(self.images_seen / images)))


class RunSpec(BaseModel):
    """The worker's order, written as JSON into the run's directory.

    `encoded`: directory of the encoded pictures, each named by its SHA-256. It holds those of the parity check and
    all that are not in `cache` yet. `unreadable`: why, by SHA-256, of files that could not be fetched. `live`: ONNX
    file of the live model. `backbone`: the pretrained network whose features are used, by its name in
    `shared/models.toml`. `faces`: whether pictures are framed on the face.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    run_id: str
    version: str
    dataset_version: str
    manifest: Path
    encoded: Path
    cache: Path
    unreadable: dict[str, str] = {}
    run_dir: Path
    live: Path | None = None
    live_version: str | None = None
    live_generation: int = 0
    backbone: Backbone = "none"
    faces: FaceSearch = FaceSearch.OFF
    config: TrainingConfig = TrainingConfig()


def preprocessing_for(faces: FaceSearch) -> Preprocessing:
    """How a new model's pictures are prepared: one made without a search for faces wants the middle square anywhere."""
    return NEWEST if faces is FaceSearch.ON else Preprocessing.MIDDLE_3


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
