"""The head's frame: from face units to pixels, and back on a coarse grid.

Face units: the origin lies between the eyes, u runs to the picture's right, v down; half the width of the face at the
cheekbones is about 0.93, the chin lies at v = 1.4, the hairline at -1.0, the nose's base at 0.58, the mouth at 0.86
(facial thirds and fifths as in Farkas, Anthropometry of the Head and Face, 1994). z comes out of the face to the
camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from services.generator.procedural.filters import Plane, as_plane, resize
from services.generator.procedural.shapes import Points

GRID = 128  # side of the coarse grid on which smooth fields are computed before they are enlarged
_TURN_DEPTH = 0.62  # depth in face units of the axis the head turns about, measured so that a turned face stays centred
_MIDDLE = 0.2  # v of the middle of the face

Values = npt.NDArray[np.float64] | Plane


def head_depth(u: Values, v: Values) -> Values:
    """Depth of the head without its features: an ellipsoid, cut off at its rim."""
    rest = 1.0 - (u / 1.07) ** 2 - ((v - 0.15) / 1.75) ** 2
    return 0.85 * np.sqrt(np.maximum(rest, 0.01))


def nose_profile(v: Values) -> Values:
    """How far the ridge of the nose stands out of the face, along v."""
    ridge = 0.30 * np.clip((v + 0.12) / 0.60, 0.0, 1.0) ** 1.25
    return ridge * np.clip((0.66 - v) / 0.17, 0.0, 1.0)


@dataclass(frozen=True)
class Pose:
    """Where the head is: `size` and `scale` (pixels per face unit), centre in pixels, angles in radians.

    Positive yaw turns the nose to the picture's right; positive pitch lifts the chin.
    """

    size: int
    scale: float
    centre: tuple[float, float]
    yaw: float
    pitch: float
    roll: float

    def place(self, u: Values, v: Values, z: Values) -> Points:
        """Points in face units with their depth to pixels (n, 2)."""
        x = u * np.cos(self.yaw) + (z - _TURN_DEPTH) * np.sin(self.yaw)
        y = (v - _MIDDLE) - (z - _TURN_DEPTH) * np.sin(self.pitch)
        cosine, sine = np.cos(self.roll), np.sin(self.roll)
        px = self.centre[0] + self.scale * (x * cosine - y * sine)
        py = self.centre[1] + self.scale * (x * sine + y * cosine)
        return np.stack([np.asarray(px, dtype=np.float64), np.asarray(py, dtype=np.float64)], axis=-1)

    def project(self, points: Points) -> Points:
        """Points (n, 2) that lie on the face to pixels."""
        u, v = points[..., 0], points[..., 1]
        nose = nose_profile(v) * np.exp(-0.5 * (u / 0.13) ** 2)
        return self.place(u, v, head_depth(u, v) + nose)

    def facing(self, u: Values) -> Values:
        """How squarely the face looks into the camera there: 1 straight, 0 edge on."""
        return np.cos(np.arcsin(np.clip(u / 1.07, -1.0, 1.0)) + self.yaw)

    @property
    def grid_size(self) -> int:
        """Side of the coarse grid."""
        return min(GRID, self.size)

    @cached_property
    def grid(self) -> tuple[Plane, Plane]:
        """u and v of every point of the coarse grid (grid_size, grid_size), as if the nose were flat."""
        step = self.size / self.grid_size
        pixels = (np.arange(self.grid_size, dtype=np.float32) + 0.5) * step - 0.5
        dx = (pixels[None, :] - self.centre[0]) / self.scale
        dy = (pixels[:, None] - self.centre[1]) / self.scale
        cosine, sine = np.cos(self.roll), np.sin(self.roll)
        x, y = dx * cosine + dy * sine, dy * cosine - dx * sine
        u, v = x, y + _MIDDLE
        for _ in range(4):
            behind = head_depth(u, v) - _TURN_DEPTH
            u = np.clip((x - behind * np.sin(self.yaw)) / np.cos(self.yaw), -2.5, 2.5)
            v = y + _MIDDLE + behind * np.sin(self.pitch)
        return as_plane(u), as_plane(v)

    def enlarge(self, plane: Plane, *, smooth: bool = False) -> Plane:
        """A plane of the coarse grid at full size; `smooth` where its slope must not show the grid."""
        return resize(plane, self.size, self.size, smooth=smooth) if plane.shape[0] != self.size else plane
