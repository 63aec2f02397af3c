"""The skin's maps. Conditions and nuisances write to them; the light comes after.

Pigments absorb: an amount a of melanin or blood multiplies the colour beneath by exp(-a * absorption), so the same
erythema is pink on light skin and dusky on dark skin, as it is in people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.generator.procedural.canvas import Picture, bell, strips
from services.generator.procedural.filters import Plane
from services.generator.procedural.shapes import Points
from services.generator.procedural.traits import Traits

_MELANIN = np.array([0.62, 0.95, 1.15])
_BLOOD_FAIR, _BLOOD_DEEP = np.array([0.10, 0.86, 0.74]), np.array([0.36, 1.00, 0.58])
_PALE = (0.86, 0.76, 0.52)  # linear colour of pus and keratin
# Absorption per unit in linear red, green and blue, set by eye after the absorption of melanin, which falls from blue
# to red, and of haemoglobin, which is strong in green and blue (S. Jacques, Phys. Med. Biol. 58, 2013). In deep skin
# blood also darkens red: it reads as violaceous.

Weight = Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]]


@dataclass
class Skin:
    """Planes (size, size) over the picture, and smooth ones on the pose's coarse grid, which are added at the end."""

    traits: Traits
    melanin: Plane
    blood: Plane
    relief: Plane  # height in pixels
    pale: Plane  # 0..1 cover of pus and keratin
    shade: Plane  # darkening of pits and folds that little light reaches
    gloss: Plane
    hairs: Plane  # 0..1 cover of short hairs in the colour of the beard
    coarse_melanin: Plane
    coarse_blood: Plane
    coarse_relief: Plane  # height in face units
    coarse_shade: Plane

    @classmethod
    def bare(cls, traits: Traits) -> Skin:
        """Skin without anything on it."""
        size, grid = traits.pose.size, traits.pose.grid_size
        full = [np.zeros((size, size), dtype=np.float32) for _ in range(7)]
        coarse = [np.zeros((grid, grid), dtype=np.float32) for _ in range(4)]
        return cls(traits, *full, *coarse)

    @property
    def size(self) -> int:
        """Side of the picture in pixels."""
        return self.traits.pose.size

    @property
    def unit(self) -> float:
        """Pixels per face unit."""
        return self.traits.pose.scale

    @property
    def strength(self) -> float:
        """Factor on pigments, so that they show on this skin tone as clearly as clinicians see them."""
        return 1.0 + 0.55 * self.traits.darkness

    def grid(self) -> tuple[Plane, Plane]:
        """u and v on the coarse grid."""
        return self.traits.pose.grid

    def field(self, spots: Sequence[tuple[float, float, float, float, float]]) -> Plane:
        """Sum of bells (u, v, radius u, radius v, weight) on the coarse grid."""
        u, v = self.grid()
        total = np.zeros_like(u)
        for centre_u, centre_v, radius_u, radius_v, weight in spots:
            total += np.float32(weight) * bell(u, v, (centre_u, centre_v), (radius_u, radius_v))
        return total

    def detail_field(self, plane: Plane) -> Plane:
        """A coarse plane at full size."""
        return self.traits.pose.enlarge(plane)

    def places(self, rng: np.random.Generator, count: int, weight: Weight, gap: float = 0.0, tries: int = 40) -> Points:
        """Up to `count` random places (n, 2) in face units where a lesion can lie and be seen, at least `gap` apart."""
        drawn = rng.uniform((-0.9, -1.0), (0.9, 1.4), (count * tries, 2))
        drawn = self.keep_open(drawn, weight, rng)
        if gap <= 0.0:
            return drawn[:count]
        chosen: list[npt.NDArray[np.float64]] = []
        for candidate in drawn[: 12 * count]:
            if len(chosen) == count:
                break
            if not chosen or np.min(np.sum((np.array(chosen) - candidate) ** 2, axis=1)) > gap * gap:
                chosen.append(candidate)
        return np.array(chosen).reshape(-1, 2)

    def keep_open(self, places: Points, weight: Weight, rng: np.random.Generator) -> Points:
        """Keep the places on bare, visible skin, each with the probability that `weight` gives it."""
        u, v = places[:, 0], places[:, 1]
        chance = np.clip(weight(u, v), 0.0, 1.0) * open_skin(self.traits, u, v) * (self.traits.pose.facing(u) > 0.3)
        return places[rng.random(len(places)) < chance]

    def albedo(self, cover: Plane, box: tuple[slice, slice]) -> Picture:
        """Colour of the skin (3, size, size), linear, inside the box; pigments lie only where `cover` is 1."""
        traits = self.traits
        base = np.zeros((3, self.size, self.size), dtype=np.float32)
        coarse_melanin, coarse_blood = self.detail_field(self.coarse_melanin), self.detail_field(self.coarse_blood)
        absorbs = _BLOOD_FAIR + (_BLOOD_DEEP - _BLOOD_FAIR) * traits.darkness
        fade = np.float32(1.0 - 0.66 * traits.darkness)
        beard = [np.float32(min(0.3 * channel, 0.03)) for channel in traits.hair]
        for part in strips(box):
            shown = cover[part]
            melanin = (self.melanin[part] * shown + coarse_melanin[part]) * np.float32(self.strength)
            blood = (self.blood[part] * shown + coarse_blood[part]) * np.float32(self.strength)
            pale, hairs = np.minimum(self.pale[part] * shown, 0.95), np.minimum(self.hairs[part] * shown, 0.85)
            for channel in range(3):
                absorbed = melanin * np.float32(-_MELANIN[channel]) - blood * np.float32(absorbs[channel])
                plane = np.exp(absorbed) * np.float32(traits.skin[channel])
                plane += (np.float32(_PALE[channel]) * fade - plane) * pale
                plane += (beard[channel] - plane) * hairs
                base[channel][part] = plane
        return base


def open_skin(traits: Traits, u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Where in face units there is bare skin: inside the face, off the eyes, brows, lips and nostrils."""
    shape = traits.shape
    side = np.abs(u)
    eye = ((side - shape.eye_gap) / (shape.eye_width + 0.05)) ** 2 + (v / 0.13) ** 2 < 1
    brow = (np.abs(v - shape.brow_height) < 0.06) & (side > 0.1) & (side < 0.65)
    lips = (u / (shape.mouth_width + 0.03)) ** 2 + ((v - shape.mouth_height - 0.015) / 0.13) ** 2 < 1
    nostrils = ((side - 0.09) / 0.07) ** 2 + ((v - 0.57) / 0.045) ** 2 < 1
    face = (u / (0.9 * shape.width)) ** 2 + ((v - 0.15) / 1.2) ** 4 < 1
    inside: npt.NDArray[np.bool_] = face & ~eye & ~brow & ~lips & ~nostrils & (v > traits.shape.hairline + 0.08)
    return inside


def cheeks_weight(u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 on the cheeks, falling off around them."""
    side = np.abs(u)
    weight: npt.NDArray[np.float64] = np.exp(-0.5 * (((side - 0.52) / 0.2) ** 2 + ((v - 0.42) / 0.26) ** 2))
    return weight
