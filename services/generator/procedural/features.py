"""Eyes, brows, nose and mouth: painted on the colour of the skin, with their creases in its relief."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.generator.procedural.anatomy import eye_outline, lips_outline
from services.generator.procedural.canvas import Colour, Picture, blend, box_around, curve, linear, stamp
from services.generator.procedural.filters import Plane, as_plane
from services.generator.procedural.shapes import Mask, Points, polygon_coverage
from services.generator.procedural.skin import Skin
from services.generator.procedural.traits import Traits


@dataclass(frozen=True)
class Features:
    """Covers 0..1 (size, size) of what is not bare skin, and the outlines that later steps need, in pixels."""

    eyes: Plane
    lips: Plane
    brows: Plane
    nostrils: Plane
    lash_lines: Plane
    eye_polygons: tuple[Points, Points]  # left and right in the picture
    lip_gloss: float
    lip_colour: Colour | None  # lipstick, or None for bare lips


def shape_features(traits: Traits, rng: np.random.Generator, droop: float = 0.0) -> Features:
    """Lay out the features; `droop` 0..1 lets the upper lids hang."""
    pose, size, unit = traits.pose, traits.pose.size, traits.pose.scale
    eyes, lashes = Mask(size), Mask(size)
    polygons = []
    for side in (-1, 1):
        upper, lower, _ = eye_outline(traits, side, droop)
        polygon = pose.project(np.concatenate([curve(upper, 3), curve(lower, 3)[::-1]]))
        polygons.append(polygon)
        eyes.fill(polygon)
        _lashes(lashes, traits, side, upper, lower, rng)
    top, _, bottom = lips_outline(traits)
    lips = polygon_coverage(size, pose.project(np.concatenate([top, bottom[::-1]])), 0.006 * unit)
    nostrils = Mask(size)
    for side in (-1, 1):
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        width = 0.052 * traits.shape.nose_width
        ring = np.stack([width * np.cos(angles), 0.020 * np.sin(angles) - 0.25 * width * np.cos(angles)], axis=1)
        nostrils.fill(pose.project(ring * (side, 1.0) + (side * 0.088 * traits.shape.nose_width, 0.572)), 235)
    made_up = rng.random() < (0.4 if traits.female else 0.02)
    shades = ((150, 40, 48), (178, 84, 88), (120, 30, 60), (196, 110, 96), (140, 70, 66))
    colour = linear(np.array(shades[int(rng.integers(len(shades)))])) if made_up else None
    return Features(
        eyes=eyes.coverage(),
        lips=lips,
        brows=_brows(traits, rng),
        nostrils=nostrils.coverage(0.009 * unit),
        lash_lines=lashes.coverage(),
        eye_polygons=(polygons[0], polygons[1]),
        lip_gloss=float(rng.uniform(0.1, 0.8) * (0.7 if made_up else 0.25)),
        lip_colour=colour,
    )


def _lashes(mask: Mask, traits: Traits, side: int, upper: Points, lower: Points, rng: np.random.Generator) -> None:
    pose, unit = traits.pose, traits.pose.scale
    line = pose.project(curve(upper, 3))
    heavy = (1.25 if traits.female else 0.8) * rng.uniform(0.85, 1.2)
    mask.stroke(line, 0.020 * unit * heavy, 235)
    mask.stroke(line[len(line) // 2 :], 0.028 * unit * heavy, 235)
    mask.stroke(pose.project(curve(lower, 3)), 0.008 * unit, 90)
    at = np.linspace(0.12, 1.0, 17)
    root = upper[np.round(at * (len(upper) - 1)).astype(int)]
    length = 0.05 * heavy * rng.uniform(0.7, 1.15, 17) * (0.45 + 0.55 * at)
    tip = root + np.stack([side * (at - 0.42) * 0.9 * length, -0.72 * length], axis=1)
    lashes = pose.project(np.stack([root, (root + tip) / 2 + (0.0, 0.006), tip], axis=1))
    mask.strokes(lashes, np.full(17, 0.0065 * unit), np.full(17, 200.0))
    at = np.linspace(0.35, 0.95, 9)
    root = lower[np.round(at * (len(lower) - 1)).astype(int)]
    tip = root + np.stack([side * (at - 0.5) * 0.02, np.full(9, 0.022 * heavy)], axis=1)
    mask.strokes(pose.project(np.stack([root, tip], axis=1)), np.full(9, 0.004 * unit), np.full(9, 110.0))


def _brows(traits: Traits, rng: np.random.Generator) -> Plane:
    """Brows of single hairs over a soft base."""
    pose, shape, unit = traits.pose, traits.shape, traits.pose.scale
    hairs, base = Mask(pose.size), Mask(pose.size)
    count = int(95 * min(shape.brow_weight, 1.4))
    for side in (-1, 1):
        t = np.linspace(0, 1, 13)
        u = 0.135 + t * 0.47
        arch = shape.brow_height + 0.03 - shape.brow_arch * 1.6 * np.sin(np.pi * np.clip(t * 0.86, 0, 1)) + 0.012 * t
        half = 0.034 * shape.brow_weight * np.clip(1.08 - t**1.8, 0.12, 1) * np.clip(0.55 + 4 * t, 0, 1)
        outline = np.concatenate([np.stack([u, arch - half], 1), np.stack([u, arch + half], 1)[::-1]])
        base.fill(pose.project(outline * (side, 1.0)), int(120 * min(shape.brow_weight, 1.0)))
        at = rng.random(count) ** 0.9
        offset = rng.uniform(-1, 1, count)
        root = np.stack([np.interp(at, t, u), np.interp(at, t, arch) + offset * np.interp(at, t, half)], axis=1)
        lean = np.interp(at, (0, 0.25, 0.6, 1), (-1.25, -0.85, -0.25, 0.25)) + rng.normal(0, 0.16, count)
        length = 0.062 * rng.uniform(0.7, 1.2, count)
        tip = root + np.stack([length * np.cos(lean), length * np.sin(lean)], axis=1)
        lines = np.stack([root, (root + tip) / 2 + (0.0, -0.005), tip], axis=1)
        hairs.strokes(pose.project(lines * (side, 1.0)), np.full(count, 0.0075 * unit), rng.uniform(120, 225, count))
    return as_plane(np.clip(base.coverage(0.022 * unit) * 0.5 + hairs.coverage(0.3), 0.0, 0.96))


def crease_features(skin: Skin, droop: float = 0.0) -> None:
    """Press the creases every face has into the relief: lids, wings of the nose, the line of the mouth."""
    traits, pose, unit = skin.traits, skin.traits.pose, skin.unit
    mask = Mask(pose.size)
    for side in (-1, 1):
        _, lower, crease = eye_outline(traits, side, droop)
        fold = lower[2:-1] + np.array([0.0, 0.035])
        wing = np.array([(0.150, 0.415), (0.205, 0.46), (0.222, 0.52), (0.195, 0.575), (0.15, 0.592)])
        wing[:, 0] *= traits.shape.nose_width
        lines = [pose.project(points) for points in (curve(crease, 2), curve(fold, 2), curve(wing * (side, 1.0), 4))]
        strengths = np.array([200.0 * traits.shape.lid_crease + 20.0, 60.0, 170.0])
        mask.tapered(lines, np.array([0.018, 0.012, 0.02]) * unit, strengths)
    crease_cover = mask.coverage(0.009 * unit)
    skin.relief -= crease_cover * np.float32(0.020 * unit)
    skin.shade += crease_cover * np.float32(0.45)


def paint_features(picture: Picture, skin: Skin, features: Features, rng: np.random.Generator) -> None:
    """Paint the features over the unlit colour of the skin."""
    traits = skin.traits
    _paint_lips(picture, skin, features, rng)
    red, green, blue = traits.skin
    blend(picture, (0.16 * red, 0.16 * green, 0.16 * blue), features.nostrils)
    red, green, blue = (min(0.55 * channel, 0.13) for channel in traits.hair)
    blend(picture, (red, green, blue), features.brows)
    for side, polygon in zip((-1, 1), features.eye_polygons, strict=True):
        _paint_eye(picture, skin, features, side, polygon, rng)
    blend(picture, (0.012, 0.009, 0.008), features.lash_lines)


def _paint_lips(picture: Picture, skin: Skin, features: Features, rng: np.random.Generator) -> None:
    traits, pose, unit = skin.traits, skin.traits.pose, skin.unit
    top, line, bottom = lips_outline(traits)
    box = box_around(pose.project(np.concatenate([top, bottom])), 0.06 * unit, pose.size)
    if box is None:
        return
    bare = np.array(traits.skin) * np.exp(-np.array([0.22, 0.78, 0.55]) * rng.uniform(0.75, 1.15))
    deep = 1 - 0.25 * traits.darkness
    colour = (
        np.array(features.lip_colour) * (1 - 0.6 * traits.darkness)
        if features.lip_colour
        else bare * (deep, deep * 0.95, deep)
    )
    cover = features.lips * np.float32(0.9 if features.lip_colour else 0.8)
    blend(picture, (float(colour[0]), float(colour[1]), float(colour[2])), cover, box)
    mask = Mask(pose.size)
    mask.tapered([pose.project(curve(line, 2))], np.array([0.02 * unit]), np.array([235.0]), shape=0.35)
    dark = tuple(float(0.22 * channel) for channel in colour)
    blend(picture, (dark[0], dark[1], dark[2]), mask.coverage(0.005 * unit) * np.float32(0.85), box)
    # Fine vertical furrows of the lips, in the relief.
    furrows, at = Mask(pose.size), rng.integers(2, len(line) - 2, 30)
    start = np.where(rng.random((30, 1)) < 0.45, top[at], bottom[at]) + np.stack([rng.normal(0, 0.008, 30)] * 2, axis=1)
    spans = pose.project(np.stack([start * 0.85 + line[at] * 0.15, start * 0.15 + line[at] * 0.85], axis=1))
    furrows.strokes(spans, np.full(30, 0.006 * unit), rng.uniform(40, 150, 30))
    skin.relief[box] -= (furrows.coverage(0.006 * unit) * features.lips)[box] * np.float32(0.010 * unit)
    skin.gloss[box] += features.lips[box] * np.float32(0.7 * features.lip_gloss)


def _paint_eye(
    picture: Picture, skin: Skin, features: Features, side: int, polygon: Points, rng: np.random.Generator
) -> None:
    traits, pose, unit = skin.traits, skin.traits.pose, skin.unit
    box = box_around(polygon, 0.03 * unit, pose.size)
    if box is None:
        return
    rows, columns = box
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :]
    gaze = sample_gaze(traits)
    centre = pose.project(np.array([[side * traits.shape.eye_gap + gaze[0], -0.018 + gaze[1]]]))[0]
    radius = 0.088 * unit
    squeeze = max(float(pose.facing(np.array(side * traits.shape.eye_gap))), 0.55) ** 0.7
    dx, dy = (
        (x - np.float32(centre[0])) / np.float32(radius * squeeze),
        (y - np.float32(centre[1])) / np.float32(radius),
    )
    distance = np.sqrt(dx * dx + dy * dy)
    angle = np.arctan2(dy, dx)
    soft = np.float32(1.2 / radius)
    iris = np.clip((1.0 - distance) / soft + 0.5, 0, 1)
    pupil = np.clip((np.float32(0.42) - distance) / soft + 0.5, 0, 1)
    phase = rng.uniform(0, 6.28, 3)
    fibres = 1 + 0.16 * np.sin(19 * angle + phase[0]) + 0.12 * np.sin(31 * angle + phase[1] + 3 * distance)
    tint = fibres * (0.75 + 0.75 * np.exp(-(((distance - 0.62) / 0.22) ** 2))) * np.clip(1.9 - 1.35 * distance, 0.25, 1)
    middle = (polygon[:, 0].min() + polygon[:, 0].max()) / 2
    half = (polygon[:, 0].max() - polygon[:, 0].min()) / 2
    across = np.clip(np.abs(x - np.float32(middle)) / np.float32(half), 0, 1)
    top, bottom = polygon[:, 1].min(), polygon[:, 1].max()
    down = np.clip((y - np.float32(top)) / np.float32(max(bottom - top, 1.0)), 0, 1)
    # The upper lid shades the ball under it; the corners turn away and are pinker.
    lid = 0.42 + 0.58 * np.clip(down * 2.1, 0, 1)
    white = (1.0 - 0.38 * across**2) * lid * np.float32(0.88 - 0.34 * traits.darkness)
    cover = features.eyes[rows, columns]
    for channel, (sclera, corner) in enumerate(((0.66, 0.0), (0.60, 0.2), (0.57, 0.2))):
        value = np.float32(sclera) * white * (1 - np.float32(corner) * across**4)
        colour = np.float32(traits.iris[channel]) * tint * (0.5 + 0.5 * lid)
        value = value + (colour - value) * iris
        value = value + (np.float32(0.006) - value) * pupil
        target = picture[channel, rows, columns]
        target += (value - target) * cover


def sample_gaze(traits: Traits) -> tuple[float, float]:
    """Where the eyes look, as an offset of the iris in face units: back to the camera on a turned head."""
    return (-0.05 * float(np.sin(traits.pose.yaw)) / 0.4, 0.0)


def eye_highlights(picture: Picture, traits: Traits, features: Features, toward: tuple[float, float]) -> None:
    """Catch lights on both eyes after lighting; `toward` is the direction of the light in the picture."""
    unit, pose = traits.pose.scale, traits.pose
    plane = np.zeros_like(features.eyes)
    gaze = sample_gaze(traits)
    for side in (-1, 1):
        x, y = pose.project(np.array([[side * traits.shape.eye_gap + gaze[0], -0.018 + gaze[1]]]))[0]
        place = (x + toward[0] * 0.035 * unit, y + (toward[1] * 0.03 - 0.012) * unit)
        stamp(plane, place, (0.014 * unit, 0.016 * unit), 0.95, flatness=4)
        stamp(plane, (x - toward[0] * 0.03 * unit, y + 0.035 * unit), (0.012 * unit, 0.008 * unit), 0.12)
    for polygon in features.eye_polygons:
        box = box_around(polygon, 0.02 * unit, pose.size)
        if box is not None:
            picture[:, box[0], box[1]] += plane[box] * features.eyes[box]
