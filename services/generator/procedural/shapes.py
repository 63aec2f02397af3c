"""Antialiased shapes: polygons by the area of each pixel that they cover, lines by the distance to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.generator.procedural.filters import Plane, as_plane, blur

Points = npt.NDArray[np.float64]
"""(n, 2) in pixels, x first; whole numbers are the centres of pixels."""
Amounts = npt.NDArray[np.float64]

_SCANS = 4  # lines across each row of pixels on which a polygon's area is measured
_PIECE = 6.0  # pixels: longer lines are drawn in pieces, so that the windows around slanted ones stay small
_WINDOW_STEP = 4  # pixels: windows are as large as the next multiple, so that there are few sizes of them

_NOMINAL, _DRAWN = (0.0, 1.0, 1.3, 1.8, 3.0, 100.0), (0.0, 1.36, 1.5, 3.1, 5.0, 102.0)
# Widths in pixels. Ink spreads: the widths of all lines were set by eye with a pen that draws them this wide.


class Mask:
    """Shapes on a square picture. `coverage` draws them; where they overlap, the strongest counts.

    Strengths are 0..255, widths pixels.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._polygons: list[tuple[Points, float]] = []
        self._segments: list[Points] = []  # (n, 2, 2)
        self._widths: list[Amounts] = []
        self._values: list[Amounts] = []

    def fill(self, polygon: Points, value: float = 255.0) -> None:
        """Fill a polygon."""
        self._polygons.append((polygon, value / 255.0))

    def stroke(self, points: Points, width: float, value: float = 255.0, closed: bool = False) -> None:
        """Draw a line through the points."""
        if closed:
            points = np.concatenate([points, points[:1]])
        self.strokes(points[None], np.array([width]), np.array([value]))

    def strokes(self, lines: Points, widths: Amounts, values: Amounts) -> None:
        """Draw many lines (n, points, 2) at once."""
        spans = lines.shape[1] - 1
        self._segments.append(np.stack([lines[:, :-1], lines[:, 1:]], axis=2).reshape(-1, 2, 2))
        self._widths.append(np.repeat(widths, spans))
        self._values.append(np.repeat(values, spans))

    def tapered(self, lines: Sequence[Points], widths: Amounts, values: Amounts, shape: float = 0.6) -> None:
        """Draw lines that are strongest in their middles and run out at both ends."""
        counts = np.array([len(points) - 1 for points in lines])
        part = (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5) / np.repeat(
            counts, counts
        )
        strength = np.sin(np.pi * part) ** shape
        ends = np.cumsum(counts + 1)
        points = np.concatenate(lines)
        starts = np.delete(np.arange(len(points)), ends - 1)
        self._segments.append(np.stack([points[starts], points[starts + 1]], axis=1))
        self._widths.append(np.repeat(widths, counts) * (0.55 + 0.45 * strength))
        self._values.append(np.repeat(values, counts) * strength)

    def coverage(self, softness: float = 0.0) -> Plane:
        """How far each pixel is covered, 0..1 (size, size), blurred by `softness` pixels."""
        plane = np.zeros((self._size, self._size), dtype=np.float32)
        pieces = _Pieces(self._segments, self._widths, self._values) if self._segments else None
        spread = int(3 * softness) + 2
        low, high = self._bounds(pieces)
        low, high = np.maximum(low - spread, -spread), np.minimum(high + spread, self._size + spread)
        if np.any(low >= self._size) or np.any(high <= 0):  # not even its blur reaches the picture
            return plane
        # The margin holds the windows of lines that are partly outside: none has to be cut.
        margin = pieces.largest if pieces else 0
        corner = low - margin
        width, height = (high - low + 2 * margin).tolist()
        local = np.zeros((height, width), dtype=np.float32)
        for number, (polygon, value) in enumerate(self._polygons):
            _fill(local, polygon - corner, value, empty=number == 0)
        if pieces:
            pieces.draw(local, corner)
        if margin:
            local = local[margin:-margin, margin:-margin]
        x0, y0 = np.maximum(low, 0).tolist()
        x1, y1 = np.minimum(high, self._size).tolist()
        inner = blur(local, softness)
        plane[y0:y1, x0:x1] = inner[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]]
        return plane

    def _bounds(self, pieces: _Pieces | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The box around all shapes, in whole pixels: x and y of its first pixel, and of the one past its last."""
        lows = [np.floor(polygon.min(axis=0)) for polygon, _ in self._polygons]
        highs = [np.ceil(polygon.max(axis=0)) + 1 for polygon, _ in self._polygons]
        if pieces:
            lows.append(pieces.low.min(axis=0))
            highs.append(pieces.low.max(axis=0) + pieces.largest)
        if not lows:
            return np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
        return np.min(lows, axis=0).astype(np.int64), np.max(highs, axis=0).astype(np.int64)


class _Pieces:
    """Short straight lines with round ends, each in a square window of its own."""

    def __init__(self, segments: list[Points], widths: list[Amounts], values: list[Amounts]) -> None:
        lines = np.concatenate(segments)
        spans = lines[:, 1] - lines[:, 0]
        counts = np.maximum(np.ceil(np.hypot(spans[:, 0], spans[:, 1]) / _PIECE), 1.0).astype(np.int64)
        which = np.repeat(np.arange(len(lines)), counts)
        number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._span = (spans / counts[:, None])[which]
        start = lines[which, 0] + self._span * number[:, None]
        self._half = _drawn_width(np.concatenate(widths))[which] / 2
        self._strength = np.clip(np.concatenate(values) / 255.0, 0.0, 1.0)[which]
        reach = (self._half + 0.5)[:, None]
        self.low = np.ceil(np.minimum(start, start + self._span) - reach).astype(np.int64)
        """x and y of each window's upper left pixel."""
        sides = (np.abs(self._span) + 2 * reach).max(axis=1)
        self._sides = np.ceil(sides / _WINDOW_STEP).astype(np.int64) * _WINDOW_STEP
        self._start = start - self.low  # within the window
        self.largest = int(self._sides.max())
        """Side of the largest window in pixels."""

    def draw(self, plane: Plane, corner: npt.NDArray[np.int64]) -> None:
        """Draw the pieces whose windows lie in the plane, which has its upper left pixel at `corner`."""
        height, width = plane.shape
        low = self.low - corner
        fits = (low >= 0) & (low + self._sides[:, None] <= (width, height))
        sides = np.where(fits[:, 0] & fits[:, 1] & (self._strength > 0.0), self._sides, 0)
        flat = plane.reshape(-1)
        for side in np.unique(sides[sides > 0]).tolist():
            part = np.flatnonzero(sides == side)
            start, span = as_plane(self._start[part]), as_plane(self._span[part])
            cover = _window_cover(side, start, span, as_plane(self._half[part]), as_plane(self._strength[part]))
            axis = np.arange(side)
            at = (low[part, 1] * width + low[part, 0])[:, None] + (axis[:, None] * width + axis).reshape(-1)
            np.maximum.at(flat, at.reshape(-1), cover.reshape(-1))


def _drawn_width(widths: Amounts) -> Amounts:
    """Width in pixels at which a line of a nominal width is drawn."""
    return np.asarray(np.interp(widths, _NOMINAL, _DRAWN), dtype=np.float64)


def _window_cover(side: int, start: Plane, span: Plane, half: Plane, strength: Plane) -> Plane:
    """Cover (n, side, side) by lines from `start` along `span` (n, 2), of half a width and a strength (n,)."""
    axis = np.arange(side, dtype=np.float32)
    x, y = axis - start[:, :1], axis - start[:, 1:]
    dx, dy = span[:, :1], span[:, 1:]
    scale = 1.0 / np.maximum(dx * dx + dy * dy, np.float32(1e-6))
    along = (x * dx * scale)[:, None, :] + (y * dy * scale)[:, :, None]
    np.minimum(along, np.float32(1.0), out=along)
    np.maximum(along, np.float32(0.0), out=along)
    cover = along * -dx[:, :, None]
    cover += x[:, None, :]
    cover *= cover
    along *= -dy[:, :, None]
    along += y[:, :, None]
    along *= along
    cover += along
    np.sqrt(cover, out=cover)
    np.subtract((half + np.float32(0.5))[:, None, None], cover, out=cover)
    np.maximum(cover, np.float32(0.0), out=cover)
    # A line thinner than a pixel covers no pixel wholly.
    np.minimum(cover, np.minimum(2 * half, np.float32(1.0))[:, None, None], out=cover)
    cover *= strength[:, None, None]
    return as_plane(cover)


def _fill(plane: Plane, polygon: Points, value: float, *, empty: bool) -> None:
    """Fill a polygon: a scan line that crosses an edge gains the part of its pixel right of it, and all that follow.

    On an `empty` plane nothing has to be compared.
    """
    height, width = plane.shape
    x, y = (
        polygon[:, 0] + 0.5,
        (polygon[:, 1] + 0.5) * _SCANS - 0.5,
    )  # a pixel's cell begins, and a scan line lies, at n
    x, y = np.append(x, x[0]), np.append(y, y[0])
    turning = float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))
    first = np.ceil(np.minimum(y[:-1], y[1:]))
    counts = (np.ceil(np.maximum(y[:-1], y[1:])) - first).astype(np.int64)
    edge = np.repeat(np.arange(len(counts)), counts)
    scan = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    rise = y[1:] - y[:-1]
    slope = (x[1:] - x[:-1]) / np.where(counts > 0, rise, 1.0)
    crossing = np.clip(x[edge] + slope[edge] * (scan - y[edge]), 0.0, width - 1.001)
    amount = np.sign(rise)[edge] * (-np.sign(turning) * value / _SCANS)
    row = scan.astype(np.int64) // _SCANS
    seen = (row >= 0) & (row < height)
    if not seen.all():
        row, crossing, amount = row[seen], crossing[seen], amount[seen]
    if not len(row):
        return
    top, count = int(row.min()), int(row.max()) + 1 - int(row.min())
    column = crossing.astype(np.int64)
    target = plane[top : top + count]
    area = target if empty else np.zeros_like(target)
    at, right = (row - top) * width + column, (crossing - column) * amount
    steps = area.reshape(-1)
    np.add.at(steps, at, as_plane(amount - right))
    np.add.at(steps, at + 1, as_plane(right))
    np.cumsum(area, axis=1, out=area)
    np.clip(area, 0.0, value, out=area)
    if not empty:
        np.maximum(target, area, out=target)


def polygon_coverage(size: int, polygon: Points, softness: float = 0.0) -> Plane:
    """Coverage (size, size) of one polygon."""
    mask = Mask(size)
    mask.fill(polygon)
    return mask.coverage(softness)
