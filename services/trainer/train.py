"""The training loop: sample, augment, fit, validate, keep the best, checkpoint.

Deterministic by seed: order, augmentation and dropout of an epoch follow from (seed, epoch) alone. So a run
that is killed and resumed from its last checkpoint ends with the same weights as an undisturbed one.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from services.trainer.augment import augment
from services.trainer.data import UNGRADED, UNKNOWN, FoldData
from services.trainer.model import LEVELS, ModelConfig, SkinNet, severity_probabilities
from services.trainer.spec import TrainingConfig
from shared.cores import usable_cores
from shared.errors import LossNotFinite

MAX_POSITIVE_WEIGHT = 20.0  # a condition with three positives must not drown all others
EVALUATION_BATCH = 32  # pictures; bounds memory, has no influence on results

Answers = npt.NDArray[np.float16]  # (N, h, w, C): what the network's fixed filters see


@dataclass
class Epoch:
    """What one epoch measured. Losses are mean weighted binary cross-entropies per known threshold."""

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass
class Trained:
    """The best network by validation loss, in evaluation mode, and how training went."""

    net: SkinNet
    history: list[Epoch]
    best_epoch: int


def use_threads(threads: int) -> int:
    """Let torch use this many threads (0: one per core) and deterministic algorithms only. Returns the number."""
    chosen = threads or usable_cores()
    torch.set_num_threads(chosen)
    torch.use_deterministic_algorithms(True)
    return chosen


def ordinal_targets(severity: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (N, C) → targets and mask (N, C, 3) of severity >= 1, 2, 3.

    Ungraded: only the first threshold is known, and true. Unknown: none is.
    """
    levels = torch.arange(1, LEVELS + 1)
    graded = severity[..., None]
    targets = torch.where(graded == UNGRADED, levels == 1, graded >= levels).float()
    mask = ((graded >= 0) | ((graded == UNGRADED) & (levels == 1))) & (graded != UNKNOWN)
    return targets, mask.float()


def positive_weights(severity: npt.NDArray[np.int8]) -> Tensor:
    """Weight of a positive answer per condition and threshold (C, 3): negatives over positives, so that both count."""
    targets, mask = ordinal_targets(torch.from_numpy(severity))
    positives = (targets * mask).sum(0)
    negatives = mask.sum(0) - positives
    return (negatives / positives.clamp_min(1)).clamp(1 / MAX_POSITIVE_WEIGHT, MAX_POSITIVE_WEIGHT)


def ordinal_loss(logits: Tensor, severity: Tensor, weights: Tensor, smoothing: float = 0.0) -> Tensor:
    """Balanced binary cross-entropy over the known thresholds; each condition and threshold counts the same.

    A positive weighs w times a negative. The scale keeps the mean weight at 1 over the training distribution.
    """
    targets, mask = ordinal_targets(severity)
    smooth = targets * (1 - 2 * smoothing) + smoothing
    share = 1 / (1 + weights)  # of positives in training, per condition and threshold
    scale = torch.where(targets > 0.5, 0.5 / share, 0.5 / (1 - share))
    losses = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none") * scale * mask
    return losses.sum() / mask.sum().clamp_min(1)


def train(
    training: FoldData,
    validation: FoldData,
    config: TrainingConfig,
    checkpoint: Path,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Train to the end, from `checkpoint` on if it is of this run.

    Calls `on_epoch` once an epoch's checkpoint is on disk. Raises LossNotFinite.
    """
    use_threads(config.threads)
    torch.manual_seed(config.seed)
    net = SkinNet(ModelConfig(input_size=config.input_size, **config.model))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # pixels are NHWC; a third quicker
    average = copy.deepcopy(net)
    epochs = config.epochs(len(training))
    batches = max(1, math.ceil(len(training) / config.batch_size))
    optimiser = torch.optim.AdamW(_weight_decay_groups(net, config.weight_decay), lr=config.learning_rate, foreach=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warmup_cosine(epochs * batches, config.warmup))
    weights = positive_weights(training.severity)
    state = _TrainingState(net, average, optimiser, schedule, fingerprint(training, validation, config))
    state.restore(checkpoint)
    answers = filter_answers(net, training, checkpoint.parent)
    validation_answers = filter_answers(net, validation, checkpoint.parent)

    while state.epoch < epochs and state.epoch - state.best_epoch < config.patience:
        generator = torch.Generator().manual_seed(config.seed * 100_003 + state.epoch)
        torch.manual_seed(config.seed * 100_003 + state.epoch)  # dropout
        order = _sample_order(len(training), batches * config.batch_size, generator)
        total = 0.0
        net.train()
        for indices in order.reshape(batches, -1).numpy():
            severity = torch.from_numpy(training.severity[indices])
            logits, _ = net.judge(augment(_tensor(answers[indices]), generator))
            loss = ordinal_loss(logits, severity, weights, config.label_smoothing)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            state.step += 1
            _update_average(average, net, min(config.ema_decay, state.step / (state.step + 10)))
            total += loss.item()
        validation_loss, scores = _validate(average, validation_answers, validation, weights)
        if not math.isfinite(total + validation_loss):
            raise LossNotFinite(
                f"The loss of epoch {state.epoch + 1} is not a number.", advice="Lower the learning rate."
            )
        state.finish(Epoch(state.epoch + 1, epochs, total / batches, validation_loss, scores))
        state.save(checkpoint)
        on_epoch(state.history[-1])
    return state.result()


def filter_answers(net: SkinNet, data: FoldData, directory: Path) -> Answers:
    """Compute the fixed filters' answers to every picture of a fold, into an unnamed file that is mapped into memory.

    Half precision: twice the pictures fit, and its rounding is far below the noise of a camera.
    """
    net.eval()
    answers: Answers | None = None
    with torch.inference_mode(), tempfile.TemporaryFile(dir=directory) as file:
        for indices in _batches(len(data)):
            found = net.filters(torch.from_numpy(data.batch(indices))).permute(0, 2, 3, 1)
            if answers is None:
                answers = np.memmap(file, np.float16, "w+", shape=(len(data), *found.shape[1:]))
            answers[indices] = found.numpy()
    assert answers is not None  # no fold is empty: `check_folds`
    return answers


def predict(net: SkinNet, data: FoldData) -> npt.NDArray[np.float32]:
    """Severity probabilities (N, C, 4) of a fold, computed from its pixels in evaluation mode."""
    net.eval()
    with torch.inference_mode():
        logits = torch.cat([net(torch.from_numpy(data.batch(indices)))[0] for indices in _batches(len(data))])
        return severity_probabilities(logits).numpy()


def _batches(count: int) -> list[npt.NDArray[np.int64]]:
    return np.split(np.arange(count), range(EVALUATION_BATCH, count, EVALUATION_BATCH))


def _tensor(answers: npt.NDArray[np.float16]) -> Tensor:
    """Stored answers (n, h, w, C) → float32 (n, C, h, w), channels last in memory."""
    return torch.from_numpy(answers.astype(np.float32)).permute(0, 3, 1, 2)


def fingerprint(training: FoldData, validation: FoldData, config: TrainingConfig) -> str:
    """Digest of all that a run's weights follow from. A checkpoint is resumed only where dataset and settings match."""
    digest = hashlib.sha256(config.model_dump_json(exclude={"threads"}).encode())
    for fold in (training, validation):
        digest.update("".join(fold.image_ids).encode() + fold.severity.tobytes())
    return digest.hexdigest()


def _validate(net: SkinNet, answers: Answers, data: FoldData, weights: Tensor) -> tuple[float, dict[str, float]]:
    net.eval()
    with torch.inference_mode():
        logits = torch.cat([net.judge(_tensor(answers[indices]))[0] for indices in _batches(len(data))])
    severity = torch.from_numpy(data.severity)
    loss = ordinal_loss(logits, severity, weights).item()
    targets, mask = ordinal_targets(severity)
    right = (logits[..., 0] > 0) == (targets[..., 0] > 0.5)
    known = mask[..., 0].sum().clamp_min(1)
    present, absent = (mask[..., 0] * (targets[..., 0] == value) for value in (1, 0))
    recalls = [(right * group).sum(0) / group.sum(0) for group in (present, absent)]
    return loss, {
        "validation_accuracy": float((right * mask[..., 0]).sum() / known),
        # Over the conditions that are both shown and not shown in the fold; none of them: no better than chance.
        "validation_balanced_accuracy": float(torch.stack(recalls).mean(0).nanmean().nan_to_num(0.5)),
    }


def _weight_decay_groups(net: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels only: scales, shifts and cut points have their own sizes."""
    kernels = [module.weight for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    chosen = {id(parameter) for parameter in kernels}
    others = [parameter for parameter in net.parameters() if id(parameter) not in chosen]
    return [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _warmup_cosine(steps: int, warmup: float) -> Callable[[int], float]:
    """Linear warm-up, then half a cosine to zero (Loshchilov & Hutter, 2017, https://arxiv.org/abs/1608.03983)."""
    rising = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))

    return factor


def _sample_order(count: int, needed: int, generator: torch.Generator) -> Tensor:
    """Every sample once in random order, and some again, so that all batches are full."""
    order = torch.randperm(count, generator=generator)
    repeats = math.ceil(needed / count)
    return order.repeat(repeats)[:needed]


@torch.no_grad()
def _update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move averaged weights and statistics towards the current ones (Polyak & Juditsky, 1992)."""
    targets = [tensor for tensor in average.state_dict().values() if tensor.is_floating_point()]
    sources = [tensor for tensor in net.state_dict().values() if tensor.is_floating_point()]
    torch._foreach_lerp_(targets, sources, 1 - decay)


class _TrainingState:
    """The state that a resumed run needs, saved to and restored from a checkpoint file."""

    def __init__(
        self,
        net: SkinNet,
        average: SkinNet,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        run: str,
    ) -> None:
        self._parts: dict[str, Any] = {"net": net, "average": average, "optimiser": optimiser, "schedule": schedule}
        self._average = average
        self._run = run
        self.epoch = self.step = self.best_epoch = 0
        self.best_loss = math.inf
        self.best: dict[str, Tensor] = copy.deepcopy(average.state_dict())
        self.history: list[Epoch] = []

    def finish(self, epoch: Epoch) -> None:
        """Record an epoch, and keep its weights if they are the best so far."""
        self.epoch = epoch.epoch
        self.history.append(epoch)
        if epoch.validation_loss < self.best_loss:
            self.best_loss, self.best_epoch = epoch.validation_loss, epoch.epoch
            self.best = copy.deepcopy(self._average.state_dict())

    def save(self, path: Path) -> None:
        """Write whole or not at all."""
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save(
                {name: part.state_dict() for name, part in self._parts.items()}
                | {"best": self.best, "history": [asdict(epoch) for epoch in self.history]}
                | {name: getattr(self, name) for name in ("epoch", "step", "best_epoch", "best_loss")}
                | {"run": self._run, "random": torch.get_rng_state(), "config": asdict(self._average.config)},
                file,
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)

    def restore(self, path: Path) -> None:
        """Load a checkpoint. One that is damaged or of another run is ignored."""
        try:
            stored = torch.load(path, weights_only=True)
            if stored["run"] != self._run:
                return
        except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError):
            return
        for name, part in self._parts.items():
            part.load_state_dict(stored[name])
        self.best, self.history = stored["best"], [Epoch(**epoch) for epoch in stored["history"]]
        for name in ("epoch", "step", "best_epoch", "best_loss"):
            setattr(self, name, stored[name])

    def result(self) -> Trained:
        """The best weights, in a network of their own."""
        net = SkinNet(self._average.config)
        net.load_state_dict(self.best)
        return Trained(net.eval(), self.history, self.best_epoch)
