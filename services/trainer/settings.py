"""Settings of the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from services.trainer.spec import Backbone, TrainingConfig
from shared.events import stated
from shared.faces import FaceSearch
from shared.settings import Port, Settings


class TrainerSettings(Settings):
    """The trainer's own settings, beside those that every service has."""

    port: Port = 8003
    """Port of health and metrics; 0 takes a free one."""
    training: TrainingConfig = TrainingConfig()
    """How networks are trained, as JSON: `{"seed": 7, "threads": 2, "images_seen": 22000, …}`."""
    backbone: Annotated[Backbone, stated(bounds="efficientnet-lite0 or none")] = "efficientnet-lite0"
    """Pretrained network that pictures are seen through; `none`: fixed filters alone, which see real skin less well.

    Its weights are installed with evenskin and are Apache-2.0; see the model's card.
    """
    int8: bool = False
    """Whether an INT8 copy of each model is made, and served where it loses at most half a point and is faster.

    The validation fold says what it loses. What is measured is the trainer's machine: a server without VNNI (or Arm's
    dot products) may be slower, and answer a little differently.
    """
    faces: FaceSearch = FaceSearch.ON
    """Whether a new model's pictures are framed on the face. Off: it wants the middle of every picture, and says so."""
    models_kept: Annotated[int, Field(ge=1), stated(unit="models")] = 50
    """Newest models whose files are kept; so are the live one, the one before it, and those that are pinned.

    Older ones are removed after a training, 4 MB each, once they are a day old. Their cards stay.
    """
    pinned_models: Annotated[str, stated(bounds="versions, separated by commas")] = ""
    """Models that are never removed."""
    tensorboard_dir: Path | None = None
    """Directory where TensorBoard's event files of each run go; absent: none are written. Needs evenskin[tracking]."""
    mlflow_tracking_uri: SecretStr | None = None
    """MLflow server, as `http://host:port`, that is told of each run; absent: none. Needs evenskin[tracking]."""
    mlflow_experiment: str = "evenskin"
    """MLflow experiment that runs belong to; made if need be."""
    trainer_work_dir: Path | None = None
    """Directory for decoded pictures and runs under way; absent: `work/trainer` under home. Losing it costs time."""

    @property
    def pinned(self) -> frozenset[str]:
        """The versions in `pinned_models`."""
        return frozenset(name for part in self.pinned_models.split(",") if (name := part.strip()))

    @property
    def work(self) -> Path:
        """Directory for decoded pictures and runs under way."""
        return (self.trainer_work_dir or self.home / "work" / "trainer").resolve()
