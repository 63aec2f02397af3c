"""Filters of planes in NumPy: resizing, Gaussian blur, slopes, distance.

They work in strips of a few rows, so that what goes from one step to the next stays in the processor's cache. Pixel
centres lie at whole numbers; beyond the picture its edge is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
"""(height, width) float32."""

_STEP = 4  # pixels that become one for a wide blur
_STRIP = 32  # rows: with the four buffers of a filter about 256 KiB at 512 columns, a core's own cache
_BLOCK = 32  # side of the blocks of a band matrix: of its product with a plane, all else is zeros
_REACH = 3.0  # radius of a Gaussian in standard deviations; what lies outside weighs 0.3%
_CUBIC = -0.75  # slope of the cubic kernel at 1: a little crisper than Catmull-Rom


def as_plane(array: Any) -> Plane:
    """The array as float32, without a copy where it is that already."""
    return np.asarray(array, dtype=np.float32)


def _blocks(length: int) -> Iterator[slice]:
    for start in range(0, length, _BLOCK):
        yield slice(start, min(start + _BLOCK, length))


def _rows(height: int) -> Iterator[slice]:
    for start in range(0, height, _STRIP):
        yield slice(start, min(start + _STRIP, height))


@lru_cache(maxsize=512)
def _interpolation(source: int, target: int, smooth: bool) -> list[tuple[slice, slice, Plane]]:
    """Blocks of the band matrix that makes `target` samples of `source`: its rows, its columns, its weights."""
    at = (np.arange(target) + 0.5) * (source / target) - 0.5
    first = np.floor(at).astype(np.intp)
    t = at - first
    if smooth:
        far = [_CUBIC * (((x - 5) * x + 8) * x - 4) for x in (1 + t, 2 - t)]
        near = [((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1 for x in (t, 1 - t)]
        taps, weights = first + np.arange(-1, 3)[:, None], [far[0], near[0], near[1], far[1]]
    else:
        taps, weights = first + np.arange(2)[:, None], [1 - t, t]
    taps = np.clip(taps, 0, source - 1)
    blocks = []
    for rows in _blocks(target):
        columns = slice(int(taps[0, rows.start]), int(taps[-1, rows.stop - 1]) + 1)
        matrix = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.float32)
        for tap, weight in zip(taps[:, rows], weights, strict=True):
            matrix[np.arange(len(matrix)), tap - columns.start] += weight[rows]
        blocks.append((rows, columns, matrix))
    return blocks


def resize(plane: Plane, width: int, height: int, *, smooth: bool = True) -> Plane:
    """The plane at another size by interpolation, cubic where `smooth`, else linear."""
    wide = np.empty((plane.shape[0], width), dtype=np.float32)
    for columns, taps, matrix in _interpolation(plane.shape[1], width, smooth):
        np.matmul(plane[:, taps], matrix.T, out=wide[:, columns])
    result = np.empty((height, width), dtype=np.float32)
    for rows, taps, matrix in _interpolation(plane.shape[0], height, smooth):
        np.matmul(matrix, wide[taps], out=result[rows])
    return result


def _shrink(plane: Plane, step: int) -> Plane:
    """Means of squares of `step` pixels; the edge is repeated to fill the last ones."""
    height, width = plane.shape
    if height % step or width % step:
        plane = np.pad(plane, ((0, -height % step), (0, -width % step)), mode="edge")
    tall = plane[::step].copy()
    for row in range(1, step):
        tall += plane[row::step]
    small = tall[:, ::step].copy()
    for column in range(1, step):
        small += tall[:, column::step]
    small *= np.float32(1.0 / (step * step))
    return small


@lru_cache(maxsize=256)
def _band(sigma: float) -> Plane:
    """A block of the band matrix of a Gaussian blur: (_BLOCK, _BLOCK + 2 reach)."""
    reach = max(1, round(_REACH * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    band = np.zeros((_BLOCK, _BLOCK + 2 * reach + 1), dtype=np.float32)
    band[:, : 2 * reach + 1] = weights / weights.sum()
    # Read in rows that are one shorter, each row starts one column further right.
    return band.ravel()[: _BLOCK * (_BLOCK + 2 * reach)].reshape(_BLOCK, _BLOCK + 2 * reach)


def _with_margin(block: slice, reach: int, length: int) -> slice | npt.NDArray[np.intp]:
    """Indices of a block and of `reach` samples on both sides; the edge is repeated beyond 0..length."""
    if block.start >= reach and block.stop + reach <= length:
        return slice(block.start - reach, block.stop + reach)
    return np.clip(np.arange(block.start - reach, block.stop + reach), 0, length - 1)


def _blur(plane: Plane, sigma: float) -> Plane:
    band = _band(sigma)
    reach = (band.shape[1] - _BLOCK) // 2
    height, width = plane.shape
    down, result = np.empty_like(plane), np.empty_like(plane)
    for rows in _blocks(height):
        count = rows.stop - rows.start
        np.matmul(band[:count, : count + 2 * reach], plane[_with_margin(rows, reach, height)], out=down[rows])
    for columns in _blocks(width):
        count = columns.stop - columns.start
        near = down[:, _with_margin(columns, reach, width)]
        np.matmul(near, band[:count, : count + 2 * reach].T, out=result[:, columns])
    return result


def blur(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur; one too small to matter returns the plane itself, a wide one is done at reduced size."""
    if sigma < 0.25 or not plane.size:
        return plane
    if sigma > 4.0 and min(plane.shape) >= 64:
        height, width = plane.shape
        small = _blur(_shrink(plane, _STEP), sigma / _STEP)
        return resize(small, small.shape[1] * _STEP, small.shape[0] * _STEP, smooth=False)[:height, :width]
    return _blur(plane, sigma)


def slopes(plane: Plane) -> tuple[Plane, Plane]:
    """Slope of a height along x and y, per pixel, by Sobel's kernels."""
    height, _ = plane.shape
    padded = np.pad(plane, 1, mode="edge")
    along_x, along_y = np.empty_like(plane), np.empty_like(plane)
    eighth = np.float32(0.125)
    for rows in _rows(height):
        upper, here, lower = (padded[rows.start + i : rows.stop + i] for i in range(3))
        fall = lower - upper
        level = upper + lower
        level += here
        level += here
        np.subtract(level[:, 2:], level[:, :-2], out=along_x[rows])
        np.add(fall[:, 2:], fall[:, :-2], out=along_y[rows])
        along_y[rows] += fall[:, 1:-1]
        along_y[rows] += fall[:, 1:-1]
        along_x[rows] *= eighth
        along_y[rows] *= eighth
    return along_x, along_y


def distance_inside(inside: npt.NDArray[np.bool_], limit: int) -> Plane:
    """Distance in pixels from each place inside to the nearest one outside, at most `limit`; 0 outside."""
    rows = np.arange(inside.shape[0], dtype=np.float32)[:, None]
    above = rows - np.maximum.accumulate(np.where(inside, np.float32(-limit), rows), axis=0)
    below = np.minimum.accumulate(np.where(inside, rows[-1] + np.float32(limit), rows)[::-1], axis=0)[::-1] - rows
    square = np.minimum(np.minimum(above, below), np.float32(limit)) ** 2
    nearest = square.copy()
    for offset in range(1, min(limit, inside.shape[1])):
        away = square + np.float32(offset * offset)
        np.minimum(nearest[:, offset:], away[:, :-offset], out=nearest[:, offset:])
        np.minimum(nearest[:, :-offset], away[:, offset:], out=nearest[:, :-offset])
    return as_plane(np.sqrt(nearest))
