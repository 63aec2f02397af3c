"""`python -m services.trainer.together start ORDER` starts this machine's processes; `… learn ORDER` is one of them.

With several machines, the trainer starts its own. On each other one, which sees the same working directory, run
`python -m services.trainer.together start WORK/runs/RUN/together/order.json` within two minutes.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch.distributed import run as starter

from services.trainer.distributed import Gang, arguments_of, device_of, read_sample
from services.trainer.exhaustion import exhaustion
from services.trainer.orphans import end_with_parent
from services.trainer.spec import TrainingConfig
from services.trainer.train import learn
from shared.errors import EvenskinError


def start(order: Path) -> None:
    """Start this machine's processes and wait for them."""
    config = TrainingConfig.model_validate(json.loads(order.read_text())["config"])
    if config.machines == 1 and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the machine need not know its own name
    starter.main(arguments_of(order, config))


def learn_as_one(order: Path) -> None:
    """Learn as one of the processes. What has a name is reported, and is no reason to begin anew."""
    fields = json.loads(order.read_text())
    config = TrainingConfig.model_validate(fields["config"])
    training, validation = (read_sample(order.parent / name) for name in ("training", "validation"))
    peers = Gang(device_of(config.device))
    checkpoint = Path(fields["checkpoint"])
    try:
        learn(
            training,
            validation,
            config,
            fields["filters"],
            fields["run"],
            checkpoint,
            lambda epoch: _report(asdict(epoch)),
            peers,
        )
    except Exception as caught:
        error = exhaustion(caught) or caught
        if not isinstance(error, EvenskinError):
            raise
        _report({"failed": error.code, "message": error.message, "advice": error.advice})
        if peers.size > 1:
            os._exit(0)  # the others may wait for this one for ever: the starter ends them
    if peers.rank == 0:
        _report({"done": fields["run"]})
    peers.close()


def _report(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    end_with_parent()
    {"start": start, "learn": learn_as_one}[sys.argv[1]](Path(sys.argv[2]))
