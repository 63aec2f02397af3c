"""What shows on a face without being a condition. It is drawn independently of the labels and gives none away."""

from __future__ import annotations

import numpy as np

from services.generator.procedural.canvas import (
    Picture,
    blend,
    box_around,
    curve,
    fractal_noise,
    linear,
    smooth_noise,
    smoothstep,
    splat,
    stamp,
    white_noise,
)
from services.generator.procedural.filters import as_plane, blur
from services.generator.procedural.shapes import Mask, Points, polygon_coverage
from services.generator.procedural.skin import Skin, cheeks_weight
from services.generator.procedural.traits import Traits

_GRAIN, _STUBBLE = 0.0023, 0.0011  # of the picture's side: how coarse the grain of skin and a stubble are


def complexion(skin: Skin, rng: np.random.Generator) -> None:
    """Uneven tone, natural flush, shadows under the eyes, and the fine grain of skin."""
    traits, size, unit = skin.traits, skin.size, skin.unit
    grid = skin.coarse_melanin.shape[0]
    skin.coarse_melanin += np.float32(traits.unevenness) * fractal_noise(rng, grid, grid / 7)
    skin.coarse_blood += np.float32(traits.unevenness) * fractal_noise(rng, grid, grid / 9)
    pallor = 1.0 - 0.65 * traits.darkness  # a flush shows less through more melanin
    skin.coarse_blood += np.float32(pallor * traits.ruddiness)
    flush = [
        (-0.55, 0.4, 0.2, 0.2, 1.0),
        (0.55, 0.4, 0.2, 0.2, 1.0),
        (0, 0.48, 0.12, 0.14, 1.0),
        (0, 1.2, 0.2, 0.15, 0.5),
    ]
    skin.coarse_blood += np.float32(pallor * traits.flush) * skin.field(flush)
    gap = traits.shape.eye_gap
    rings = skin.field(
        [
            (-gap, 0.12, 0.15, 0.055, 1),
            (gap, 0.12, 0.15, 0.055, 1),
            (-gap, -0.1, 0.16, 0.05, 0.6),
            (gap, -0.1, 0.16, 0.05, 0.6),
        ]
    )
    skin.coarse_melanin += np.float32(traits.under_eye) * rings
    skin.coarse_blood += np.float32(0.6 * traits.under_eye) * rings
    soft = white_noise(rng, size, 0, _GRAIN * size)
    rough = np.float32(rng.uniform(0.6, 1.2))
    skin.relief += soft * np.float32(0.0017 * unit * unit / 200) * rough
    skin.relief += smooth_noise(rng, size, max(0.035 * unit, 2.0)) * np.float32(0.0009 * unit) * rough
    skin.melanin += soft * np.float32(0.035) + smooth_noise(rng, size, max(0.05 * unit, 2.0)) * np.float32(0.02)
    # Everybody has pores; the condition is about enlarged ones.
    dots = skin.places(
        rng, 420, lambda u, v: np.clip(np.exp(-((u / 0.35) ** 2)) + 0.4 * cheeks_weight(u, v), 0, 1), tries=4
    )
    depth = rng.uniform(0.4, 1.0, len(dots)) * rng.uniform(0.3, 1.0)
    pits = splat(size, traits.pose.project(dots), depth, 0.0048 * unit)
    skin.melanin += pits * np.float32(0.12)
    skin.relief -= pits * np.float32(0.004 * unit)


def gloss(skin: Skin, rng: np.random.Generator) -> None:
    """How the skin shines: forehead, nose, cheekbones and chin, more on oily skin."""
    base = 0.035 + 0.17 * skin.traits.shine
    zones = [(0, -0.55, 0.35, 0.22, 0.9), (0, 0.3, 0.09, 0.28, 1.3), (-0.55, 0.25, 0.16, 0.13, 0.8)]
    zones += [(0.55, 0.25, 0.16, 0.13, 0.8), (0, 1.2, 0.13, 0.1, 0.6)]
    coarse = np.float32(base) * (0.45 + skin.field(zones))
    full = skin.detail_field(as_plane(coarse))
    skin.gloss += full * (1 + np.float32(0.3) * white_noise(rng, skin.size, 1))


def marks(skin: Skin, rng: np.random.Generator) -> None:
    """Moles, freckles and beauty spots."""
    traits, unit, size = skin.traits, skin.unit, skin.size
    for u, v in skin.places(rng, int(rng.poisson(1.6)), lambda u, v: np.ones_like(u)):
        x, y = traits.pose.project(np.array([[u, v]]))[0]
        radius = unit * float(rng.uniform(0.008, 0.02))
        squeeze = float(max(traits.pose.facing(np.array(u)), 0.4))
        shape = (radius * squeeze, radius)
        turn, phase = float(rng.uniform(0, 3)), float(rng.uniform(0, 6))
        stamp(skin.melanin, (x, y), shape, float(rng.uniform(0.7, 1.6)), angle=turn, flatness=4, wobble=(0.1, phase))
        if rng.random() < 0.4:
            stamp(skin.relief, (x, y), shape, radius * 0.5)
    if rng.random() < (0.35 if traits.darkness < 0.3 else 0.12):
        count = int(rng.integers(60, 420))
        places = skin.places(rng, count, lambda u, v: np.clip(np.exp(-(((v - 0.3) / 0.3) ** 2)) + 0.15, 0, 1), tries=6)
        strength = rng.uniform(0.15, 0.6)
        amounts = strength * rng.uniform(0.3, 1.0, len(places))
        half = len(places) // 2
        pixels = traits.pose.project(places)
        skin.melanin += splat(size, pixels[:half], amounts[:half], 0.0065 * unit)
        skin.melanin += splat(size, pixels[half:], amounts[half:], 0.010 * unit)


def stubble(skin: Skin, rng: np.random.Generator) -> None:
    """The shadow and the dots of a shaved or short beard, on some men."""
    traits, size = skin.traits, skin.size
    if traits.female or rng.random() < 0.3:
        return
    amount = float(rng.beta(1.3, 1.6))
    u, v = skin.grid()
    side = np.abs(u)
    line = 0.62 + 0.25 * np.clip(1 - side / 0.5, 0, 1) - 0.9 * np.clip(side - 0.55, 0, 1)
    zone = smoothstep(-0.1, 0.14, as_plane(v - line))
    moustache = (side < 0.36) & (v > 0.66) & (v < 0.86)
    zone = blur(as_plane(np.maximum(zone, moustache)), 1.6)
    zone *= np.clip(1 + 0.35 * smooth_noise(rng, zone.shape[0], 9), 0.2, 1.4)
    full = skin.detail_field(as_plane(zone))
    full = np.clip(full, 0, 1.2)
    noise = white_noise(rng, size, 2, max(_STUBBLE * size, 0.45))
    dots = np.clip(noise / np.float32(noise.std()) - np.float32(1.0 - 0.8 * amount), 0, 2.0)
    skin.hairs += full * (np.float32(0.05 + 0.25 * amount) + dots * np.float32(0.10 + 0.28 * amount))


def blush(skin: Skin, rng: np.random.Generator) -> None:
    """Rouge and eye shadow, on some."""
    if rng.random() > (0.4 if skin.traits.female else 0.03):
        return
    gap = skin.traits.shape.eye_gap
    high = float(rng.uniform(0.22, 0.42))
    skin.coarse_blood += np.float32(rng.uniform(0.06, 0.30)) * skin.field(
        [(-0.62, high, 0.16, 0.10, 1.0), (0.62, high, 0.16, 0.10, 1.0)]
    )
    lids = skin.field([(-gap, -0.09, 0.17, 0.05, 1.0), (gap, -0.09, 0.17, 0.05, 1.0)])
    skin.coarse_melanin += np.float32(rng.uniform(0.0, 0.6)) * lids
    skin.coarse_blood += np.float32(rng.uniform(0.0, 0.4)) * lids


def _frame(traits: Traits, side: int, rng_shape: float, wide: float, tall: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    power = 2.0 / (2.0 + 2.6 * rng_shape)
    u = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power * wide
    v = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power * tall
    centre = traits.shape.eye_gap + 0.03
    points = np.stack([side * (centre + u), 0.045 + v], axis=1)
    depth = np.full(len(points), 0.98) - 0.35 * np.clip(np.abs(points[:, 0]) - 0.2, 0, 1) ** 1.5
    return traits.pose.place(points[:, 0], points[:, 1], depth)


def glasses(picture: Picture, traits: Traits, rng: np.random.Generator) -> None:
    """Glasses with their shadow and reflections, on some people."""
    if rng.random() > 0.14 + 0.14 * traits.age:
        return
    pose, unit, size = traits.pose, traits.pose.scale, traits.pose.size
    squareness, wide, tall = float(rng.random()), float(rng.uniform(0.26, 0.31)), float(rng.uniform(0.19, 0.26))
    thick = unit * float(rng.choice((0.014, 0.022, 0.038)))
    frames = [_frame(traits, side, squareness, wide, tall) for side in (-1, 1)]
    mask, lenses = Mask(size), np.zeros((size, size), dtype=np.float32)
    for side, frame in zip((-1, 1), frames, strict=True):
        mask.stroke(frame, thick, closed=True)
        lenses += polygon_coverage(size, frame)
        outer = np.array([side * (traits.shape.eye_gap + 0.03 + wide), side * 1.0])
        arm = pose.place(outer, np.array([0.0, -0.03]), np.array([0.86, 0.05]))
        mask.stroke(arm, thick)
    gap = traits.shape.eye_gap + 0.03 - wide
    bridge = pose.place(np.array([-gap, 0.0, gap]), np.array([0.0, -0.035, 0.0]), np.array([0.98, 1.02, 0.98]))
    mask.stroke(curve(bridge, 5), thick)
    box = box_around(np.concatenate(frames), 0.5 * unit, size)
    if box is None:
        return
    cover = mask.coverage()
    shadow = np.roll(blur(cover, 0.02 * unit), round(0.035 * unit), axis=0)
    blend(picture, (0.0, 0.0, 0.0), shadow * np.float32(0.35), box)
    axis = np.arange(size, dtype=np.float32) / np.float32(size)
    y, x = axis[:, None], axis[None, :]
    streak = np.exp(-(((x + y * 0.6 - np.float32(rng.uniform(0.4, 1.1))) / 0.05) ** 2))
    blend(picture, (0.8, 0.85, 0.9), as_plane(lenses * (0.02 + np.float32(rng.uniform(0, 0.18)) * streak)), box)
    tints = ((22, 20, 22), (70, 44, 30), (120, 100, 70), (150, 150, 155), (40, 50, 90))
    colour = linear(tints[int(rng.integers(len(tints)))])
    blend(picture, colour, cover * np.float32(0.95), box)
    edge = np.clip(cover - np.roll(cover, 1, axis=0), 0, 1)
    blend(picture, (0.6, 0.6, 0.62), edge * np.float32(0.4), box)
