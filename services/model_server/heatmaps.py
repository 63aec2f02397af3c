"""Maps of where a condition's evidence lies, as PNGs to be laid on the frame."""

from __future__ import annotations

import base64
import io
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from PIL import Image

OVERLAY_SIDE = 256  # pixels: a map of a few cells, smooth on a phone's screen

# Of an overlay, from where evidence is weakest to where it is strongest: blue to yellow, which skin never is.
_WEAK, _STRONG = np.array((40.0, 70.0, 255.0)), np.array((255.0, 225.0, 60.0))
_CLEAR_TO, _DENSE_FROM, _MOST_DENSE = 0.25, 0.85, 210.0  # of the scale; of 255

Maps = npt.NDArray[np.float32]


class Heatmap(StrEnum):
    """How a heatmap is asked for."""

    NONE = "none"
    GRID = "grid"
    OVERLAY = "overlay"


def heatmap_png(activation: Maps, kind: Heatmap, max_side: int) -> str:
    """One activation map (h, w) as base64 of a PNG. `max_side`: of a grid, in pixels; a larger one is scaled down.

    A grid is greyscale, stretched from its least (0) to its greatest (255); an overlay is the same in colours. A
    constant map points nowhere and is black, or clear.
    """
    values = activation.astype(np.float64)
    low, high = values.min(), values.max()
    scaled = (values - low) / (high - low) if high - low > np.finfo(np.float32).eps else np.zeros_like(values)
    picture = Image.fromarray(np.round(scaled * 255).astype(np.uint8))
    if kind is Heatmap.OVERLAY:
        # Enlarged first and coloured then: the other way round, blending would make colours of no meaning.
        picture = _coloured(picture.resize((OVERLAY_SIDE, OVERLAY_SIDE), Image.Resampling.BICUBIC))
    else:
        picture.thumbnail((max_side, max_side), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=kind is Heatmap.GRID)
    return base64.b64encode(buffer.getvalue()).decode()


def _coloured(grey: Image.Image) -> Image.Image:
    """A greyscale picture as one of colours, clear where it is dark."""
    heat = np.asarray(grey).astype(np.float64)[..., np.newaxis] / 255
    colours = _WEAK + (_STRONG - _WEAK) * heat
    density = _MOST_DENSE * np.clip((heat - _CLEAR_TO) / (_DENSE_FROM - _CLEAR_TO), 0, 1)
    return Image.fromarray(np.round(np.concatenate([colours, density], axis=-1)).astype(np.uint8))
