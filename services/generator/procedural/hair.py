"""Hair: styles by their outlines, strands by noise drawn out along the direction they grow in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from services.generator.procedural.canvas import (
    Picture,
    blend,
    box_around,
    curve,
    random_stream,
    shown_box,
    smoothstep,
    strips,
)
from services.generator.procedural.filters import Plane, as_plane, blur, resize
from services.generator.procedural.shapes import Mask, Points
from services.generator.procedural.traits import Traits

# The textures repeat, and are made at the sizes that Fourier transforms like. What can be seen of a head spans less.
_STRANDS = (256, 4096)  # rows and columns of the strand texture
_FINE = 4  # columns of the strand texture in a pixel: fine enough to be looked up without interpolation
_COARSE = 4  # pixels in a row of it: strands are hundreds of pixels long
_CURLS = 1024  # side of the texture of curls in pixels


@dataclass(frozen=True)
class Style:
    """One way to wear hair, in face units."""

    volume: float  # how far it stands off the skull
    length: float  # v down to which the locks at the sides hang
    fringe: float  # how far the fringe comes down from the hairline; 0 none
    sides: float  # u of the inner edge of the side locks at the height of the eyes
    curl: float  # 0 straight to 1 tight curls
    part: float  # u of the parting
    cropped: bool  # so short that the skin shines through


def sample_style(traits: Traits, rng: np.random.Generator) -> Style:
    """Sample a style; both sexes share most, at other odds."""
    names = ("cropped", "short", "side", "fringe", "long", "wavy", "tied", "curly")
    odds = np.array((0.2, 2, 1, 1.6, 3, 2.4, 2, 1.6) if traits.female else (2.6, 4, 2.2, 0.9, 0.5, 0.4, 0.4, 1.4))
    name = str(rng.choice(names, p=odds / odds.sum()))
    part = float(rng.uniform(-0.45, 0.45))
    tight = float(rng.uniform(0.75, 1.0) if name == "curly" else rng.uniform(0.3, 0.55) if name == "wavy" else 0.0)
    hangs = {"long": 2.6, "wavy": rng.uniform(1.2, 2.6), "fringe": rng.choice((0.25, 1.3, 2.6)), "curly": 0.7}
    length = float(hangs.get(name, rng.uniform(-0.05, 0.25)))
    return Style(
        volume={"cropped": 0.02, "tied": 0.06, "curly": float(rng.uniform(0.2, 0.42))}.get(
            name, rng.uniform(0.1, 0.22)
        ),
        length=length if not (name == "curly" and traits.female) else float(rng.uniform(0.7, 2.0)),
        fringe=float({"fringe": rng.uniform(0.45, 0.62), "side": rng.uniform(0.12, 0.35)}.get(name, 0.0)),
        sides=float(rng.uniform(0.80, 0.93)) if length > 0.5 else 0.93,
        curl=tight,
        part=part,
        cropped=name == "cropped",
    )


def _grain(rng: np.random.Generator, shape: tuple[int, int], along: float, across: float) -> Plane:
    """White noise blurred by standard deviations in rows and columns, at unit variance; it repeats at its edges."""
    spectrum = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    down, right = np.fft.fftfreq(shape[0]) * along, np.fft.rfftfreq(shape[1]) * across
    spectrum *= as_plane(np.exp(-2 * (np.pi * down[:, None]) ** 2)) * as_plane(np.exp(-2 * (np.pi * right) ** 2))
    grain = np.fft.irfft2(spectrum, shape)
    return as_plane(grain / grain.std())


@lru_cache(maxsize=1)
def _strand_tile() -> Plane:
    """Texture of long strands, x across them, about standard normal."""
    rng = random_stream(0, "strands")
    strands = np.zeros(_STRANDS, dtype=np.float32)
    for across, along, weight in ((0.8, 80.0, 1.0), (2.0, 110.0, 0.8), (6.0, 170.0, 0.35)):
        strands += np.float32(weight) * _grain(rng, _STRANDS, along / _COARSE, across * _FINE)
    strands /= strands.std()
    strands.setflags(write=False)
    return strands


@lru_cache(maxsize=1)
def _curl_tile() -> Plane:
    """Texture of curls: ridges between noise of about their width."""
    white = np.fft.rfft2(random_stream(0, "curls").standard_normal((_CURLS, _CURLS), dtype=np.float32))
    down, right = np.fft.fftfreq(_CURLS)[:, None], np.fft.rfftfreq(_CURLS)
    square = as_plane(-2 * np.pi**2 * (down * down + right * right))
    curls = np.fft.irfft2(white * (np.exp(square * np.float32(2.8**2)) - np.exp(square * np.float32(5.5**2))))
    ridges = as_plane(0.9 - 1.25 * np.abs(curls / curls.std()))
    ridges.setflags(write=False)
    return ridges


def _texture(traits: Traits, style: Style, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Strand texture, about standard normal, and the distance from the crown in face units, both at full size."""
    pose = traits.pose
    u, v = pose.grid
    crown = np.float32(style.part * 0.8)
    swell = np.float32(0.05 + 0.34 * style.curl) * np.sin(v * 5.5 + rng.uniform(0, 6)) * np.float32(0.12)
    radius = np.hypot(u - crown, v + 1.75)
    angle = np.arctan2(u - crown, v + 1.75) + swell + np.float32(style.part) * np.exp(-((v + 0.9) ** 2))
    angles, radii = pose.enlarge(as_plane(angle), smooth=True), pose.enlarge(as_plane(radius))
    # 295 pixels of texture a radian make strands about a pixel wide at 512.
    from_x, from_y = float(rng.uniform(480, 800)), float(rng.uniform(0, 600))
    rows, columns = _STRANDS
    texture, straight = _strand_tile().reshape(-1), np.empty_like(angles)
    for part in strips((slice(0, pose.size), slice(0, pose.size))):
        column = (angles[part] * np.float32(295 * _FINE) + np.float32(from_x * _FINE)).astype(np.intp) & (columns - 1)
        row = (radii[part] * np.float32(150 / _COARSE) + np.float32(from_y / _COARSE)).astype(np.intp) & (rows - 1)
        row *= columns
        row += column
        texture.take(row, out=straight[part], mode="clip")  # in bounds; this mode needs no second buffer
    if style.curl > 0.6:
        side = int(180.0 * pose.size / pose.scale)
        x, y = (int(value) for value in rng.integers(0, _CURLS - side, 2))
        ridges = resize(_curl_tile()[y : y + side, x : x + side], pose.size, pose.size, smooth=False)
        return as_plane(0.5 * straight + 0.9 * ridges), radii
    return straight, radii


def _hairline(traits: Traits, style: Style, rng: np.random.Generator) -> Points:
    """Inner edge in face units from the lower left, over the forehead, to the lower right."""
    top, shape = traits.shape.hairline, traits.shape
    recede = 0.0 if traits.female else float(rng.uniform(0.0, 0.16) * (0.4 + traits.age))
    bottom = style.length
    inner = style.sides * shape.width / 0.93
    left = [(-0.93 * shape.width / 0.93, min(bottom, 0.16)), (-0.915, -0.15), (-0.84, -0.42)]
    if bottom > 0.5:
        flare = rng.uniform(-0.06, 0.1)
        left = [(-inner - flare, bottom), (-inner - 0.03, 0.9), (-inner, 0.3), (-inner + 0.03, -0.15), (-0.82, -0.45)]
    over_top = [
        (-0.70, -0.74),
        (-0.45, top + 0.06 - recede),
        (0.0, top + rng.normal(0, 0.02)),
        (0.45, top + 0.06 - recede),
    ]
    if style.fringe > 0.4:
        low = top + style.fringe
        over_top = [(-0.74, low + 0.04), (-0.4, low), (0.0, low + rng.normal(0, 0.03)), (0.4, low), (0.74, low + 0.04)]
    elif style.fringe > 0:
        heavy = float(np.sign(style.part) or 1.0)
        over_top = [(u, v + style.fringe * np.clip(0.5 - 0.75 * heavy * u, 0, 1)) for u, v in over_top]
    right = [(-u, v) for u, v in reversed(left)]
    if style.fringe <= 0.4:
        over_top.append((0.70, -0.74))
    return curve(np.array(left + over_top + right), 6)


def _outer_edge(traits: Traits, style: Style, rng: np.random.Generator) -> Points:
    """Outer edge in face units from the lower right, over the crown, to the lower left."""
    width, volume = traits.shape.width, style.volume
    side = [(width + volume * 0.75, -0.35), (width * 0.9 + volume, -0.85), (0.55, -1.3 - volume), (0.0, -1.42 - volume)]
    if style.length > 0.5:
        wide = rng.uniform(0.1, 0.3) + 0.3 * style.curl
        low = [(width + volume + wide, style.length), (width + volume + wide * 0.8, 0.7), (width + volume, 0.1)]
    else:
        low = [(width + 0.01, style.length), (width + 0.03 + volume * 0.4, -0.1)]
    right = low + side
    return curve(np.array(right + [(-u, v) for u, v in reversed(right[:-1])]), 6)


def _head_points(traits: Traits, points: Points) -> Points:
    """Outline points of the hair to pixels: what is far from the middle lies further back."""
    rim = np.clip(np.abs(points[:, 0]) / 0.95, 0, 1.1) ** 3
    far = np.sign(points[:, 0]) * np.sin(traits.pose.yaw) > 0.05
    depth = 0.75 - np.where(far, 0.62, 0.85) * rim - 0.35 * np.clip(-points[:, 1] - 0.9, 0, 1)
    return traits.pose.place(points[:, 0], points[:, 1], depth)


@dataclass(frozen=True)
class Hair:
    """Covers (size, size): `behind` lies behind the neck, `front` over the forehead and the sides of the face."""

    behind: Plane
    front: Plane
    colour: Picture


def shape_hair(traits: Traits, style: Style, rng: np.random.Generator, light: Plane) -> Hair:
    """Lay out and colour the hair; `light` (size, size) is how brightly the head is lit there."""
    unit, size = traits.pose.scale, traits.pose.size
    strands, radius = _texture(traits, style, rng)
    outer, inner = _outer_edge(traits, style, rng), _hairline(traits, style, rng)
    mask = Mask(size)
    mask.fill(_head_points(traits, np.concatenate([outer, inner])))
    behind = Mask(size)
    behind.fill(_head_points(traits, outer))
    softness, ragged = (0.045, 0.12) if style.cropped else (0.022, 0.15) if style.curl < 0.6 else (0.045, 0.22)
    front = _frayed(mask.coverage(softness * unit), strands, ragged)
    if style.cropped:
        front *= np.float32(rng.uniform(0.55, 0.9))
    back = _frayed(behind.coverage(0.02 * unit), strands, ragged)
    ring = np.float32(rng.uniform(1.05, 1.3))
    strength = np.float32(rng.uniform(0.2, 0.9) * (0.4 if style.curl > 0.6 else 1.0))
    contrast = np.float32(0.26 - 0.12 * min(1.0, 3 * traits.hair[1]))
    colour = np.zeros((3, size, size), dtype=np.float32)
    for part in strips(shown_box(back + front)):
        band = np.maximum(1.0 - ((radius[part] - ring) * np.float32(3.4)) ** 2, 0.0) ** 2
        tone = np.clip(0.72 + contrast * strands[part], 0.2, 1.6) * light[part]
        gleam = strength * band * np.clip(0.45 + 0.4 * strands[part], 0, 1.5) * light[part]
        for channel, base in enumerate(traits.hair):
            colour[channel][part] = np.float32(base) * tone + np.float32(0.04 + 0.45 * base) * gleam
    return Hair(behind=back, front=front, colour=colour)


def _frayed(cover: Plane, strands: Plane, amount: float) -> Plane:
    """A soft cover whose edge follows the strands."""
    return smoothstep(0.3, 0.7, as_plane(cover + np.float32(4 * amount) * strands * cover * (1 - cover)))


def draw_behind(picture: Picture, hair: Hair, style: Style) -> None:
    """Hair behind the head: what hangs beside the neck, in shadow."""
    if style.cropped:
        return
    blend(picture, hair.colour * np.float32(0.5), hair.behind)


def draw_front(picture: Picture, hair: Hair, traits: Traits, unit: float) -> None:
    """Hair over the face, with the shadow it throws."""
    shadow = blur(hair.front, 0.035 * unit)
    blend(picture, (0.0, 0.0, 0.0), np.float32(0.38) * np.maximum(shadow - hair.front * np.float32(0.5), 0.0))
    blend(picture, hair.colour, hair.front)


def draw_stray(picture: Picture, traits: Traits, style: Style, rng: np.random.Generator) -> None:
    """Single strands that fall over the face, on some people."""
    if style.cropped or rng.random() > 0.3:
        return
    pose, unit = traits.pose, traits.pose.scale
    mask = Mask(pose.size)
    lines = []
    for _ in range(int(rng.integers(2, 9))):
        side = float(rng.choice((-1.0, 1.0)))
        start = np.array([side * rng.uniform(0.2, 0.85), rng.uniform(-1.05, -0.6)])
        reach = rng.uniform(0.3, 1.3 if style.length > 0.5 else 0.6)
        end = start + np.array([side * rng.uniform(-0.15, 0.25), reach])
        bend = reach * np.array([side * rng.uniform(0.08, 0.3), 0.0])
        points = curve(np.array([start, (start + end) / 2 + bend, end]), 12)
        points[:, 0] = 0.95 * np.tanh(points[:, 0] / 0.95)
        line = pose.project(points)
        lines.append(line)
        mask.stroke(line, 0.005 * unit * rng.uniform(0.6, 1.5), rng.uniform(90, 200))
    box = box_around(np.concatenate(lines), 4, pose.size)
    if box is not None:
        tone = np.array(traits.hair) * 0.8
        blend(picture, (float(tone[0]), float(tone[1]), float(tone[2])), mask.coverage(0.3), box)
