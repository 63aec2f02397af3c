"""The network: a compact residual convolutional net with an ordinal severity head per condition.

One file, read from top to bottom. Pixels come in as the camera gives them (uint8, NHWC) and are normalised
here, so that the exported graph carries it. Fine detail (pores, lines) and weak tints over the whole face
(redness) both decide, so the evidence maps are pooled twice: their strongest places, and their mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.taxonomy import Condition, Severity

LEVELS = len(Severity)  # thresholds of the ordinal head: severity >= 1, >= 2, >= 3


@dataclass(frozen=True)
class ModelConfig:
    """What rebuilds the network.

    `input_size`: pixels of the square input. `stem`: channels and stride of the first convolution, which
    turns pixels into features at once. `widths`, `depths`: channels and residual blocks per stage; each
    stage after the first halves the resolution. `dropout`: of pooled evidence features.
    """

    input_size: int = 192
    stem_kernel: int = 5
    stem_stride: int = 4
    widths: tuple[int, ...] = (24, 48, 96)
    depths: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.1
    conditions: int = len(Condition)


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


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
    P(severity >= k) never grows with k.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        stages: list[nn.Module] = [_convolution(3, widths[0], config.stem_kernel, config.stem_stride), nn.ReLU()]
        for position, (width, depth) in enumerate(zip(widths, config.depths, strict=True)):
            if position:
                stages += [_convolution(widths[position - 1], width, stride=2), nn.ReLU()]
            stages += [Block(width) for _ in range(depth)]
        self.features = nn.Sequential(*stages)
        self.evidence = nn.Conv2d(widths[-1], config.conditions, 1)
        self.overall = nn.Linear(2 * widths[-1], config.conditions)
        self.dropout = nn.Dropout(config.dropout)
        self.sharpness = nn.Parameter(torch.zeros(config.conditions))
        self.first_cut = nn.Parameter(torch.zeros(config.conditions))
        self.steps = nn.Parameter(torch.zeros(config.conditions, LEVELS - 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, S, S, 3) in 0…255 → logits of severity >= 1, 2, 3 (N, conditions, 3), evidence (N, conditions, h, w)."""
        normalised = (pixels.permute(0, 3, 1, 2).float() - 127.5) / 63.75
        features = self.features(normalised)
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
        """uint8 (N, S, S, 3) → float32 (N, conditions, 4), float32 (N, conditions, h, w)."""
        logits, evidence = self.net(image)
        return severity_probabilities(logits), evidence
