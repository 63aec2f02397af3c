"""Outlines of the parts of a head, in pixels, and the coarse relief that the light falls on."""

from __future__ import annotations

import math

import numpy as np

from services.generator.procedural.canvas import bell, curve
from services.generator.procedural.filters import Plane, as_plane, blur, distance_inside, resize
from services.generator.procedural.pose import head_depth, nose_profile
from services.generator.procedural.shapes import Points
from services.generator.procedural.traits import Traits

# Right half of the outline of a face: u, v and depth, from the top of the forehead down to the chin.
_OUTLINE = np.array(
    [
        (0.0, -1.34, 0.45),
        (0.40, -1.25, 0.40),
        (0.72, -0.95, 0.25),
        (0.88, -0.50, 0.15),
        (0.93, -0.05, 0.12),
        (0.915, 0.30, 0.15),
        (0.845, 0.66, 0.18),
        (0.705, 0.98, 0.28),
        (0.475, 1.25, 0.48),
        (0.235, 1.385, 0.66),
        (0.0, 1.42, 0.72),
    ]
)


def face_outline(traits: Traits, sag: float = 0.0) -> Points:
    """Closed outline of the face in pixels; `sag` 0..1 lets the jaw hang."""
    shape, pose = traits.shape, traits.pose
    half = _OUTLINE.copy()
    below = np.clip((half[:, 1] - 0.5) / 0.5, 0.0, 1.0)
    half[:, 0] *= shape.width / 0.93 * (1 + (shape.jaw - 1) * below)
    half[:, 1] = np.where(half[:, 1] > 0.6, 0.6 + (half[:, 1] - 0.6) * shape.chin, half[:, 1])
    jowl = np.exp(-0.5 * ((half[:, 1] - 1.18) / 0.16) ** 2)
    half[:, 0] *= 1 + 0.10 * sag * jowl
    half[:, 1] += 0.035 * sag * jowl
    loop = np.concatenate([half, half[-2:0:-1] * np.array([-1.0, 1.0, 1.0])])
    # The far contour of a turned face is its cheekbone, which stands forward; the near one is the jaw below the ear.
    near = np.maximum(-np.sign(loop[:, 0]) * np.sin(pose.yaw), 0.0) * np.clip((1.35 - loop[:, 1]) / 0.5, 0.0, 1.0)
    depth = loop[:, 2] - 0.55 * near * np.abs(loop[:, 0]) / 0.93
    return curve(pose.place(loop[:, 0], loop[:, 1], depth), 8, closed=True)


def eye_outline(traits: Traits, side: int, droop: float = 0.0) -> tuple[Points, Points, Points]:
    """Upper lid, lower lid and lid crease of one eye (side -1 or 1 by u) in face units, inner corner first."""
    shape = traits.shape
    t = np.linspace(-1.0, 1.0, 15)
    u = shape.eye_gap + t * shape.eye_width
    tilt = -shape.eye_tilt * t
    upper = -0.088 * shape.eye_open * (1 - 0.45 * droop) * (1 - np.abs(t) ** 2.3) * (1 - 0.16 * t)
    upper = upper + 0.03 * droop * np.clip(t, 0, 1) ** 2 * (1 - t)
    lower = 0.052 * shape.eye_open * (1 - np.abs(t) ** 2.0) * (1 + 0.18 * t)
    crease = upper * 1.12 - 0.052 * (1 - 0.55 * np.abs(t) ** 2) + 0.02 * droop * (t + 1)
    lines = [np.stack([side * u, v + tilt], axis=1) for v in (upper, lower, crease)]
    return lines[0], lines[1], lines[2]


def lips_outline(traits: Traits) -> tuple[Points, Points, Points]:
    """Upper edge, line between the lips and lower edge in face units, left to right."""
    shape = traits.shape
    t = np.linspace(-1.0, 1.0, 25)
    u, middle = t * shape.mouth_width, shape.mouth_height
    line = middle - shape.mouth_curve * (t**2) * 1.6 + 0.008 * np.exp(-((t / 0.12) ** 2))
    bow = 1 + 0.16 * np.exp(-(((np.abs(t) - 0.2) / 0.16) ** 2)) - 0.13 * np.exp(-((t / 0.11) ** 2))
    upper = line - shape.upper_lip * np.clip(1 - np.abs(t) ** 1.7, 0, 1) * bow
    lower = line + shape.lower_lip * np.clip(1 - np.abs(t) ** 2.4, 0, 1) ** 0.8
    edges = [np.stack([u, v], axis=1) for v in (upper, line, lower)]
    return edges[0], edges[1], edges[2]


def neck_outline(traits: Traits) -> Points:
    """Neck down to the lower edge of the picture, in pixels."""
    pose, half = traits.pose, 0.60 if traits.female else 0.70
    u = np.array([-half * 0.98, -half, -half * 1.1, -half * 1.6, half * 1.6, half * 1.1, half, half * 0.98])
    v = np.array([0.6, 1.35, 1.75, 2.3, 2.3, 1.75, 1.35, 0.6])
    return pose.place(u, v, np.full(8, 0.1))


def ear_outline(traits: Traits, side: int) -> Points:
    """One ear in pixels."""
    around = np.array(
        [
            (0.88, -0.10),
            (0.95, -0.17),
            (1.035, -0.15),
            (1.06, -0.02),
            (1.03, 0.16),
            (0.99, 0.32),
            (0.92, 0.38),
            (0.86, 0.3),
        ]
    )
    u = side * around[:, 0] * traits.shape.width / 0.93
    return curve(traits.pose.place(u, around[:, 1] + 0.03, np.full(8, -0.02)), 6, closed=True)


def _rounding(face: Plane, unit: float) -> Plane:
    """How far the rim of the face falls back in face units; `face` is its coarse cover, `unit` pixels per face unit."""
    reach = 0.30 * unit
    rim = 1.0 - distance_inside(face > 0.5, math.ceil(reach)) / np.float32(reach)
    rim = np.maximum(rim, 0.0)
    return blur(as_plane(-0.20 * rim * rim), 1.5)


def coarse_relief(traits: Traits, face: Plane) -> Plane:
    """Height of the face towards the camera in face units on the pose's coarse grid; `face` is its coarse cover."""
    pose, shape = traits.pose, traits.shape
    u, v = pose.grid
    depth = head_depth(u, v)
    height = as_plane(depth * np.cos(pose.yaw) - u * np.sin(pose.yaw))

    def pair(centre: tuple[float, float], radii: tuple[float, float], amount: float) -> Plane:
        left = bell(u, v, (-centre[0], centre[1]), radii)
        return as_plane(np.float32(amount) * (left + bell(u, v, centre, radii)))

    gap = shape.eye_gap
    height += pair((gap - 0.02, -0.02), (0.19, 0.11), -0.105)  # sockets
    height += pair((gap, -0.005), (0.115, 0.075), 0.075)  # eyeballs under their lids
    height += pair((0.33, shape.brow_height + 0.01), (0.24, 0.07), 0.035 + 0.035 * shape.brow_ridge)
    height += pair((0.55, 0.36), (0.22, 0.22), 0.075 * shape.cheeks)
    height += pair((0.86, -0.35), (0.15, 0.25), -0.05)  # temples
    height += pair((0.66, 0.82), (0.15, 0.2), -0.03)  # hollow of the cheeks
    mouth = shape.mouth_height
    height += as_plane(0.065 * bell(u, v, (0, mouth), (0.27, 0.16)))
    height += as_plane(0.03 * bell(u, v, (0, mouth - 0.035), (0.22, 0.025)))
    height += as_plane(0.045 * bell(u, v, (0, mouth + 0.055), (0.17, 0.032)))
    height -= as_plane(0.055 * bell(u, v, (0, mouth + 0.165), (0.2, 0.045)))
    height += as_plane(0.085 * bell(u, v, (0, 1.24), (0.2, 0.12)))
    height -= as_plane(0.018 * bell(u, v, (0, 0.70), (0.03, 0.06)))
    height += pair((0.055, 0.71), (0.02, 0.06), 0.008)
    height += pair((shape.mouth_width + 0.03, mouth), (0.035, 0.05), -0.03)
    height += as_plane(0.02 * bell(u, v, (0, -0.62), (0.45, 0.22)))
    height += _nose(traits, u, v)
    height += _rounding(face, pose.scale * pose.grid_size / pose.size)
    return height


def _nose(traits: Traits, u: Plane, v: Plane) -> Plane:
    """Height of the nose as the camera sees it: shifted sideways by how far it stands out."""
    pose, shape = traits.pose, traits.shape
    along = as_plane(0.48 + (v - 0.48) / shape.nose_length)
    profile = as_plane(nose_profile(along))
    shifted = u - profile * np.float32(np.tan(pose.yaw))
    width = np.float32(shape.nose_width) * (0.075 + 0.085 * np.clip((along - 0.05) / 0.45, 0, 1))
    ridge = profile * np.exp(-0.5 * np.abs(shifted / width) ** 1.8)
    tip = 0.055 * bell(shifted, along, (0, 0.475), (0.10, 0.07))
    lift = np.float32(0.1 * np.tan(pose.yaw))
    wings = sum(
        0.115 * bell(u - lift, along, (side * 0.165 * shape.nose_width, 0.51), (0.055, 0.06)) for side in (-1, 1)
    )
    return as_plane(ridge + tip + wings)


def grid_cover(plane: Plane, grid: int) -> Plane:
    """A full-size cover on the coarse grid."""
    return resize(plane, grid, grid, smooth=False)
