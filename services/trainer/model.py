"""The network: fixed filters that see skin, a small residual net that learns, an ordinal head per condition.

One file, read from top to bottom. Pixels come in as the camera gives them (uint8, NHWC) and are normalised
here, so that the exported graph carries it. A few hundred pictures are too few to learn edge and spot
filters from nothing, so the first layer is given: filters for lines, spots and tints at several scales, as
in scattering networks (Oyallon et al., 2017, https://arxiv.org/abs/1703.08961). It needs no gradient, which
makes full resolution cheap: pores and fine lines are a pixel or two wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.taxonomy import Condition, Severity

LOG_COLOURS = 3
NOISE = 8.0  # of 255: added before the logarithm, so that the noise of dark pixels is not blown up
EVIDENCE_SCALE = 4.0  # evidence runs to about ±15: scaled so that the served maps hardly saturate
LEVELS = len(Severity)  # thresholds of the ordinal head: severity >= 1, >= 2, >= 3


@dataclass(frozen=True)
class ModelConfig:
    """The sizes that the network is built with.

    `input_size`: pixels of the square input, a multiple of `cell`. `scales`: how many resolutions the filters
    look at, each half the one before. `cell`: pixels of the square over which filter answers are pooled.
    `width`, `depth`: channels and residual blocks of the learnt part. `dropout`: share of its input channels
    and of its pooled features that a training step leaves out.
    """

    input_size: int = 256
    scales: int = 3
    cell: int = 16
    width: int = 64
    depth: int = 2
    dropout: float = 0.1
    conditions: int = len(Condition)


def filter_bank() -> Tensor:
    """Fixed filters (F, 3, 7, 7) on log colours: second derivatives of Gaussians.

    On light: lines in four directions, small and larger spots. On erythema, log R - log G (Diffey et al., 1984,
    use the same ratio), and on yellowness: spots. Differences of logarithms do not change with the strength
    or, but for a constant that the zero sum removes, the colour of the light.
    """
    light, redness, yellowness = (1 / 3, 1 / 3, 1 / 3), (1.0, -1.0, 0.0), (0.5, 0.5, -1.0)
    line = torch.arange(-3, 4, dtype=torch.float32)
    y, x = torch.meshgrid(line, line, indexing="ij")

    def across(angle: float, sigma: float) -> Tensor:
        u = x * math.cos(angle) + y * math.sin(angle)
        return _balanced((u**2 / sigma**2 - 1) * torch.exp(-(x**2 + y**2) / (2 * sigma**2)))

    def spot(sigma: float) -> Tensor:
        square = x**2 + y**2
        return _balanced((square / (2 * sigma**2) - 1) * torch.exp(-square / (2 * sigma**2)))

    shapes: list[tuple[Tensor, tuple[float, float, float]]]
    shapes = [(across(k * math.pi / 4, 1.0), light) for k in range(4)]
    shapes += [(spot(0.8), light), (spot(1.5), light), (spot(0.8), redness), (spot(1.5), redness)]
    shapes += [(spot(1.5), yellowness)]
    return torch.stack([torch.tensor(colour)[:, None, None] * shape for shape, colour in shapes])


def _balanced(shape: Tensor) -> Tensor:
    """Shift to zero sum, which gives a constant no answer, and scale to unit norm."""
    zero_sum = shape - shape.mean()
    return zero_sum / zero_sum.square().sum().sqrt()


class FilterAnswers(nn.Module):
    """Pixels → pooled answers of the filter bank at several scales, and the mean log colours, per cell."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._scales, self._cell = config.scales, config.cell
        self.bank: Tensor
        self.register_buffer("bank", filter_bank())
        self.channels = LOG_COLOURS + 3 * len(self.bank) * config.scales

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, S, S, 3) in 0…255 → (N, channels, S / cell, S / cell), the mean log colours first."""
        logs = torch.log(pixels.permute(0, 3, 1, 2).float() + NOISE)
        answers = []
        cell = self._cell
        for scale in range(self._scales):
            stride = 2 if scale == 0 else 1  # at full resolution every other pixel is asked: the filters overlap
            framed = F.pad(logs, (3, 3, 3, 3), mode="replicate")  # zeros would be an edge, and a bright one
            found = F.conv2d(framed, self.bank, stride=stride)
            side = cell // stride
            answers += [F.avg_pool2d(found.abs(), side), F.max_pool2d(found, side), F.max_pool2d(-found, side)]
            logs, cell = F.avg_pool2d(logs, 2), cell // 2
        return torch.cat([F.avg_pool2d(logs, cell), *answers], 1)


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


class SkinNet(nn.Module):
    """Pixels → ordinal logits and evidence maps.

    The head is a cumulative-link model (McCullagh, 1980; as a network's last layer: CORAL, Cao et al., 2020,
    https://arxiv.org/abs/1901.07884): one score per condition, compared with three ordered cut points, so
    P(severity >= k) never grows with k. Evidence is pooled twice, as its strongest places (acne) and through
    mean and spread of the features over the face (redness, texture).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.filters = FilterAnswers(config)
        self.normalise = nn.BatchNorm2d(self.filters.channels)
        self.features = nn.Sequential(
            nn.Dropout2d(config.dropout),
            _convolution(self.filters.channels, config.width),
            nn.ReLU(),
            *(Block(config.width) for _ in range(config.depth)),
        )
        self.evidence = nn.Conv2d(config.width, config.conditions, 1)
        self.overall = nn.Linear(2 * config.width, config.conditions)
        self.dropout = nn.Dropout(config.dropout)
        self.sharpness = nn.Parameter(torch.zeros(config.conditions))
        self.first_cut = nn.Parameter(torch.zeros(config.conditions))
        self.steps = nn.Parameter(torch.zeros(config.conditions, LEVELS - 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, S, S, 3) in 0…255 → logits of severity >= 1, 2, 3 (N, conditions, 3), evidence (N, conditions, h, w)."""
        return self.judge(self.filters(pixels))

    def judge(self, answers: Tensor) -> tuple[Tensor, Tensor]:
        """The learnt part: what `filters` answered → logits and evidence."""
        features = self.features(self.normalise(answers))
        evidence = self.evidence(features)
        places = evidence.flatten(2)
        # Log-sum-exp: between mean and maximum, learnt per condition (Pinheiro & Collobert, 2015, arXiv:1411.6228).
        sharp = F.softplus(self.sharpness)[None, :, None] + 0.1
        strongest = (torch.logsumexp(sharp * places, 2) - math.log(places.shape[2])) / sharp[..., 0]
        mean = features.mean((2, 3))
        spread = (features - mean[:, :, None, None]).square().mean((2, 3)).add(1e-4).sqrt()
        score = strongest + self.overall(self.dropout(torch.cat([mean, spread], 1)))
        cuts = torch.cat([self.first_cut[:, None], F.softplus(self.steps) + 1e-2], 1).cumsum(1)
        return score[..., None] - cuts, evidence


def severity_probabilities(logits: Tensor) -> Tensor:
    """Cumulative logits (…, 3) → P(absent), P(mild), P(moderate), P(severe) (…, 4), summing to 1."""
    at_least = torch.sigmoid(logits)
    return torch.cat([1 - at_least[..., :1], at_least[..., :-1] - at_least[..., 1:], at_least[..., -1:]], -1)


class ServedNet(nn.Module):
    """The graph that is exported: uint8 pixels in, severity probabilities and evidence maps out."""

    def __init__(self, net: SkinNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, S, S, 3) → float32 (N, conditions, 4), float32 (N, conditions, h, w) in 0…1."""
        logits, evidence = self.net(image)
        return severity_probabilities(logits), torch.sigmoid(evidence / EVIDENCE_SCALE)
