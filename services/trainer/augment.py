"""Changes pictures at random without changing their labels. Works on features, where it costs next to nothing.

On logarithms of colours a brighter or warmer light is a sum, and a stronger contrast (gamma) a product. Flips
are not made here: the dataset has them as variants. One generator, seeded per epoch, makes every random number, so
a resumed epoch sees the same pictures as an undisturbed one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from services.trainer.filters import LOG_COLOURS

MAX_SHIFT = 1  # cells, either way, both axes
MAX_LIGHT = 0.15  # of the logarithm: about 15% brighter or darker
MAX_TINT = 0.05  # the same per colour channel, as a white balance errs
MAX_GAMMA = 0.15
HIDDEN_SIDE = 0.25  # side of the hidden square, as a share of the picture; half of the pictures have one


def augment(answers: Tensor, generator: torch.Generator, filters: int) -> Tensor:
    """Return features (N, C, h, w; the mean log colours first) as of the same faces in other light and frame.

    `filters`: number of channels that are filter answers, which come first. What a backbone makes of
    other light is not known without asking it: its maps are moved and hidden alone.
    """
    count = answers.shape[0]

    def uniform(limit: float, *shape: int) -> Tensor:
        return (torch.rand((count, *shape), generator=generator) * 2 - 1) * limit

    changed = answers.clone()
    if filters:
        changed[:, :filters] *= 1 + uniform(MAX_GAMMA, 1, 1, 1)
        changed[:, :LOG_COLOURS] += uniform(MAX_LIGHT, 1, 1, 1) + uniform(MAX_TINT, LOG_COLOURS, 1, 1)
    return _shift_and_hide(changed, generator)


def _shift_and_hide(answers: Tensor, generator: torch.Generator) -> Tensor:
    """Move each picture by whole cells, and blank a random square in half of them (DeVries & Taylor, 2017)."""
    count, _, height, width = answers.shape
    side = max(1, round(height * HIDDEN_SIDE))
    padded = F.pad(answers, (MAX_SHIFT,) * 4, mode="replicate")
    shifts = torch.randint(0, 2 * MAX_SHIFT + 1, (count, 2), generator=generator).tolist()
    corners = torch.randint(0, height - side + 1, (count, 2), generator=generator).tolist()
    hidden = (torch.rand(count, generator=generator) < 0.5).tolist()
    moved = torch.empty_like(answers)
    for position, ((down, right), (top, left), covered) in enumerate(zip(shifts, corners, hidden, strict=True)):
        moved[position] = padded[position, :, down : down + height, right : right + width]
        if covered:
            moved[position, :, top : top + side, left : left + side] = moved[position].mean((1, 2))[:, None, None]
    return moved
