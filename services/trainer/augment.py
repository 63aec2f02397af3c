"""Random changes of training pictures that change no label: place, size, light, colour, hidden parts.

Flips are not here: they come from the dataset's variants. All chance comes from one generator, seeded per
epoch, so that a resumed epoch sees what the undisturbed one saw.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_ZOOM = 0.12  # of the size, either way
MAX_SHIFT = 0.06  # of the side
MAX_TURN = 0.12  # radians, about 7 degrees
MAX_GAIN = 0.10  # of brightness; half of it per colour channel, as a white balance errs
MAX_CONTRAST = 0.15
HIDDEN = 0.25  # side of the hidden square, as a share of the picture; half of the pictures have one


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 (N, S, S, 3) → float32 (N, S, S, 3) in 0…255."""
    count, size = pixels.shape[0], pixels.shape[1]

    def uniform(limit: float, *shape: int) -> Tensor:
        return (torch.rand((count, *shape), generator=generator) * 2 - 1) * limit

    zoom, turn, shift = 1 + uniform(MAX_ZOOM), uniform(MAX_TURN), uniform(2 * MAX_SHIFT, 2)
    transform = torch.stack(
        [
            torch.stack([zoom * torch.cos(turn), -zoom * torch.sin(turn), shift[:, 0]], 1),
            torch.stack([zoom * torch.sin(turn), zoom * torch.cos(turn), shift[:, 1]], 1),
        ],
        1,
    )
    planes = pixels.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(transform, [count, 3, size, size], align_corners=False)
    moved = F.grid_sample(planes, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    moved = moved.permute(0, 2, 3, 1)
    gain = 1 + uniform(MAX_GAIN, 1, 1, 1) + uniform(MAX_GAIN / 2, 1, 1, 3)
    middle = moved.mean((1, 2, 3), keepdim=True)
    lit = ((moved - middle) * (1 + uniform(MAX_CONTRAST, 1, 1, 1)) + middle) * gain
    return _hide(lit.clamp_(0, 255), generator).contiguous()


def _hide(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Cover a random square in half of the pictures (DeVries & Taylor, 2017, https://arxiv.org/abs/1708.04552)."""
    count, size = pixels.shape[0], pixels.shape[1]
    side = max(1, round(size * HIDDEN))
    corner = (torch.rand((count, 2), generator=generator) * (size - side)).long()
    hidden = torch.rand(count, generator=generator) < 0.5
    line = torch.arange(size)
    inside = (line >= corner[:, :, None]) & (line < corner[:, :, None] + side)
    mask = inside[:, 0, :, None] & inside[:, 1, None, :] & hidden[:, None, None]
    return pixels.masked_fill(mask[..., None], 127.5)
