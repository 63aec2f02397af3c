"""Drawing helpers: random streams, noise, antialiased shapes, stamps and blending. Knows nothing of faces.

A `Plane` is (height, width) float32; a `Picture` is (3, height, width) float32 RGB in linear light, where display
values are its square root (gamma 2.0: close enough to sRGB here, and far cheaper). Points are (n, 2) in pixels, x
first.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
Picture = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Amounts = npt.NDArray[np.float64]
Mask8 = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]

_SUBPIXEL_BITS = 4
_STEP = 12  # of 255: the steps in which the strength of many lines goes
_TILE = 1024  # side in pixels of the shared noise tiles; as large as the largest picture


def random_stream(seed: int, purpose: str) -> np.random.Generator:
    """A generator of its own for each purpose, so that drawing one thing never changes how another one comes out."""
    entropy = np.random.SeedSequence([seed & (2**64 - 1), zlib.crc32(purpose.encode())])
    return np.random.Generator(np.random.PCG64(entropy))


def linear(colour: Sequence[float] | npt.NDArray[np.float64]) -> Colour:
    """Display colour in 0..255 to linear light in 0..1."""
    red, green, blue = (float(channel) / 255.0 for channel in colour)
    return (red * red, green * green, blue * blue)


def as_plane(array: Any) -> Plane:
    """The array as float32, without a copy where it is that already."""
    return np.asarray(array, dtype=np.float32)


def smoothstep(low: float, high: float, values: Plane) -> Plane:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - np.float32(low)) * np.float32(1.0 / (high - low)), 0.0, 1.0)
    return as_plane(t * t * (3.0 - 2.0 * t))


def bell(u: Plane, v: Plane, centre: tuple[float, float], radii: tuple[float, float]) -> Plane:
    """A Gaussian bump of height 1; `radii` are its standard deviations."""
    return as_plane(np.exp(-0.5 * (((u - centre[0]) / radii[0]) ** 2 + ((v - centre[1]) / radii[1]) ** 2)))


def resize(plane: Plane, width: int, height: int, *, smooth: bool = True) -> Plane:
    """The plane at another size, cubic where `smooth`, else linear at a third of the cost."""
    return as_plane(cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR))


def blur(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur; one too small to matter returns the plane itself, a wide one is done at reduced size."""
    if sigma < 0.25:
        return plane
    if sigma > 3.0 and min(plane.shape) >= 64:
        height, width = plane.shape
        step = 2 if sigma < 6.0 else 4
        small = as_plane(cv2.resize(plane, (width // step, height // step), interpolation=cv2.INTER_AREA))
        return as_plane(cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / step), (width, height)))
    return as_plane(cv2.GaussianBlur(plane, (0, 0), sigma))


@lru_cache(maxsize=4)
def _white_tile(index: int) -> Plane:
    tile = random_stream(index, "white noise tile").standard_normal((_TILE, _TILE), dtype=np.float32)
    tile.setflags(write=False)
    return tile


def white_noise(rng: np.random.Generator, size: int, tile: int = 0) -> Plane:
    """Standard normal noise (size, size): a random window, perhaps mirrored, of a tile that is made once."""
    source = _white_tile(tile)
    y, x = (int(value) for value in rng.integers(0, _TILE - size + 1, 2))
    turn = int(rng.integers(0, 8))
    rolled = source[y : y + size, x : x + size] if size < _TILE else np.roll(source, (y + turn * 97, x + 31), (0, 1))
    return as_plane(rolled[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1])


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


def blank(size: int) -> Mask8:
    """An empty 8-bit mask (size, size) to stroke and fill."""
    return np.zeros((size, size), dtype=np.uint8)


def _fixed(points: Points) -> npt.NDArray[np.int32]:
    return np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def fill(mask: Mask8, polygon: Points, value: int = 255) -> None:
    """Fill a polygon, antialiased."""
    cv2.fillPoly(mask, [_fixed(polygon)], value, cv2.LINE_AA, _SUBPIXEL_BITS)


def stroke(mask: Mask8, points: Points, width: float, value: float = 255.0, closed: bool = False) -> None:
    """Draw an antialiased line; one thinner than a pixel is drawn fainter instead."""
    thickness = max(1, round(width))
    faded = int(min(max(value, 0.0), 255.0) * min(1.0, width / thickness))
    if faded:
        cv2.polylines(mask, [_fixed(points)], closed, faded, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def strokes(mask: Mask8, lines: Points, widths: Amounts, values: Amounts) -> None:
    """Draw many antialiased lines (n, points, 2) at once, the strongest last; strength goes in 21 steps."""
    thickness = np.maximum(np.round(widths), 1.0)
    faded = np.clip(values, 0.0, 255.0) * np.minimum(1.0, widths / thickness)
    kinds = np.round(faded / _STEP).astype(np.int64) * 64 + np.minimum(thickness, 63).astype(np.int64)
    fixed = _fixed(lines)
    for kind in np.unique(kinds).tolist():
        value, width = kind // 64 * _STEP, kind % 64
        if value:
            chosen = list(fixed[kinds == kind])
            cv2.polylines(mask, chosen, False, min(value, 255), width, cv2.LINE_AA, _SUBPIXEL_BITS)


def tapered(mask: Mask8, lines: Sequence[Points], widths: Amounts, values: Amounts, shape: float = 0.6) -> None:
    """Draw lines that are strongest in their middles and run out at both ends."""
    counts = [len(points) - 1 for points in lines]
    strength = np.concatenate([np.sin(np.pi * (np.arange(count) + 0.5) / count) ** shape for count in counts])
    segments = np.concatenate([np.stack([points[:-1], points[1:]], axis=1) for points in lines])
    width = np.repeat(widths, counts) * (0.55 + 0.45 * strength)
    strokes(mask, segments, np.maximum(width, 0.05), np.repeat(values, counts) * strength)


def coverage(mask: Mask8, softness: float = 0.0) -> Plane:
    """An 8-bit mask as 0..1, blurred by `softness` pixels."""
    plane = np.zeros(mask.shape, dtype=np.float32)
    x, y, width, height = cv2.boundingRect(mask)
    if width:
        reach = int(3 * softness) + 2
        rows, columns = slice(max(y - reach, 0), y + height + reach), slice(max(x - reach, 0), x + width + reach)
        plane[rows, columns] = blur(as_plane(mask[rows, columns]) * np.float32(1.0 / 255.0), softness)
    return plane


def polygon_coverage(size: int, polygon: Points, softness: float = 0.0) -> Plane:
    """Coverage of one polygon."""
    mask = blank(size)
    fill(mask, polygon)
    return coverage(mask, softness)


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
    impulses = np.zeros((size + 2, size + 2), dtype=np.float32)
    inside = np.all((points >= 0) & (points < size - 1), axis=1)
    x, y = points[inside, 0], points[inside, 1]
    column, row = x.astype(int), y.astype(int)
    fx, fy = x - column, y - row
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            np.add.at(impulses, (row + dy, column + dx), (amounts[inside] * wx * wy).astype(np.float32))
    sigma = max(sigma, 0.45)
    peak = 2.0 * np.pi * sigma * sigma
    return blur(np.ascontiguousarray(impulses[:size, :size]), sigma) * np.float32(peak)


def extent(mask: Plane) -> tuple[slice, slice]:
    """Rows and columns in which a mask shows."""
    spans = []
    for axis in (1, 0):
        where = np.flatnonzero(mask.max(axis=axis) > 1e-3)
        spans.append(slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 0))
    return spans[0], spans[1]


def strips(box: tuple[slice, slice], height: int = 48) -> Iterator[tuple[slice, slice]]:
    """The box in strips of a few rows: what is computed pixel by pixel stays in the cache."""
    rows, columns = box
    for start in range(rows.start, rows.stop, height):
        yield slice(start, min(start + height, rows.stop)), columns


def over(picture: Picture, colour: Colour | Picture, mask: Plane, box: tuple[slice, slice] | None = None) -> None:
    """Blend a colour, or a picture, over the picture in place by a mask; nothing happens outside `box`."""
    rows, columns = box or extent(mask)
    weight = mask[rows, columns]
    for channel in range(3):
        target = picture[channel, rows, columns]
        source = colour[channel]
        value: Any = source[rows, columns] if isinstance(source, np.ndarray) else np.float32(source)
        target += (value - target) * weight
