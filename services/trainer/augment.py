"""Changes pictures at random without changing their labels. Works on features, where it costs next to nothing.

On logarithms of colours a brighter or warmer light is a sum, and a stronger contrast (gamma) a product. Flips
are not made here: the dataset has them as variants. One generator, seeded per epoch, makes every random number, so
a resumed epoch sees the same pictures as an undisturbed one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from services.trainer.filters import LOG_COLOURS

MAX_SHIFT = 1  # cells, either way, both axes
MAX_LIGHT = 0.15  # of the logarithm: about 15% brighter or darker
MAX_TINT = 0.05  # the same per colour channel, as a white balance errs
MAX_GAMMA = 0.15
MAP_NOISE = 0.5
"""Standard deviation of the noise on a backbone's maps, by that of a channel over the picture: once the same for all
cells, once for each. A shift of a picture by 0.1 pixels moves the means of its last maps by 6% of their spread over
pictures (the filters' by 1%), and one by 0.03 changed answers by up to 0.1. Noise in training is a penalty on such
slopes (Bishop, Neural Computation 7, 1995). With it, borders and an off-centre face change answers by 0.010 on average,
by 0.015 without, and the test fold's scores stay; twice as much costs balanced accuracy, 0.885 for 0.914."""
HIDDEN_SIDE = 0.25  # side of the hidden square, as a share of the picture; half of the pictures have one


def augment(
    answers: Tensor, generator: torch.Generator, filters: int, part: slice = slice(None), count: int | None = None
) -> Tensor:
    """Return features (N, C, h, w; the mean log colours first) as of the same faces in other light and frame.

    `filters`: number of channels that are filter answers, which come first. What a backbone makes of
    other light is not known without asking it: its maps are moved, hidden, and made noisy. `part`: which pictures
    of a batch of `count` these are; None: all. A picture is changed in the same way whichever part of the batch it
    comes in.
    """
    count = len(answers) if count is None else count
    height = answers.shape[2]
    side = max(1, round(height * HIDDEN_SIDE))

    def uniform(limit: float, *shape: int) -> Tensor:
        return ((torch.rand((count, *shape), generator=generator) * 2 - 1) * limit)[part]

    def whole(below: int) -> Tensor:
        return torch.randint(0, below, (count, 2), generator=generator)[part]

    if filters:
        gamma, light = uniform(MAX_GAMMA, 1, 1, 1), uniform(MAX_LIGHT, 1, 1, 1)
        tint = uniform(MAX_TINT, LOG_COLOURS, 1, 1)
    moves = whole(2 * MAX_SHIFT + 1) - MAX_SHIFT
    corners = whole(height - side + 1)
    covered = (torch.rand(count, generator=generator) < 0.5)[part]
    noise = _noise(answers[:, filters:], count, generator, part) if filters < answers.shape[1] else None
    changed = _moved(answers, moves)
    if filters:
        changed[:, :filters] *= 1 + gamma
        changed[:, :LOG_COLOURS] += light + tint
    if noise is not None:
        changed[:, filters:] += noise
    return _hidden(changed, corners, covered, side)


def _noise(maps: Tensor, count: int, generator: torch.Generator, part: slice) -> Tensor:
    """Noise for a backbone's maps (n, C, h, w), which are `part` of a batch of `count`; MAP_NOISE says how much."""
    _, channels, height, width = maps.shape
    everywhere = torch.randn((count, channels, 1, 1), generator=generator)[part]
    each = torch.randn((count, height, width, channels), generator=generator)[part].permute(0, 3, 1, 2)
    return MAP_NOISE * maps.std((2, 3), correction=0, keepdim=True) * (everywhere + each)


def _moved(answers: Tensor, moves: Tensor) -> Tensor:
    """Move each picture by whole cells (N, 2), down and right; what comes in repeats the edge. A copy."""
    height, width = answers.shape[2:]
    rows = (torch.arange(height) + moves[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width) + moves[:, 1:]).clamp(0, width - 1)
    numbers = torch.arange(len(answers))[:, None, None]
    cells = answers.permute(0, 2, 3, 1)  # as they lie in memory: whole cells are copied
    return cells[numbers, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _hidden(answers: Tensor, corners: Tensor, covered: Tensor, side: int) -> Tensor:
    """Put a picture's mean into a square of `side` cells, where `covered` (DeVries & Taylor, 2017). Changes it."""
    for number in covered.nonzero()[:, 0].tolist():
        top, left = corners[number].tolist()
        picture = answers[number]
        picture[:, top : top + side, left : left + side] = picture.mean((1, 2))[:, None, None]
    return answers
