"""Drawing helpers: random streams, noise, curves, stamps and blending. Knows nothing of faces.

A `Picture` is (3, height, width) float32 RGB in linear light, where display values are its square root (gamma 2.0:
close enough to sRGB here, and far cheaper).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from services.generator.procedural.filters import Plane, as_plane, blur, resize
from services.generator.procedural.shapes import Points

Picture = npt.NDArray[np.float32]
Colour = tuple[float, float, float]

_TILE = 1024  # side in pixels of the shared noise tiles; as large as the largest picture


def random_stream(seed: int, purpose: str) -> np.random.Generator:
    """A random generator for one purpose: what one drawing takes from it changes no other drawing."""
    entropy = np.random.SeedSequence([seed & (2**64 - 1), zlib.crc32(purpose.encode())])
    return np.random.Generator(np.random.PCG64(entropy))


def linear(colour: Sequence[float] | npt.NDArray[np.float64]) -> Colour:
    """Display colour in 0..255 to linear light in 0..1."""
    red, green, blue = (float(channel) / 255.0 for channel in colour)
    return (red * red, green * green, blue * blue)


def smoothstep(low: float, high: float, values: Plane) -> Plane:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - np.float32(low)) * np.float32(1.0 / (high - low)), 0.0, 1.0)
    return as_plane(t * t * (3.0 - 2.0 * t))


def bell(u: Plane, v: Plane, centre: tuple[float, float], radii: tuple[float, float]) -> Plane:
    """A Gaussian bump of height 1; `radii` are its standard deviations."""
    x, y = u - np.float32(centre[0]), v - np.float32(centre[1])
    x *= np.float32(1.0 / radii[0])
    y *= np.float32(1.0 / radii[1])
    x *= x
    y *= y
    x += y
    x *= np.float32(-0.5)
    return as_plane(np.exp(x, out=x))


@lru_cache(maxsize=8)
def _noise_tile(index: int, sigma: float) -> Plane:
    white = random_stream(index, "white noise tile").standard_normal((_TILE, _TILE), dtype=np.float32)
    tile = blur(white, sigma)
    tile.setflags(write=False)
    return tile


def white_noise(rng: np.random.Generator, size: int, tile: int = 0, sigma: float = 0.0) -> Plane:
    """Standard normal noise (size, size), blurred by `sigma` pixels: a random window, perhaps upside down, of a tile.

    A tile is made once and blurred once, so `sigma` must be one of a few values.
    """
    source = _noise_tile(tile, sigma)
    y, x = (int(value) for value in rng.integers(0, _TILE - size + 1, 2))
    turn = int(rng.integers(0, 8))
    rolled = source[y : y + size, x : x + size] if size < _TILE else np.roll(source, (y + turn * 97, x + 31), (0, 1))
    return rolled[::-1] if turn & 1 else rolled


def smooth_noise(rng: np.random.Generator, size: int, cell: float) -> Plane:
    """Value noise (size, size) with features of about `cell` pixels, standard deviation about 0.7."""
    count = max(round(size / cell), 2)
    coarse = rng.standard_normal((count, count), dtype=np.float32)
    return resize(coarse, size, size)


def fractal_noise(rng: np.random.Generator, size: int, cell: float, octaves: int = 3) -> Plane:
    """Sum of value noise at `cell`, `cell`/2, … with halving weight."""
    total = smooth_noise(rng, size, cell)
    for octave in range(1, octaves):
        if cell / 2**octave < 1.5:
            break
        total = total + smooth_noise(rng, size, cell / 2**octave) * np.float32(0.5**octave)
    return as_plane(total)


def curve(points: Points, samples: int = 8, closed: bool = False) -> Points:
    """Catmull-Rom curve through the points, `samples` per span."""
    count = len(points)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
        spans = count
    else:
        padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
        spans = count - 1
    t = (np.arange(samples) / samples)[None, :, None]
    p0, p1, p2, p3 = (padded[i : i + spans, None, :] for i in range(4))
    body = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    flat = body.reshape(-1, points.shape[1])
    return flat if closed else np.concatenate([flat, points[-1:]])


def box_around(points: Points, margin: float, size: int) -> tuple[slice, slice] | None:
    """Rows and columns that hold the points and a margin, or None where that is outside the picture."""
    x0, y0 = np.floor(points.min(axis=0) - margin).astype(int)
    x1, y1 = np.ceil(points.max(axis=0) + margin).astype(int) + 1
    x0, y0, x1, y1 = max(int(x0), 0), max(int(y0), 0), min(int(x1), size), min(int(y1), size)
    return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None


def stamp(
    plane: Plane,
    centre: tuple[float, float],
    radii: tuple[float, float],
    amount: float,
    *,
    angle: float = 0.0,
    flatness: float = 2.0,
    wobble: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Add one soft spot to a plane in place.

    `radii` in pixels is where it has fallen to 0.6; `flatness` 2 is a Gaussian, more makes a plateau with an edge;
    `wobble` is the strength and the phase of an irregular outline.
    """
    reach = 3.2 if flatness <= 2 else 2.2
    x, y = centre
    margin = reach * max(radii) * (1.0 + abs(wobble[0]))
    box = box_around(np.array([[x, y]]), margin, plane.shape[0])
    if box is None:
        return
    rows, columns = box
    dx = (np.arange(columns.start, columns.stop, dtype=np.float32) - x)[None, :]
    dy = (np.arange(rows.start, rows.stop, dtype=np.float32) - y)[:, None]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    across, along = (dx * cosine + dy * sine) / radii[0], (dy * cosine - dx * sine) / radii[1]
    distance = across * across + along * along
    if wobble[0]:
        theta = np.arctan2(along, across)
        ripple = np.sin(2 * theta + wobble[1]) + 0.7 * np.sin(3 * theta + 2.3 * wobble[1])
        distance = distance * (1.0 + np.float32(wobble[0]) * ripple) ** 2
    shape = distance if flatness == 2 else distance ** (flatness / 2)
    plane[rows, columns] += np.float32(amount) * np.exp(-0.5 * shape)


def splat(size: int, points: Points, amounts: npt.NDArray[np.float64], sigma: float) -> Plane:
    """Many equal Gaussian dots at once: impulses at subpixel places, blurred; each peaks at its amount."""
    plane = np.zeros((size, size), dtype=np.float32)
    inside = np.all((points >= 0) & (points < size - 1), axis=1)
    if not inside.any():
        return plane
    sigma = max(sigma, 0.45)
    points, peaks = points[inside], as_plane(amounts[inside])
    box = box_around(points, 3 * sigma + 2, size) or (slice(0, size), slice(0, size))
    x, y = points[:, 0] - box[1].start, points[:, 1] - box[0].start
    column, row = x.astype(np.int64), y.astype(np.int64)
    fx, fy = as_plane(x - column), as_plane(y - row)
    impulses = np.zeros_like(plane[box])
    at, width, flat = row * impulses.shape[1] + column, impulses.shape[1], impulses.reshape(-1)
    for dy, wy in ((0, 1 - fy), (width, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            np.add.at(flat, at + (dy + dx), peaks * wx * wy)
    np.multiply(blur(impulses, sigma), np.float32(2.0 * np.pi * sigma * sigma), out=plane[box])
    return plane


def shown_box(mask: Plane) -> tuple[slice, slice]:
    """The smallest box, rows and columns, around what a mask shows."""
    rows = _span(mask.max(axis=1))
    return rows, _span(mask[rows].max(axis=0)) if rows.stop else rows


def _span(values: Plane) -> slice:
    """From the first to the last value that shows."""
    where = np.flatnonzero(values > 1e-3)
    return slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 0)


def strips(box: tuple[slice, slice], height: int = 64) -> Iterator[tuple[slice, slice]]:
    """The box in strips of a few rows: what is computed pixel by pixel stays in the cache."""
    rows, columns = box
    for start in range(rows.start, rows.stop, height):
        yield slice(start, min(start + height, rows.stop)), columns


def blend(
    picture: Picture, colour: Colour | Picture | Sequence[Plane], mask: Plane, box: tuple[slice, slice] | None = None
) -> None:
    """Blend a colour, or a picture, over the picture in place by a mask; nothing happens outside `box`."""
    for rows, columns in strips(box or shown_box(mask), 96):
        weight = mask[rows, columns]
        for channel in range(3):
            target = picture[channel, rows, columns]
            source = colour[channel]
            value: Any = source[rows, columns] if isinstance(source, np.ndarray) else np.float32(source)
            change = value - target
            change *= weight
            target += change
