"""The training loop: sample, augment, fit, validate, keep the best, checkpoint; at last, calibrate.

Deterministic by seed: order, augmentation and dropout of an epoch follow from (seed, epoch) alone. So a run
that is killed and resumed from its last checkpoint ends with the same weights as an undisturbed one.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import math
import os
import pickle
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from services.trainer.augment import augment
from services.trainer.calibration import calibrate
from services.trainer.data import FoldData
from services.trainer.distributed import ALONE, Peers, device_of, learn_together, threads_of
from services.trainer.features import Answers, FeatureReader, Features, Sample
from services.trainer.imbalance import imbalance_of
from services.trainer.linear import fit as fit_linear
from services.trainer.losses import ordinal_loss, ordinal_targets
from services.trainer.model import ModelConfig, SkinNet, severity_probabilities
from services.trainer.spec import NOT_IN_WEIGHTS, TrainingConfig
from shared.cores import usable_cores
from shared.errors import LossNotFinite

EVALUATION_BATCH = 32  # pictures; bounds memory, has no influence on results


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
    """The best network by validation loss, calibrated, in evaluation mode, and how training went.

    `validation`: severity probabilities (N, C, 4) of the validation fold.
    """

    net: SkinNet
    history: list[Epoch]
    best_epoch: int
    validation: npt.NDArray[np.float32]


def use_threads(threads: int) -> int:
    """Let torch use this many threads (0: one per core) and deterministic algorithms only. Returns the number."""
    chosen = threads or usable_cores()
    torch.set_num_threads(chosen)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())  # a GPU lacks some
    return chosen


def train(
    training: FoldData,
    validation: FoldData,
    config: TrainingConfig,
    features: Features,
    checkpoint: Path,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Compute the features of both folds, and `learn` from them, in as many processes as `config` asks for.

    Raises LossNotFinite, and TrainingFailed where those processes died too often.
    """
    reader = FeatureReader(features, config.input_size, training.cache.directory, use_threads(config.threads))
    seen, kept = (Sample(fold, reader.read(fold, checkpoint.parent)) for fold in (training, validation))
    run = fingerprint(training, validation, config, features)
    if config.processes * config.machines > 1:
        told = functools.partial(_told, on_epoch)
        learn_together(seen, kept, config, features.filter_channels, run, checkpoint, told)
    return learn(seen, kept, config, features.filter_channels, run, checkpoint, on_epoch)


def _told(on_epoch: Callable[[Epoch], None], fields: dict[str, Any]) -> None:
    on_epoch(Epoch(**fields))


def learn(
    training: Sample,
    validation: Sample,
    config: TrainingConfig,
    filters: int,
    run: str,
    checkpoint: Path,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    peers: Peers = ALONE,
) -> Trained:
    """Train to the end, from `checkpoint` on if it is of this `run`.

    The linear judge is fitted at once, the convolutional one learns by epochs, each from the labels alone; then both
    are weighted and calibrated on the validation fold. `filters`: number of channels that are filter answers, which
    come first. Calls `on_epoch` once an epoch's checkpoint is on disk. `peers`: who learns together, each with a share
    of every batch; the first of them validates, writes and reports. Raises LossNotFinite.
    """
    use_threads(threads_of(config))
    device = device_of(config.device)
    torch.manual_seed(config.seed)
    labels, answers = training.data.severity, training.answers
    imbalance = imbalance_of(labels, config)
    net = SkinNet(model_config(config), *answers.widths).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as the grid is stored; a third quicker
    learner = net.convolutional
    average = copy.deepcopy(net)
    model = peers.together(learner)
    epochs = config.epochs(len(labels))
    batches = max(1, math.ceil(len(labels) / config.batch_size))
    decayed = _weight_decay_groups(learner, config.weight_decay)
    optimiser = torch.optim.AdamW(decayed, lr=config.learning_rate, foreach=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warmup_cosine(epochs * batches, config.warmup))
    weights = imbalance.weights.to(device)
    state = _TrainingState(net, average, optimiser, schedule, run)
    if not state.restore(checkpoint) and peers.rank == 0:
        fit_linear(net.linear, answers, training.data, imbalance.weights, imbalance.importance)
        if not net.linear.weights.isfinite().all():
            raise _not_finite("the linear judge's fit")
        average.linear.load_state_dict(net.linear.state_dict())

    limit = config.time_limit_s or math.inf
    while state.epoch < epochs and state.epoch - state.best_epoch < config.patience and state.seconds < limit:
        begun = time.monotonic() - state.seconds
        generator = torch.Generator().manual_seed(config.seed * 100_003 + state.epoch)
        torch.manual_seed(config.seed * 100_003 + state.epoch + 7_919 * peers.rank)  # dropout
        order = _sample_order(len(labels), batches * config.batch_size, generator, imbalance.importance)
        total = 0.0
        number = 0
        net.train()
        for number, indices in enumerate(order.reshape(batches, -1).numpy(), start=1):
            mine = indices[peers.part()]
            known = ordinal_targets(torch.from_numpy(labels[indices]))[1].sum()
            grid = augment(answers.tensors(mine)[0], generator, filters, peers.part(), len(indices))
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits, _ = model(grid.to(device))
            loss = ordinal_loss(
                logits.float(),
                torch.from_numpy(labels[mine]).to(device),
                weights,
                config.label_smoothing,
                gamma=config.focal_gamma,
                known=known.to(device),
            )
            measured, late = peers.total(loss.item(), time.monotonic() - begun >= limit)
            if not math.isfinite(measured):  # before it reaches the weights
                images = [training.data.image_ids[index] for index in indices]
                raise _not_finite(f"step {number} of epoch {state.epoch + 1}", images)
            total += measured
            optimiser.zero_grad()
            (loss * peers.size).backward()  # type: ignore[no-untyped-call]  # they take the mean, of parts of a sum
            nn.utils.clip_grad_norm_(learner.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            state.step += 1
            _update_average(average.convolutional, learner, min(config.ema_decay, state.step / (state.step + 10)))
            if late:
                break
        judged = functools.partial(_validate, average, validation, imbalance.odds)
        validation_loss, scores = peers.told(judged)
        seconds = peers.told(functools.partial(_seconds_since, begun))  # all are to stop after the same epoch
        if not math.isfinite(validation_loss):
            raise _not_finite(f"the validation after epoch {state.epoch + 1}")
        state.finish(Epoch(state.epoch + 1, epochs, total / number, validation_loss, scores), seconds)
        if peers.rank == 0:
            state.save(checkpoint)
            on_epoch(state.history[-1])
    best = state.best_net()
    calibrate(best, *logits_of(best, validation.answers), validation.data.severity, imbalance.odds)
    return Trained(best, state.history, state.best_epoch, probabilities_of(best, validation.answers))


def _not_finite(where: str, image_ids: Iterable[str] = ()) -> LossNotFinite:
    """The error of a loss that is not a finite number. `image_ids`: of the batch, which are named once each."""
    images = ", ".join(dict.fromkeys(image_ids))
    return LossNotFinite(
        f"The loss of {where} is not a finite number{f', with the images {images}' if images else ''}.",
        advice="Lower the learning rate in EVENSKIN_TRAINING; if these images fail at any rate, look at them.",
    )


def model_config(config: TrainingConfig) -> ModelConfig:
    """The sizes of the network that some settings ask for."""
    return ModelConfig(input_size=config.input_size, **config.model)


def logits_of(net: SkinNet, answers: Answers) -> tuple[Tensor, Tensor]:
    """The linear and the convolutional judge's logits (N, C, 3) of a whole fold, in evaluation mode."""
    net.eval()
    found = []
    with torch.inference_mode():
        for indices in _batches(len(answers)):
            grid, statistics = (tensor.to(net.share.device) for tensor in answers.tensors(indices))
            found.append((net.linear(statistics).cpu(), net.convolutional(grid)[0].cpu()))
    linear, convolutional = zip(*found, strict=True)
    return torch.cat(linear), torch.cat(convolutional)


def probabilities_of(net: SkinNet, answers: Answers) -> npt.NDArray[np.float32]:
    """Severity probabilities (N, C, 4) of a whole fold."""
    with torch.inference_mode():
        return severity_probabilities(net.cpu().mixed(*logits_of(net, answers))).numpy()


def _batches(count: int) -> list[npt.NDArray[np.int64]]:
    return np.split(np.arange(count), range(EVALUATION_BATCH, count, EVALUATION_BATCH))


def fingerprint(training: FoldData, validation: FoldData, config: TrainingConfig, features: Features) -> str:
    """Digest of all that a run's weights follow from. A checkpoint is resumed only where dataset and settings match."""
    digest = hashlib.sha256(config.model_dump_json(exclude=set(NOT_IN_WEIGHTS)).encode() + features.digest().encode())
    for fold in (training, validation):
        digest.update("".join(fold.image_ids).encode() + fold.severity.tobytes())
    return digest.hexdigest()


def _seconds_since(begun: float) -> float:
    return time.monotonic() - begun


def _validate(net: SkinNet, validation: Sample, weights: Tensor) -> tuple[float, dict[str, float]]:
    """The convolutional judge's loss, which tells when it has learnt enough, and the scores of both judges together."""
    linear, convolutional = logits_of(net, validation.answers)
    device = net.share.device
    logits = net.mixed(linear.to(device), convolutional.to(device)).cpu()
    severity = torch.from_numpy(validation.data.severity)
    loss = ordinal_loss(convolutional, severity, weights).item()
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


def _sample_order(count: int, needed: int, generator: torch.Generator, importance: Tensor | None) -> Tensor:
    """Every sample once in random order, and some again, so that all batches are full; or drawn by `importance`."""
    if importance is not None:
        return torch.multinomial(importance, needed, replacement=True, generator=generator)
    order = torch.randperm(count, generator=generator)
    repeats = math.ceil(needed / count)
    return order.repeat(repeats)[:needed]


@torch.no_grad()
def _update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move averaged weights and statistics towards the current ones (Polyak & Juditsky, 1992)."""
    targets = [tensor for tensor in average.state_dict().values() if tensor.is_floating_point()]
    sources = [tensor for tensor in net.state_dict().values() if tensor.is_floating_point()]
    torch._foreach_lerp_(targets, sources, 1 - decay)


_NUMBERS = ("epoch", "step", "best_epoch", "best_loss", "seconds")  # of a training's state


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
        self.seconds = 0.0  # that the epochs took so far, of all tries
        self.best: dict[str, Tensor] = copy.deepcopy(average.state_dict())
        self.history: list[Epoch] = []

    def finish(self, epoch: Epoch, seconds: float) -> None:
        """Record an epoch, and keep its weights if they are the best so far. `seconds`: that all epochs took."""
        self.epoch, self.seconds = epoch.epoch, seconds
        self.history.append(epoch)
        if epoch.validation_loss < self.best_loss:
            self.best_loss, self.best_epoch = epoch.validation_loss, epoch.epoch
            self.best = copy.deepcopy(self._average.state_dict())

    def save(self, path: Path) -> None:
        """Write whole or not at all."""
        buffer = io.BytesIO()  # torch tells of a full disk in words of its own, and closes a file of its own
        torch.save(
            {name: part.state_dict() for name, part in self._parts.items()}
            | {"best": self.best, "history": [asdict(epoch) for epoch in self.history]}
            | {name: getattr(self, name) for name in _NUMBERS}
            | {"run": self._run, "random": torch.get_rng_state(), "config": asdict(self._average.config)},
            buffer,
        )
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)

    def restore(self, path: Path) -> bool:
        """Load a checkpoint. One that is damaged or of another run is ignored. Returns whether one was loaded."""
        try:
            stored = torch.load(path, weights_only=True, map_location="cpu")
            if stored["run"] != self._run or not set(_NUMBERS) <= set(stored):
                return False
        except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError):
            return False
        for name, part in self._parts.items():
            part.load_state_dict(stored[name])
        self.best, self.history = stored["best"], [Epoch(**epoch) for epoch in stored["history"]]
        for name in _NUMBERS:
            setattr(self, name, stored[name])
        return True

    def best_net(self) -> SkinNet:
        """The best weights, in a network of their own."""
        net = copy.deepcopy(self._average).cpu()
        net.load_state_dict(self.best)
        return net.eval()
