"""Conditions that are mostly colour: redness and hyperpigmentation."""

from __future__ import annotations

import numpy as np

from services.generator.procedural.canvas import curve, fractal_noise, smoothstep, stamp
from services.generator.procedural.filters import as_plane
from services.generator.procedural.shapes import Mask
from services.generator.procedural.skin import Skin, cheeks_weight
from shared.taxonomy import Severity

_ERYTHEMA = {Severity.MILD: (0.16, 0.26), Severity.MODERATE: (0.38, 0.52), Severity.SEVERE: (0.68, 0.92)}
_VESSELS = {Severity.MILD: (0, 3), Severity.MODERATE: (4, 12), Severity.SEVERE: (22, 40)}
_PATCHES = {Severity.MILD: (0.17, 0.30), Severity.MODERATE: (0.42, 0.60), Severity.SEVERE: (0.75, 1.05)}
_SPOTS = {Severity.MILD: (4, 9), Severity.MODERATE: (11, 20), Severity.SEVERE: (24, 40)}


def draw_redness(skin: Skin, severity: Severity, rng: np.random.Generator) -> None:
    """Diffuse erythema of cheeks, nose and chin with blotchy edges; fine vessels come with severity."""
    grid = skin.coarse_blood.shape[0]
    cheek, nose, chin, brow = rng.uniform((0.85, 0.5, 0.2, 0.0), (1.1, 1.1, 0.9, 0.45))
    skew = rng.normal(0.0, 0.08)
    high, wide = rng.uniform(0.28, 0.45), rng.uniform(0.19, 0.27)
    zones = [(-0.52, high, wide, 0.22, cheek * (1 + skew)), (0.52, high, wide, 0.22, cheek * (1 - skew))]
    zones += [(0, 0.42, 0.15, 0.2, nose), (0, 1.2, 0.2, 0.13, chin), (0, -0.6, 0.4, 0.18, brow)]
    area = skin.field([(float(a), float(b), float(c), float(d), float(e)) for a, b, c, d, e in zones])
    blotches = 1 + 0.38 * fractal_noise(rng, grid, grid / 13, 4)
    area = smoothstep(0.12, 1.0, as_plane(np.clip(area * blotches, 0, 1.25)))
    skin.coarse_blood += as_plane(area * np.float32(rng.uniform(*_ERYTHEMA[severity])))
    _draw_vessels(skin, int(rng.integers(*_VESSELS[severity])), rng)


def _draw_vessels(skin: Skin, count: int, rng: np.random.Generator) -> None:
    """Fine dilated vessels: thin branching lines that wander over cheeks and nose."""
    if not count:
        return
    mask, pose = Mask(skin.size), skin.traits.pose
    starts = skin.places(
        rng, count, lambda u, v: cheeks_weight(u, v) + np.exp(-((u / 0.15) ** 2 + ((v - 0.45) / 0.15) ** 2))
    )
    for start in starts:
        heading = rng.uniform(0, 2 * np.pi)
        for branch in range(int(rng.integers(1, 4))):
            steps = int(rng.integers(5, 11))
            turns = heading + (branch and rng.normal(0, 0.8)) + np.cumsum(rng.normal(0, 0.5, steps))
            moves = np.stack([np.cos(turns), 0.8 * np.sin(turns)], axis=1) * rng.uniform(0.012, 0.022)
            path = start + np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)])
            mask.stroke(pose.project(curve(path, 3)), 0.0062 * skin.unit, rng.uniform(110, 235))
    skin.blood += mask.coverage(0.0025 * skin.unit) * np.float32(0.85)


def draw_hyperpigmentation(skin: Skin, severity: Severity, rng: np.random.Generator) -> None:
    """Brown patches: melasma-like fields, flat spots left by inflammation, or sun spots, often two of them."""
    kinds = rng.choice(3, size=1 if rng.random() < 0.45 else 2, replace=False, p=(0.42, 0.36, 0.22))
    for kind in kinds:
        strength = float(rng.uniform(*_PATCHES[severity])) * (1.0 if len(kinds) == 1 else 0.85)
        if kind == 0:
            _draw_melasma(skin, strength, rng)
        else:
            count = int(rng.integers(*_SPOTS[severity]))
            _draw_spots(skin, count, strength * 1.15, rng, sharp=kind == 2)


def _draw_melasma(skin: Skin, strength: float, rng: np.random.Generator) -> None:
    """Roughly symmetric fields with an edge like a map's, on cheeks, forehead and upper lip."""
    grid = skin.coarse_melanin.shape[0]
    cheek, brow, lip = rng.uniform((0.7, 0.0, 0.0), (1.0, 0.95, 0.8))
    high = float(rng.uniform(0.2, 0.42))
    zones = [(-0.55, high, 0.2, 0.15, cheek), (0.55, high, 0.2, 0.15, cheek), (0, 0.72, 0.2, 0.06, lip)]
    zones += [
        (float(rng.uniform(-0.3, 0)), -0.6, 0.25, 0.14, brow),
        (float(rng.uniform(0, 0.3)), -0.6, 0.25, 0.14, brow),
    ]
    area = skin.field([(float(a), float(b), float(c), float(d), float(e)) for a, b, c, d, e in zones])
    ragged = area + 0.27 * fractal_noise(rng, grid, grid / 11, 4)
    full = skin.detail_field(smoothstep(0.42, 0.80, as_plane(ragged)) * np.clip(area * 2.5, 0, 1))
    mottle = 0.86 + 0.2 * fractal_noise(rng, skin.size, 0.06 * skin.unit, 2)
    skin.melanin += as_plane(np.clip(full, 0, 1) * mottle * np.float32(strength))


def _draw_spots(skin: Skin, count: int, strength: float, rng: np.random.Generator, *, sharp: bool) -> None:
    pose, unit = skin.traits.pose, skin.unit
    middle = rng.uniform(0.2, 0.8)
    places = skin.places(
        rng, count, lambda u, v: np.clip(cheeks_weight(u, v) + 0.35 * np.exp(-(((v - middle) / 0.4) ** 2)), 0, 1), 0.05
    )
    for (u, _), (x, y) in zip(places, pose.project(places), strict=True):
        radius = unit * float(rng.uniform(0.016, 0.042))
        squeeze = float(max(pose.facing(np.array(u)), 0.4))
        shape = (radius * squeeze, radius * float(rng.uniform(0.65, 1.0)))
        stamp(
            skin.melanin,
            (x, y),
            shape,
            strength * float(rng.uniform(0.6, 1.1)),
            angle=float(rng.normal(0, 0.6)),
            flatness=5.0 if sharp else 2.8,
            wobble=(float(rng.uniform(0.08, 0.26)), float(rng.uniform(0, 6.3))),
        )
        if not sharp:
            stamp(skin.blood, (x, y), shape, 0.12 * strength)
