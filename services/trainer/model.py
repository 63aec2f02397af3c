"""What is learnt: two judges of a picture's features, each with an ordinal head per condition.

One file, read from top to bottom. The linear judge sees means and spreads over the whole picture. It has one optimum,
which a few hundred pictures are enough for. The convolutional judge sees where things are: it learns what shapes look
like, and gives the maps of evidence. Their mean, weighted and calibrated on the validation fold, is the model's answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from services.trainer.features import Features
from shared.taxonomy import Condition, Severity

EVIDENCE_SCALE = 4.0  # evidence runs to about ±15: scaled so that the served maps hardly saturate
LEVELS = len(Severity)  # thresholds of the ordinal head: severity >= 1, >= 2, >= 3


@dataclass(frozen=True)
class ModelConfig:
    """The sizes that the network is built with.

    `input_size`: pixels of the square input, a multiple of `cell`. `scales`: how many resolutions the filters
    look at, each half the one before. `cell`: pixels of the square over which features are pooled. `width`, `depth`:
    channels and residual blocks of the convolutional judge. `dropout`: share of its input channels and of its pooled
    features that a training step leaves out.
    """

    input_size: int = 224
    scales: int = 3
    cell: int = 16
    width: int = 64
    depth: int = 2
    dropout: float = 0.1
    conditions: int = len(Condition)


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """Two 3×3 convolutions around a shortcut (He et al., 2016, https://arxiv.org/abs/1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)
        last = self.second[1]
        assert isinstance(last, nn.BatchNorm2d)
        nn.init.zeros_(last.weight)  # a block starts as the identity: short trainings converge sooner

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h, w)."""
        return F.relu(features + self.second(F.relu(self.first(features))))


class LinearJudge(nn.Module):
    """Statistics of a picture → ordinal logits. Its weights are fitted by `linear.fit`, not by steps."""

    def __init__(self, statistics: int, conditions: int) -> None:
        super().__init__()
        self.centre: Tensor
        self.scale: Tensor
        self.weights: Tensor
        self.cuts: Tensor
        self.register_buffer("centre", torch.zeros(statistics))
        self.register_buffer("scale", torch.ones(statistics))
        self.register_buffer("weights", torch.zeros(statistics, conditions))
        self.register_buffer("cuts", torch.zeros(conditions, LEVELS))

    def forward(self, statistics: Tensor) -> Tensor:
        """(N, D) → (N, conditions, 3)."""
        score = ((statistics - self.centre) / self.scale) @ self.weights
        return score[..., None] - self.cuts


class ConvolutionalJudge(nn.Module):
    """Features on a grid → ordinal logits and evidence maps.

    Evidence is pooled twice, as its strongest places (acne) and through mean and spread of what is learnt over the
    face (redness, texture).
    """

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(
            nn.Dropout2d(config.dropout),
            _convolution(channels, config.width),
            nn.ReLU(),
            *(Block(config.width) for _ in range(config.depth)),
        )
        self.evidence = nn.Conv2d(config.width, config.conditions, 1)
        self.overall = nn.Linear(2 * config.width, config.conditions)
        self.dropout = nn.Dropout(config.dropout)
        self.sharpness = nn.Parameter(torch.zeros(config.conditions))
        self.first_cut = nn.Parameter(torch.zeros(config.conditions))
        self.steps = nn.Parameter(torch.zeros(config.conditions, LEVELS - 1))

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """(N, channels, h, w) → logits (N, conditions, 3), evidence (N, conditions, h, w)."""
        features = self.features(self.normalise(grid))
        evidence = self.evidence(features)
        places = evidence.flatten(2)
        # Log-sum-exp: between mean and maximum, learnt per condition (Pinheiro & Collobert, 2015, arXiv:1411.6228).
        sharp = F.softplus(self.sharpness)[None, :, None] + 0.1
        strongest = (torch.logsumexp(sharp * places, 2) - math.log(places.shape[2])) / sharp[..., 0]
        mean = features.mean((2, 3))
        spread = (features - mean[:, :, None, None]).square().mean((2, 3)).add(1e-4).sqrt()
        score = strongest + self.overall(self.dropout(torch.cat([mean, spread], 1)))
        return score[..., None] - ordered_cuts(self.first_cut, self.steps), evidence


def ordered_cuts(first: Tensor, steps: Tensor) -> Tensor:
    """First cut points (C,) and steps of any sign (C, 2) → three cut points, each above the one before (C, 3)."""
    return torch.cat([first[:, None], F.softplus(steps) + 1e-2], 1).cumsum(1)


class SkinNet(nn.Module):
    """Features → ordinal logits and evidence maps.

    The heads are cumulative-link models (McCullagh, 1980; as a network's last layer: CORAL, Cao et al., 2020,
    https://arxiv.org/abs/1901.07884): one score per condition, compared with three ordered cut points, so
    P(severity >= k) never grows with k.
    """

    def __init__(self, config: ModelConfig, channels: int, statistics: int) -> None:
        super().__init__()
        self.config = config
        self.linear = LinearJudge(statistics, config.conditions)
        self.convolutional = ConvolutionalJudge(config, channels)
        self.share: Tensor
        self.slopes: Tensor
        self.shifts: Tensor
        self.register_buffer("share", torch.tensor(0.5))  # the linear judge's, of the score
        self.register_buffer("slopes", torch.ones(config.conditions))
        self.register_buffer("shifts", torch.zeros(config.conditions, LEVELS))

    def forward(self, grid: Tensor, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Grid (N, channels, h, w), statistics (N, D) → logits of severity >= 1, 2, 3, and evidence.

        The logits (N, conditions, 3) are calibrated. The evidence (N, conditions, h, w) has no unit.
        """
        convolutional, evidence = self.convolutional(grid)
        return self.mixed(self.linear(statistics), convolutional), evidence

    def mixed(self, linear: Tensor, convolutional: Tensor) -> Tensor:
        """The two judges' logits → the model's, calibrated; each (N, conditions, 3)."""
        logits = self.share * linear + (1 - self.share) * convolutional
        return self.slopes[:, None] * logits + self.shifts


def severity_probabilities(logits: Tensor) -> Tensor:
    """Cumulative logits (…, 3) → P(absent), P(mild), P(moderate), P(severe) (…, 4), summing to 1."""
    at_least = torch.sigmoid(logits)
    return torch.cat([1 - at_least[..., :1], at_least[..., :-1] - at_least[..., 1:], at_least[..., -1:]], -1)


class ServedNet(nn.Module):
    """The graph that is exported: uint8 pixels in, severity probabilities and evidence maps out."""

    def __init__(self, features: Features, net: SkinNet) -> None:
        super().__init__()
        self.features = features
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, S, S, 3) → float32 (N, conditions, 4), float32 (N, conditions, h, w) in 0…1."""
        logits, evidence = self.net(*self.features(image))
        return severity_probabilities(logits), torch.sigmoid(evidence / EVIDENCE_SCALE)
