"""The order of one training run: its settings and paths. Service and worker both import it, so no torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
    class_weights: bool = True
    """Whether a rare condition's positive answers weigh more in the loss, so that they count as much as the others."""
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    """Which pictures an epoch shows: `shuffled`, each once; `balanced`, drawn so that each condition, and clear skin,
    comes up as often."""
    focal_gamma: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Exponent by which answers that are right already count less (focal loss); 0: they count as the others do."""
    time_limit_s: Annotated[float, Field(ge=0), stated(unit="seconds")] = 0.0
    """Time that the epochs may take, tries added up; then the best weights so far are those of the model. 0: no limit.

    Decoding, features, export and evaluation are not counted. With a limit, two runs may differ.
    """
    abstain_accuracy: Annotated[float, Field(ge=0.5, le=1), stated(unit="share")] = 0.95
    """Balanced accuracy that answers outside a condition's band of abstention are to have on the validation fold."""
    abstain_share: Annotated[float, Field(ge=0, lt=1), stated(unit="share of pictures")] = 0.2
    """Most of the validation fold's pictures that such a band may take; 0: there are no bands."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the convolutional judge learns; `auto`: on a GPU where PyTorch finds one, and there in mixed precision."""
    threads: Annotated[int, Field(ge=0), stated(unit="threads")] = 0
    """Threads of PyTorch; 0 takes all cores. Several processes on a machine share them."""
    processes: Annotated[int, Field(ge=1, le=64), stated(unit="processes")] = 1
    """Processes that share each batch, on each machine: one for each GPU.

    The features are frozen, and one process computes them; what is shared is the learning of the convolutional judge,
    a small network. That brings little on one machine: on CPUs one process is quicker.
    """
    machines: Annotated[int, Field(ge=1, le=64), stated(unit="machines")] = 1
    """Machines whose processes share each batch. Each sees the trainer's working directory under the same path."""
    rendezvous: str = ""
    """With several machines, where they meet: `HOST:PORT` of the trainer, a port that is free there.

    Each other machine runs `python -m services.trainer.together start WORK/runs/RUN/together/order.json` in time.
    """
    model: dict[str, Any] = {}
    """Overrides of the network's own settings, by their names in `ModelConfig`."""

    @model_validator(mode="after")
    def _check_processes(self) -> TrainingConfig:
        if self.processes * self.machines > self.batch_size:
            raise ValueError("processes times machines must not be more than batch_size")
        if self.machines > 1 and not self.rendezvous:
            raise ValueError("rendezvous must be HOST:PORT where there are several machines")
        return self

    def epochs(self, images: int) -> int:
        """Number of epochs that show `images_seen` pictures, of `images` an epoch, within the bounds."""
        return max(self.min_epochs, min(self.max_epochs, round(self.images_seen / images)))


NOT_IN_WEIGHTS = frozenset(
    {"threads", "time_limit_s", "abstain_accuracy", "abstain_share", "device", "processes", "machines", "rendezvous"}
)
"""Settings that may change while a run goes on: how long and where it computes, and what its weights are used for."""


class RunSpec(BaseModel):
    """The worker's order, written as JSON into the run's directory.

    `encoded`: directory of the encoded pictures, each named by its SHA-256. It holds those of the parity check and
    all that are not in `cache` yet. `unreadable`: why, by SHA-256, of files that could not be fetched. `live`: ONNX
    file of the live model. `backbone`: the pretrained network whose features are used, by its name in
    `shared/models.toml`. `int8`: whether an INT8 copy is made, and served if it
    holds. `faces`: whether pictures are framed on the face.
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
    int8: bool = False
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


def evaluation_path(run_dir: Path) -> Path:
    """Where the worker leaves the model's evaluation, as JSON."""
    return run_dir / "evaluation.json"


def fp32_path(run_dir: Path) -> Path:
    """Where the worker leaves the model in FP32 if the one to serve is its INT8 copy."""
    return run_dir / "model-fp32.onnx"


def checkpoint_path(run_dir: Path) -> Path:
    """Where the worker leaves its state after each epoch, from which a later process goes on."""
    return run_dir / "checkpoint.pt"


FAILED_STATUS = 3
"""Exit status of a worker that could say what went wrong, on its last line."""
