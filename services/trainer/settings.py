"""Settings of the trainer."""

from __future__ import annotations

from pathlib import Path

from services.trainer.spec import TrainingConfig
from shared.settings import Port, Settings


class TrainerSettings(Settings):
    """The trainer's own settings, beside those that every service has."""

    port: Port = 8003
    """Port of health and metrics; 0 takes a free one."""
    training: TrainingConfig = TrainingConfig()
    """How networks are trained, as JSON: `{"seed": 7, "threads": 2, "images_seen": 22000, …}`."""
    trainer_work_dir: Path | None = None
    """Directory for decoded pictures and runs under way; absent: `work/trainer` under home. Losing it costs time."""

    @property
    def work(self) -> Path:
        """Directory for decoded pictures and runs under way."""
        return (self.trainer_work_dir or self.home / "work" / "trainer").resolve()
