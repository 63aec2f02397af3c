"""Fixed filters that see skin: lines, spots and tints at several scales, without learning.

A few hundred pictures are too few to learn edge and spot filters from nothing, so these are given, as in scattering
networks (Oyallon et al., 2017, https://arxiv.org/abs/1703.08961). Pores and fine lines are a pixel or two wide: they
are looked for at full resolution.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOG_COLOURS = 3
NOISE = 8.0  # of 255: added before the logarithm, so that the noise of dark pixels is not blown up


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
    """Pixels → pooled answers of the filter bank at `scales` resolutions, and the mean log colours, per cell."""

    def __init__(self, scales: int, cell: int) -> None:
        super().__init__()
        self._scales, self._cell = scales, cell
        self.bank: Tensor
        self.register_buffer("bank", filter_bank())
        self.channels = LOG_COLOURS + 3 * len(self.bank) * scales

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
