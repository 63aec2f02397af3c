"""What is around the face: background, clothes, neck and ears."""

from __future__ import annotations

import numpy as np

from services.generator.procedural.anatomy import ear_outline, neck_outline
from services.generator.procedural.canvas import Picture, bell, blend, curve, linear, smooth_noise
from services.generator.procedural.filters import Plane, as_plane, blur, resize
from services.generator.procedural.lighting import Lamp
from services.generator.procedural.shapes import Mask, polygon_coverage
from services.generator.procedural.traits import Traits

_WALLS = (
    (226, 224, 220), (188, 192, 196), (146, 158, 168), (120, 132, 118), (170, 140, 116),
    (92, 98, 110), (206, 190, 164), (60, 66, 74), (150, 110, 100), (196, 206, 214),
)  # fmt: skip


def draw_background(size: int, lamp: Lamp, rng: np.random.Generator) -> Picture:
    """A wall with a gradient, and on most pictures something out of focus before it."""
    small = 64
    y, x = np.mgrid[0:small, 0:small].astype(np.float32) / np.float32(small)
    wall = linear(_WALLS[int(rng.integers(len(_WALLS)))])
    turn = rng.uniform(0, 2 * np.pi)
    ramp = 1 + np.float32(rng.uniform(0.1, 0.5)) * ((x - 0.5) * np.cos(turn) + (y - 0.5) * np.sin(turn))
    ramp = as_plane(ramp * (1 + 0.05 * smooth_noise(rng, small, 20)))
    scene = np.stack([as_plane(np.float32(channel) * ramp) for channel in wall]).astype(np.float32)
    kind = int(rng.integers(4))
    for _ in range((0, 4, 9, 14)[kind]):
        colour = linear(rng.uniform(30, 235, 3) * 0.7 + np.array(_WALLS[int(rng.integers(len(_WALLS)))]) * 0.3)
        centre = (float(rng.uniform(0, 1)), float(rng.uniform(0, 1)))
        if kind == 3:
            spot = bell(x, y, centre, (0.04 + 0.1 * rng.random(),) * 2)
        else:
            wide, tall = rng.uniform(0.05, 0.3, 2)
            spot = as_plane((np.abs(x - centre[0]) < wide) & (np.abs(y - centre[1]) < tall))
        blend(scene, colour, as_plane(spot * np.float32(rng.uniform(0.3, 0.85))))
    sigma = float(rng.uniform(1.2, 4.5))
    light = np.float32(lamp.background)
    tints = [(lamp.key[i] + lamp.ambient[i]) / (lamp.key[1] + lamp.ambient[1]) for i in range(3)]
    picture = np.empty((3, size, size), dtype=np.float32)
    for channel, tint in enumerate(tints):
        plane = blur(scene[channel], sigma) * (light * np.float32(tint))
        np.clip(resize(plane, size, size), 0.0, 1.0, out=picture[channel])
    return picture


def draw_body(picture: Picture, traits: Traits, lamp: Lamp, rng: np.random.Generator) -> Plane:
    """Neck with the shadow of the chin, and a collar; returns the cover of the neck (size, size)."""
    pose, unit, size = traits.pose, traits.pose.scale, traits.pose.size
    neck = polygon_coverage(size, neck_outline(traits), 0.01 * unit)
    u, v = pose.grid
    turn = np.clip(u / 0.72, -1, 1)
    facing = np.sqrt(np.maximum(1 - turn * turn, 0.05)) * lamp.direction[2] + turn * lamp.direction[0]
    under = 1.0 - 0.72 * np.exp(-0.5 * ((v - 1.33) / 0.17) ** 2)
    light = np.clip(facing, 0.0, 1.0) * under
    tones = traits.skin[0] * 0.92, traits.skin[1] * 0.86, traits.skin[2] * 0.84
    fields = [
        as_plane((light * lamp.key[channel] + under * lamp.ambient[channel]) * tones[channel]) for channel in range(3)
    ]
    blend(picture, [pose.enlarge(field) for field in fields], neck)
    collar = float(rng.uniform(1.58, 1.95))
    half = 0.72 if traits.female else 0.82
    line = np.array([(-2.6, 2.1), (-1.5, 1.95), (-half, collar - 0.12), (0.0, collar + rng.uniform(0.02, 0.3))])
    loop = curve(np.concatenate([line, (line * (-1, 1))[-2::-1]]), 6)
    loop = np.concatenate([loop, [(2.6, 3.2), (-2.6, 3.2)]])
    cloth = polygon_coverage(size, pose.place(loop[:, 0], loop[:, 1], np.full(len(loop), 0.1)), 0.5)
    folds = (1 + 0.16 * smooth_noise(rng, size, size / 7)) * np.float32(0.5 * (lamp.key[1] + lamp.ambient[1]))
    blend(picture, [folds * np.float32(channel) for channel in traits.clothes], cloth)
    return neck


def draw_ears(picture: Picture, traits: Traits, lamp: Lamp, *, before: bool) -> None:
    """The ears that the face does not hide: on a turned head the near one is seen `before` the face."""
    pose, unit, size = traits.pose, traits.pose.scale, traits.pose.size
    for side in (-1, 1):
        if (-side * pose.yaw > 0.2) is not before:
            continue
        outline = ear_outline(traits, side)
        cover = polygon_coverage(size, outline, 0.006 * unit)
        lit = 0.62 + 0.34 * max(0.0, side * lamp.direction[0])
        tone = np.array(traits.skin) * (0.95, 0.80, 0.76) * lit * (np.array(lamp.key) * 0.65 + np.array(lamp.ambient))
        blend(picture, (float(tone[0]), float(tone[1]), float(tone[2])), cover)
        inner = Mask(size)
        middle = outline.mean(axis=0)
        inner.stroke(middle + (outline[6:34] - middle) * 0.72, 0.035 * unit, 210)
        inner.stroke(middle + (outline[10:26] - middle) * 0.38, 0.045 * unit, 180)
        dark = tone * 0.45
        blend(picture, (float(dark[0]), float(dark[1]), float(dark[2])), inner.coverage(0.014 * unit) * cover)
