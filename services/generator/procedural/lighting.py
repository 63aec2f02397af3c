"""Light on the relief: normals, diffuse light with a soft terminator, and the skin's highlights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.generator.procedural.canvas import Colour, Picture, strips
from services.generator.procedural.filters import Plane, as_plane, blur, slopes
from services.generator.procedural.pose import Pose
from shared.taxonomy import Light

_WRAP = np.float32(0.22)  # how far light creeps round the terminator: skin scatters it
_SHARPNESS = np.float32(22.0)  # of the highlight; skin is rough


@dataclass(frozen=True)
class Lamp:
    """One key light and what surrounds it: unit direction (x right, y down, z to the camera), linear colours."""

    direction: tuple[float, float, float]
    key: Colour
    ambient: Colour
    background: float  # how bright the background is lit


def sample_lamp(light: Light, rng: np.random.Generator) -> Lamp:
    """Sample a lamp that fits the lighting."""
    side = float(rng.choice((-1.0, 1.0)))
    if light is Light.SIDE:
        x, y, z, key, fill = side * rng.uniform(0.75, 1.0), rng.uniform(-0.45, -0.1), rng.uniform(0.4, 0.6), 1.02, 0.22
        tint = np.array([1.0, rng.uniform(0.93, 1.0), rng.uniform(0.84, 1.02)])
    elif light is Light.INDOOR_WARM:
        x, y, z, key, fill = side * rng.uniform(0.1, 0.5), rng.uniform(-0.8, -0.4), rng.uniform(0.7, 0.9), 0.80, 0.28
        tint = np.array([1.07, rng.uniform(0.92, 0.97), rng.uniform(0.72, 0.86)])
    elif light is Light.INDOOR_COOL:
        x, y, z, key, fill = side * rng.uniform(0.1, 0.5), rng.uniform(-0.8, -0.35), rng.uniform(0.7, 0.9), 0.76, 0.32
        tint = np.array([rng.uniform(0.88, 0.95), 1.0, rng.uniform(0.98, 1.08)])
    else:
        x, y, z, key, fill = side * rng.uniform(0.15, 0.6), rng.uniform(-0.6, -0.2), rng.uniform(0.7, 0.95), 0.72, 0.36
        tint = np.array([1.0, rng.uniform(0.97, 1.01), rng.uniform(0.94, 1.04)])
    length = float(np.sqrt(x * x + y * y + z * z))
    key *= float(np.exp(rng.normal(0.0, 0.05)))
    bounce = tint * (1.0 - rng.uniform(0.0, 0.08, 3))
    lit, around = key * tint, fill * bounce
    return Lamp(
        (float(x / length), float(y / length), float(z / length)),
        (float(lit[0]), float(lit[1]), float(lit[2])),
        (float(around[0]), float(around[1]), float(around[2])),
        float(rng.uniform(0.55, 1.1) * (0.7 if light is Light.SIDE else 1.0)),
    )


def light_skin(
    albedo: Picture,
    pose: Pose,
    coarse: Plane,
    relief: Plane,
    shade: Plane,
    gloss: Plane,
    lamp: Lamp,
    box: tuple[slice, slice],
) -> Picture:
    """Light the unlit colour inside the box in place and return it.

    `coarse` is the head's height in face units on the coarse grid, `relief` the skin's in pixels at full size,
    `shade` (full size) the part of light that does not reach a place, `gloss` the strength of the highlight.
    """
    ratio = np.float32(pose.scale * coarse.shape[0] / pose.size)  # grid steps per face unit
    big_x, big_y = slopes(coarse)
    slope_x, slope_y = pose.enlarge(big_x * ratio, smooth=True), pose.enlarge(big_y * ratio, smooth=True)
    openness = pose.enlarge(_openness(coarse, ratio))
    fine_x, fine_y = slopes(relief)
    for part in strips(box):
        # A relief steeper than this is the seam of two maps, not skin.
        nx = np.clip(slope_x[part], -2.6, 2.6) + np.clip(fine_x[part], -1.2, 1.2)
        ny = np.clip(slope_y[part], -2.6, 2.6) + np.clip(fine_y[part], -1.2, 1.2)
        _light_part(albedo[:, part[0], part[1]], nx, ny, openness[part], shade[part], gloss[part], lamp)
    return albedo


def _light_part(colour: Picture, nx: Plane, ny: Plane, openness: Plane, shade: Plane, gloss: Plane, lamp: Lamp) -> None:
    """Light a part of the picture in place; `nx` and `ny` are the slopes of the surface."""
    lx, ly, lz = (np.float32(value) for value in lamp.direction)
    tilt = nx * lx
    tilt += ny * ly
    length = nx * nx
    length += ny * ny
    length += np.float32(1.0)
    np.sqrt(length, out=length)
    facing = (lz - tilt) / length
    diffuse = facing + _WRAP
    np.maximum(diffuse, np.float32(0.0), out=diffuse)
    diffuse *= 1 / (1 + _WRAP)
    # The highlight is where the surface faces half-way between the lamp and the camera.
    half = np.float32(1.0 / np.sqrt(lx * lx + ly * ly + (lz + 1) ** 2))
    shine = (lz + 1 - tilt) / length
    shine *= _SHARPNESS * half
    shine -= _SHARPNESS
    np.exp(shine, out=shine)
    shine *= gloss
    open_sky = openness * np.clip(1.0 - shade, 0.15, 1.0)
    diffuse *= np.clip(1.0 - 0.6 * shade, 0.2, 1.0)
    # Light that entered the skin leaves it red where the direct light fades.
    terminator = np.maximum(1.0 - ((facing - 0.05) * np.float32(2.6)) ** 2, 0.0) ** 2 * np.float32(0.07)
    for channel, bleed in enumerate((1.0, 0.12, 0.0)):
        plane = colour[channel]
        light = diffuse * np.float32(lamp.key[channel])
        light += open_sky * np.float32(lamp.ambient[channel])
        if bleed:
            light += terminator * np.float32(bleed * lamp.key[0])
        plane *= light
        plane += shine * np.float32(lamp.key[channel])


def _openness(height: Plane, ratio: np.float32) -> Plane:
    """How much of the surroundings a place sees, 0.4 to 1.1: hollows see less than ridges."""
    sigma = float(0.09 * ratio)
    around = blur(height, sigma)
    return as_plane(np.clip(1.0 + 5.0 * (height - around), 0.4, 1.12))
