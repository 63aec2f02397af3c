"""Conditions that stand out of or into the skin: acne, enlarged pores, textured skin."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.generator.procedural.canvas import fractal_noise, smooth_noise, splat, stamp
from services.generator.procedural.filters import as_plane
from services.generator.procedural.skin import Skin, Weight, cheeks_weight
from shared.taxonomy import Severity

Array = npt.NDArray[np.float64]

_LESIONS = {Severity.MILD: (5, 10), Severity.MODERATE: (16, 28), Severity.SEVERE: (40, 66)}
_LESION_SIZE = {Severity.MILD: (0.011, 0.018), Severity.MODERATE: (0.014, 0.027), Severity.SEVERE: (0.015, 0.038)}
_LESION_BLOOD = {Severity.MILD: 0.42, Severity.MODERATE: 0.72, Severity.SEVERE: 0.95}
# Numbers of lesions follow the counts that the Leeds and the Hayashi gradings use (mild up to about 10 inflammatory
# lesions on a face, moderate up to about 25, severe above).

_PORES = {
    Severity.MILD: (1100, 0.0060, 0.20, 0.008),
    Severity.MODERATE: (1600, 0.0075, 0.37, 0.016),
    Severity.SEVERE: (1800, 0.0094, 0.56, 0.027),
}  # number, radius and depth in face units around the darkness


def _acne_weight(rng: np.random.Generator) -> tuple[float, float, float]:
    forehead, chin, jaw = rng.uniform((0.0, 0.2, 0.1), (0.9, 1.0, 0.7))
    return float(forehead), float(chin), float(jaw)


def draw_acne(skin: Skin, severity: Severity, rng: np.random.Generator) -> None:
    """Papules, pustules, comedones and the marks they leave; nodules where it is severe."""
    pose, unit = skin.traits.pose, skin.unit
    forehead, chin, jaw = _acne_weight(rng)

    def weight(u: Array, v: Array) -> Array:
        brow = np.exp(-0.5 * (((v + 0.58) / 0.17) ** 2 + (u / 0.4) ** 2))
        low = np.exp(-0.5 * (((v - 1.18) / 0.13) ** 2 + (u / 0.24) ** 2))
        edge = np.exp(-0.5 * (((v - 0.95) / 0.2) ** 2 + ((np.abs(u) - 0.6) / 0.13) ** 2))
        total: Array = np.clip(0.9 * cheeks_weight(u, v) + forehead * brow + chin * low + jaw * edge + 0.03, 0, 1)
        return total

    places = skin.places(rng, int(rng.integers(*_LESIONS[severity])), weight, 0.036)
    redness = _LESION_BLOOD[severity]
    for (u, _), centre in zip(places, pose.project(places), strict=True):
        radius = unit * float(rng.uniform(*_LESION_SIZE[severity]))
        squeeze = float(max(pose.facing(np.array(u)), 0.4))
        kind = rng.random()
        nodule = severity is Severity.SEVERE and kind > 0.9
        _draw_lesion(
            skin, (float(centre[0]), float(centre[1])), radius * (1.4 if nodule else 1.0), squeeze, redness, kind, rng
        )
    faded = skin.places(rng, len(places) // 2, weight, 0.03)
    for (u, _), (x, y) in zip(faded, pose.project(faded), strict=True):
        radius = unit * float(rng.uniform(0.010, 0.02))
        shape = (radius * float(max(pose.facing(np.array(u)), 0.4)), radius)
        stamp(skin.blood, (x, y), shape, redness * 0.4, flatness=2.6)
        stamp(skin.melanin, (x, y), shape, redness * (0.12 + 0.2 * skin.traits.darkness), flatness=2.6)


def _draw_lesion(
    skin: Skin,
    centre: tuple[float, float],
    radius: float,
    squeeze: float,
    redness: float,
    kind: float,
    rng: np.random.Generator,
) -> None:
    """One lesion; `kind` 0..1: comedo below 0.12, pustule below 0.45, else papule."""
    wobble = (float(rng.uniform(0.03, 0.12)), float(rng.uniform(0, 6.3)))
    if kind < 0.12:
        small = (radius * 0.5 * squeeze, radius * 0.5)
        stamp(skin.relief, centre, (small[0] * 1.8, small[1] * 1.8), radius * 0.35)
        stamp(skin.melanin, centre, small, 0.9 * redness, flatness=3)
        return
    blood = redness * float(rng.uniform(0.8, 1.25))
    halo = (radius * 1.9 * squeeze, radius * 1.9)
    body = (radius * squeeze, radius * float(rng.uniform(0.85, 1.1)))
    stamp(skin.blood, centre, halo, blood * 0.38)
    stamp(skin.blood, centre, body, blood * 0.75, flatness=3, wobble=wobble)
    stamp(skin.melanin, centre, body, 0.10 + 0.16 * skin.traits.darkness, flatness=3, wobble=wobble)
    stamp(skin.relief, centre, body, radius * float(rng.uniform(0.45, 0.75)))
    stamp(skin.gloss, centre, (body[0] * 0.8, body[1] * 0.8), 0.12)
    if kind < (0.45 if redness > 0.5 else 0.25):
        tip = (radius * 0.42 * squeeze, radius * 0.42)
        stamp(skin.pale, centre, tip, float(rng.uniform(0.55, 0.85)), flatness=4)
        stamp(skin.relief, centre, tip, radius * 0.3)


def draw_pores(skin: Skin, severity: Severity, rng: np.random.Generator) -> None:
    """Enlarged pores: small dark pits crowded on the nose and the inner cheeks, with a pale rim of raised skin."""
    count, radius, dark, depth = _PORES[severity]
    spread, extra = float(rng.uniform(0.85, 1.25)), float(rng.uniform(0.0, 0.7))

    def weight(u: Array, v: Array) -> Array:
        nose = np.exp(-0.5 * ((u / 0.16) ** 4 + ((v - 0.36) / 0.22) ** 4))
        cheek = np.exp(-0.5 * (((np.abs(u) - 0.40) / (0.17 * spread)) ** 2 + ((v - 0.38) / (0.20 * spread)) ** 2))
        other = np.exp(-0.5 * ((u / 0.25) ** 2 + ((v + 0.45) / 0.12) ** 2)) + np.exp(
            -0.5 * ((u / 0.2) ** 2 + ((v - 1.2) / 0.1) ** 2)
        )
        total: Array = np.clip(nose + 0.95 * cheek + extra * other, 0, 1)
        return total

    places = _scattered(skin, rng, round(count * float(rng.uniform(0.85, 1.15))), weight, radius * 2.5)
    pixels = skin.traits.pose.project(places)
    amounts = rng.uniform(0.55, 1.2, len(places))
    scale = rng.random(len(places))
    strength = float(rng.uniform(0.88, 1.12))
    for low, high, factor in ((0.0, 0.6, 0.82), (0.6, 1.01, 1.15)):
        part = (scale >= low) & (scale < high)
        pits = splat(skin.size, pixels[part], amounts[part], radius * factor * 0.72 * skin.unit)
        skin.melanin += pits * np.float32(dark * strength * 0.85)
        skin.shade += np.clip(pits, 0, 1.2) * np.float32(0.45 * dark)
        rims = splat(skin.size, pixels[part], amounts[part], radius * factor * 1.35 * skin.unit)
        skin.relief += (rims * np.float32(0.4) - pits) * np.float32(depth * 0.6 * skin.unit * strength)


def _scattered(skin: Skin, rng: np.random.Generator, count: int, weight: Weight, gap: float) -> Array:
    """Many places at about even distances: a jittered lattice thinned by the weight."""
    step = max(gap, 0.02)
    columns, rows = np.meshgrid(np.arange(-0.9, 0.9, step), np.arange(-0.9, 1.4, step * 0.87))
    columns[1::2] += step / 2
    lattice = np.stack([columns.ravel(), rows.ravel()], axis=1)
    lattice += rng.normal(0, 0.2 * step, lattice.shape)
    chosen = skin.keep_open(lattice, weight, rng)
    rng.shuffle(chosen)
    return chosen[:count]


_BUMPS = {Severity.MILD: (0.0042, 60, 2), Severity.MODERATE: (0.0088, 130, 8), Severity.SEVERE: (0.0150, 210, 22)}
# Height of the unevenness in face units, number of closed bumps, number of scars.


def draw_texture(skin: Skin, severity: Severity, rng: np.random.Generator) -> None:
    """Uneven skin without a colour of its own: bumps, ripples and scars that only light shows."""
    height, bumps, scars = _BUMPS[severity]
    unit, size, pose = skin.unit, skin.size, skin.traits.pose
    height *= float(rng.uniform(0.85, 1.15))
    brow, chin = rng.uniform((0.0, 0.2), (0.9, 0.8))

    def weight(u: Array, v: Array) -> Array:
        total: Array = np.clip(
            1.3 * cheeks_weight(u, v)
            + brow * np.exp(-0.5 * (((v + 0.6) / 0.16) ** 2 + (u / 0.45) ** 2))
            + chin * np.exp(-0.5 * (((v - 1.15) / 0.15) ** 2 + (u / 0.3) ** 2)),
            0,
            1,
        )
        return total

    u, v = skin.grid()
    area = skin.detail_field(as_plane(weight(np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64))))
    ripples = fractal_noise(rng, size, max(0.075 * unit, 3.0), 2)
    pebbles = np.clip(smooth_noise(rng, size, max(0.032 * unit, 2.0)), -0.3, 1.4)
    skin.relief += as_plane(area * (0.55 * ripples + 0.55 * pebbles) * np.float32(height * unit))
    places = skin.places(rng, round(bumps * float(rng.uniform(0.8, 1.2))), weight)
    heights = rng.uniform(0.4, 1.0, len(places)) * 0.6 * height * unit
    skin.relief += splat(size, pose.project(places), heights, 0.0125 * unit)
    for at, centre in zip(pits := skin.places(rng, scars, weight, 0.04), pose.project(pits), strict=True):
        squeeze = float(max(pose.facing(at[0]), 0.4))
        _draw_scar(skin, (float(centre[0]), float(centre[1])), squeeze, rng)


def _draw_scar(skin: Skin, centre: tuple[float, float], squeeze: float, rng: np.random.Generator) -> None:
    """One atrophic scar: ice pick (narrow, deep), boxcar (wide, steep edge) or rolling (wide, shallow)."""
    kind = rng.choice(3, p=(0.35, 0.35, 0.3))
    radius = skin.unit * float((rng.uniform(0.008, 0.013), rng.uniform(0.018, 0.034), rng.uniform(0.03, 0.05))[kind])
    depth = radius * (1.0, 0.42, 0.36)[kind]
    shape = (radius * squeeze, radius * float(rng.uniform(0.8, 1.15)))
    wobble = (float(rng.uniform(0.0, 0.2)), float(rng.uniform(0, 6.3)))
    stamp(
        skin.relief,
        centre,
        shape,
        -depth,
        flatness=(2.0, 5.0, 2.0)[kind],
        wobble=wobble,
        angle=float(rng.uniform(0, 3)),
    )
    stamp(skin.shade, centre, shape, (0.42, 0.14, 0.05)[kind], flatness=(2.0, 4.0, 2.0)[kind])
