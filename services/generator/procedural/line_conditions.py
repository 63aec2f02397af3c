"""Conditions that are lines and folds: fine lines, and aging with its sagging."""

from __future__ import annotations

import numpy as np

from services.generator.procedural.canvas import bell, curve, shown_box
from services.generator.procedural.filters import as_plane
from services.generator.procedural.shapes import Mask, Points
from services.generator.procedural.skin import Skin
from services.generator.procedural.traits import Traits
from shared.taxonomy import Severity

FINE_LINES = {Severity.MILD: 0.30, Severity.MODERATE: 0.62, Severity.SEVERE: 1.0}
AGING = {Severity.MILD: 0.30, Severity.MODERATE: 0.62, Severity.SEVERE: 1.0}
"""Strength 0..1 of a severity, before a person's own variation."""


Line = tuple[Points, float, float]
"""Points in face units, width in face units, strength 0..1."""


def press_lines(skin: Skin, mask: Mask, softness: float, depth: float, dark: float) -> None:
    """Press the strokes of a mask into the relief; `softness` and `depth` in face units, `dark` the light they lose."""
    plane = mask.coverage(max(softness * skin.unit, 0.45))
    box = shown_box(plane)
    cover = plane[box]
    skin.relief[box] -= cover * np.float32(depth * skin.unit)
    skin.shade[box] += cover * np.float32(dark)
    skin.melanin[box] += cover * np.float32(0.16 * dark)


def _draw_lines(skin: Skin, mask: Mask, lines: list[Line], shape: float = 0.6) -> None:
    """Draw lines given in face units; they are projected all at once, which is most of their cost."""
    pixels = skin.traits.pose.project(np.concatenate([points for points, _, _ in lines]))
    parts = np.split(pixels, np.cumsum([len(points) for points, _, _ in lines])[:-1])
    widths = np.array([width for _, width, _ in lines]) * skin.unit
    mask.tapered(parts, widths, 255.0 * np.clip([strength for _, _, strength in lines], 0.0, 1.0), shape)


def _wavy(start: Points, bend: Points, end: Points, jitter: float, rng: np.random.Generator) -> Points:
    points = curve(np.array([start, bend, end]), 5)
    points[1:-1] += rng.normal(0, jitter, (len(points) - 2, 2))
    return points


def draw_fine_lines(skin: Skin, amount: float, rng: np.random.Generator) -> None:
    """Thin lines fanning out from the eyes, under them, around the mouth and faint ones on the forehead.

    `amount` 0..1 sets their number and depth.
    """
    traits, mask = skin.traits, Mask(skin.size)
    lines: list[Line] = []
    gap, wide = traits.shape.eye_gap, traits.shape.eye_width
    width = 0.0055 + 0.0035 * amount

    def draw(points: Points, strength: float) -> None:
        lines.append((points, width * float(rng.uniform(0.8, 1.3)), strength))

    level = 0.45 + 0.55 * amount
    for side in (-1, 1):
        for angle in np.linspace(-0.75, 0.85, round(3 + 8 * amount)) + rng.normal(0, 0.06):
            near = np.array([gap + wide + rng.uniform(0.03, 0.06), -0.01 + 0.085 * angle])
            reach = rng.uniform(0.10, 0.17) + 0.10 * amount
            end = near + reach * np.array([np.cos(angle * 0.9), np.sin(angle * 0.9)])
            line = _wavy(near, (near + end) / 2 + (0.0, 0.012 * np.sign(angle)), end, 0.002, rng)
            draw(line * (side, 1), level * rng.uniform(0.6, 1.1))
        for row in range(round(2 + 4 * amount)):
            low = 0.105 + 0.030 * row + rng.normal(0, 0.004)
            inner, outer = gap - wide * rng.uniform(0.3, 0.8), gap + wide * rng.uniform(0.5, 1.25)
            middle = np.array([(inner + outer) / 2, low + 0.035])
            line = _wavy(np.array([inner, low]), middle, np.array([outer, low - 0.012]), 0.002, rng)
            draw(line * (side, 1), level * rng.uniform(0.45, 0.95))
        for row in range(round(1 + 3 * amount)):
            start = np.array([traits.shape.mouth_width + 0.045 + 0.035 * row, traits.shape.mouth_height - 0.08])
            end = start + np.array([0.015 + rng.normal(0, 0.006), rng.uniform(0.11, 0.2)])
            line = _wavy(start, (start + end) / 2 + (0.02, 0.0), end, 0.002, rng)
            draw(line * (side, 1), level * rng.uniform(0.4, 0.9))
    for u in np.linspace(-0.25, 0.25, round(3 + 8 * amount)):
        top = traits.shape.mouth_height - traits.shape.upper_lip * (1 - (u / traits.shape.mouth_width) ** 2)
        start = np.array([u + rng.normal(0, 0.012), top - rng.uniform(0.012, 0.03)])
        end = start + np.array([u * 0.2 + rng.normal(0, 0.008), -rng.uniform(0.03, 0.095)])
        draw(np.linspace(start, end, 6), level * rng.uniform(0.15, 0.65))
    for row in range(round(1 + 3 * amount)):
        v = -0.42 - 0.11 * row + rng.normal(0, 0.015)
        for _ in range(3):
            u, half = rng.uniform(-0.42, 0.42), rng.uniform(0.1, 0.22)
            line = _wavy(np.array([u - half, v]), np.array([u, v - 0.012]), np.array([u + half, v]), 0.003, rng)
            draw(line, level * rng.uniform(0.25, 0.6))
    _draw_lines(skin, mask, lines)
    press_lines(skin, mask, 0.0022, (0.004 + 0.012 * amount), 0.14 + 0.36 * amount)


def draw_aging(skin: Skin, amount: float, rng: np.random.Generator) -> None:
    """Folds and sagging: nasolabial and marionette folds, furrows, bags under the eyes, jowls; `amount` 0..1."""
    shape, deep, furrows = skin.traits.shape, Mask(skin.size), Mask(skin.size)
    folds: list[Line] = []
    troughs: list[Line] = []
    wrinkles: list[Line] = []
    mouth = shape.mouth_width
    parts = np.clip(rng.normal(1.0, 0.14, 5), 0.65, 1.3) * amount
    fold, furrow, bag, jowl, frown = (float(value) for value in parts)
    for side in (-1, 1):
        points = [(0.215, 0.49), (0.30, 0.60), (mouth + 0.085, 0.75), (mouth + 0.105, 0.89)]
        line = curve(np.array(points) + rng.normal(0, 0.008, (4, 2)), 6) * (side, 1)
        folds.append((line, 0.018 + 0.016 * fold, 0.35 + 0.65 * fold))
        corner = np.array([(mouth + 0.025, 0.915), (mouth + 0.05, 1.0), (mouth + 0.035, 1.11)])
        line = curve(corner + rng.normal(0, 0.006, (3, 2)), 6) * (side, 1)
        troughs.append((line, 0.012 + 0.016 * fold, 0.6 * min(fold, 1)))
        gap, wide = shape.eye_gap, shape.eye_width
        trough = np.array([(gap - wide * 0.95, 0.09), (gap - 0.02, 0.185 + 0.02 * bag), (gap + wide * 0.9, 0.15)])
        troughs.append((curve(trough, 6) * (side, 1), 0.014 + 0.012 * bag, 0.75 * min(bag, 1)))
        frowns = np.array([(0.055, -0.33), (0.065, -0.24), (0.05, -0.17)]) + rng.normal(0, 0.006, (3, 2))
        wrinkles.append((curve(frowns * (side, 1), 5), 0.010 + 0.01 * frown, 0.88 * min(frown, 1)))
    count = round(2 + 2.4 * furrow)
    for row in range(count):
        v = shape.brow_height - 0.14 - row * (0.40 / count) + rng.normal(0, 0.012)
        u = np.linspace(-0.52, 0.52, 9) * rng.uniform(0.75, 1.0) + rng.normal(0, 0.03)
        wave = 0.022 * np.cos(u * 5.5 + rng.normal(0, 0.5)) + rng.normal(0, 0.004, 9)
        line = curve(np.stack([u, v + wave], axis=1), 2)
        wrinkles.append((line, 0.010 + 0.012 * furrow, 0.94 * min(0.3 + 0.7 * furrow, 1)))
    _draw_lines(skin, deep, folds, 0.4)
    _draw_lines(skin, deep, troughs)
    _draw_lines(skin, furrows, wrinkles, 0.5)
    press_lines(skin, deep, 0.010, 0.010 + 0.030 * amount, 0.10 + 0.42 * amount)
    press_lines(skin, furrows, 0.0055, 0.006 + 0.020 * amount, 0.10 + 0.36 * amount)
    _sag(skin, bag, jowl, fold)


def _sag(skin: Skin, bag: float, jowl: float, fold: float) -> None:
    """Soft volumes that have sunk: bags, cheeks above their fold, jowls; and hollows where they were."""
    u, v = skin.grid()
    gap, mouth = skin.traits.shape.eye_gap, skin.traits.shape.mouth_width
    relief = skin.coarse_relief
    for side in (-1, 1):
        relief += np.float32(0.030 * bag) * bell(u, v, (side * gap, 0.115), (0.13, 0.035))
        relief -= np.float32(0.022 * bag) * bell(u, v, (side * gap, 0.20), (0.14, 0.03))
        relief += np.float32(0.042 * fold) * bell(u, v, (side * (mouth + 0.16), 0.66), (0.09, 0.12))
        relief -= np.float32(0.028 * fold) * bell(u, v, (side * (mouth + 0.02), 0.76), (0.05, 0.1))
        relief += np.float32(0.055 * jowl) * bell(u, v, (side * 0.50, 1.10), (0.12, 0.10))
        relief -= np.float32(0.050 * jowl) * bell(u, v, (side * 0.34, 1.13), (0.045, 0.09))
        relief -= np.float32(0.030 * jowl) * bell(u, v, (side * 0.72, 0.62), (0.12, 0.18))
        skin.coarse_shade += as_plane(np.float32(0.16 * bag) * bell(u, v, (side * (gap - 0.03), 0.19), (0.13, 0.03)))
        skin.coarse_shade += as_plane(np.float32(0.13 * jowl) * bell(u, v, (side * 0.34, 1.12), (0.04, 0.09)))
    skin.coarse_melanin += as_plane(np.float32(0.10 * bag) * bell(np.abs(u), v, (gap, 0.15), (0.14, 0.05)))


def baseline_age(skin: Skin, rng: np.random.Generator) -> None:
    """Lines that come with years and are nobody's condition: far below mild, and strewn widely."""
    age = skin.traits.age
    lines, folds = rng.uniform(0.0, 0.06, 2) + age * rng.uniform(0.02, 0.13, 2)
    if lines > 0.03:
        draw_fine_lines(skin, float(lines), rng)
    if folds > 0.05:
        draw_aging(skin, float(folds), rng)


def droop(traits: Traits, amount: float) -> float:
    """How far the upper lids hang, 0..1, for an amount of aging."""
    return float(np.clip(0.12 * traits.age + 0.75 * amount, 0.0, 1.0))
