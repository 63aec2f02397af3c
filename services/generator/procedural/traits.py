"""Who is drawn and how the photograph was taken: everything sampled from the subject and the seed, never the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.generator.procedural.canvas import Colour, linear, random_stream
from services.generator.procedural.pose import Pose
from shared.taxonomy import MONK_SRGB, AgeBand, Light, Sex, View


class Subject(Protocol):
    """What the drawing must be told about a person; `shared.events.Subject` has these attributes."""

    @property
    def age_band(self) -> AgeBand:
        """Age in years, in bands."""
        ...

    @property
    def skin_tone(self) -> int:
        """Step of the Monk scale, 1 to 10."""
        ...

    @property
    def sex(self) -> Sex:
        """Sex as it shows."""
        ...

    @property
    def light(self) -> Light:
        """Lighting."""
        ...

    @property
    def view(self) -> View:
        """Pose of the head."""
        ...


AGE = {AgeBand.YOUNG_ADULT: 0.0, AgeBand.ADULT: 0.3, AgeBand.MIDDLE_AGED: 0.65, AgeBand.SENIOR: 1.0}
"""How far along the four age bands a subject is, 0 to 1."""

_HAIR_COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (34, 29, 28),
    "dark_brown": (58, 42, 33),
    "brown": (92, 66, 47),
    "auburn": (112, 58, 38),
    "dark_blond": (142, 110, 74),
    "blond": (190, 158, 108),
    "grey": (150, 148, 146),
    "white": (205, 203, 200),
}
_IRIS_COLOURS = ((62, 40, 26), (84, 56, 34), (104, 86, 48), (92, 108, 78), (96, 126, 148), (118, 132, 140))
_CLOTHES = ((38, 44, 58), (120, 36, 40), (214, 210, 202), (64, 84, 70), (146, 120, 92), (88, 90, 96), (180, 150, 60))


@dataclass(frozen=True)
class Proportions:
    """Anatomy in face units and in multipliers about 1."""

    width: float
    jaw: float  # width of the jaw
    chin: float  # length of the chin
    eye_gap: float  # u of the centre of an eye
    eye_width: float  # half the width of an eye
    eye_open: float
    eye_tilt: float  # rise of the outer corner in face units
    lid_crease: float  # 0 none (single lid) to 1
    brow_height: float
    brow_weight: float
    brow_arch: float
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_height: float
    mouth_curve: float
    upper_lip: float
    lower_lip: float
    brow_ridge: float
    cheeks: float  # height of the relief of the cheeks
    hairline: float  # v of the hairline, negative


@dataclass(frozen=True)
class Traits:
    """One person and one photograph. Colours are linear light; amounts are about 0 to 1."""

    pose: Pose
    shape: Proportions
    skin: Colour
    darkness: float  # 0 at Monk 1 to 1 at Monk 10
    age: float  # 0 to 1
    female: bool
    hair: Colour
    iris: Colour
    clothes: Colour
    ruddiness: float  # even redness of the whole face, and of cheeks and nose
    flush: float
    unevenness: float
    under_eye: float
    shine: float
    light: Light


def _skin_colour(tone: int, rng: np.random.Generator) -> Colour:
    """The Monk swatch, a little nearer to the colour of skin under daylight, with a person's own variation."""
    red, green, blue = (float(channel) for channel in MONK_SRGB[tone])
    # The light swatches are nearly white: a photograph exposes them lower and shows the blood through them.
    fair = min(max(0.0, (7 - tone) / 5), 0.8)
    red, green, blue = red * (1 - 0.05 * fair), green * (1 - 0.15 * fair), blue * (1 - 0.19 * fair)
    # The two darkest swatches are nearly grey; lit skin of that tone keeps a trace of brown.
    deep = max(0.0, (tone - 7) / 3)
    red, blue = red * (1 + 0.14 * deep), blue * (1 - 0.04 * deep)
    light = np.exp(rng.normal(0.0, 0.025))
    warm = rng.normal(0.0, 0.02)
    return linear((min(red * light * (1 + warm), 252.0), green * light, blue * light * (1 - 1.4 * warm)))


def _hair_colour(tone: int, age: float, rng: np.random.Generator) -> Colour:
    if rng.random() < 0.75 * max(0.0, age - 0.25) ** 1.3:
        name = "white" if rng.random() < 0.3 * age else "grey"
    else:
        weights = (
            np.array([3.0, 3, 3, 1, 2, 2])
            if tone <= 4
            else np.array([5.0, 3, 1, 0.3, 0.1, 0.1]) * (1, 1, 1, tone < 7, tone < 7, tone < 7)
        )
        name = str(rng.choice(list(_HAIR_COLOURS)[:6], p=weights / weights.sum()))
    base = np.array(_HAIR_COLOURS[name]) * np.exp(rng.normal(0.0, 0.12))
    return linear(np.clip(base, 8, 235))


def _pose(view: View, size: int, rng: np.random.Generator) -> Pose:
    turn = {View.FRONTAL: 0.0, View.LEFT: -1.0, View.RIGHT: 1.0}[view]
    yaw = turn * rng.uniform(0.27, 0.46) if turn else rng.normal(0.0, 0.05)
    return Pose(
        size=size,
        scale=size * rng.uniform(0.355, 0.425),
        centre=(size * (0.5 + rng.normal(0, 0.022)), size * (0.495 + rng.normal(0, 0.018))),
        yaw=float(yaw),
        pitch=float(np.clip(rng.normal(0.0, 0.06), -0.13, 0.13)),
        roll=float(np.clip(rng.normal(0.0, 0.06), -0.15, 0.15)),
    )


def _proportions(female: bool, age: float, rng: np.random.Generator) -> Proportions:
    def vary(mean: float, deviation: float) -> float:
        return float(mean + deviation * np.clip(rng.normal(), -2.2, 2.2))

    return Proportions(
        width=vary(0.92 if female else 0.95, 0.03),
        jaw=vary(0.92 if female else 1.02, 0.05),
        chin=vary(0.98 if female else 1.02, 0.035),
        eye_gap=vary(0.375, 0.014),
        eye_width=vary(0.197, 0.010),
        eye_open=vary(1.10 if female else 0.98, 0.10) - 0.08 * age,
        eye_tilt=vary(0.016 if female else 0.006, 0.014),
        lid_crease=float(np.clip(vary(0.75, 0.45), 0.0, 1.0)),
        brow_height=vary(-0.265 if female else -0.235, 0.022),
        brow_weight=vary(0.8 if female else 1.15, 0.2),
        brow_arch=vary(0.055 if female else 0.03, 0.018),
        nose_width=vary(0.96 if female else 1.06, 0.11),
        nose_length=vary(1.0, 0.05),
        mouth_width=vary(0.305, 0.025),
        mouth_height=vary(0.865, 0.022),
        mouth_curve=vary(0.006, 0.016),
        upper_lip=vary(0.070 if female else 0.056, 0.014),
        lower_lip=vary(0.102 if female else 0.086, 0.015),
        brow_ridge=vary(0.4 if female else 0.9, 0.2),
        cheeks=vary(1.0, 0.3),
        hairline=vary(-0.97, 0.05) - (0.0 if female else 0.07 * age),
    )


def sample_traits(subject: Subject, seed: int, size: int) -> Traits:
    """Sample a person who fits the subject; the same subject and seed give the same person at every size."""
    rng = random_stream(seed, "traits")
    age = AGE[subject.age_band]
    female = subject.sex is Sex.FEMALE
    pose = _pose(subject.view, size, random_stream(seed, "pose"))
    shape = _proportions(female, age, random_stream(seed, "proportions"))
    irises = np.array([4, 3, 1.5, 1, 1.6, 1]) if subject.skin_tone <= 4 else np.array([6, 2, 0.3, 0.1, 0.1, 0.05])
    return Traits(
        pose=pose,
        shape=shape,
        skin=_skin_colour(subject.skin_tone, random_stream(seed, "skin colour")),
        darkness=float(np.interp(subject.skin_tone, (1, 4, 5, 6, 7, 8, 10), (0, 0.1, 0.2, 0.45, 0.6, 0.75, 1))),
        age=age,
        female=female,
        hair=_hair_colour(subject.skin_tone, age, random_stream(seed, "hair colour")),
        iris=linear(np.array(_IRIS_COLOURS[int(rng.choice(6, p=irises / irises.sum()))]) * rng.uniform(0.8, 1.2)),
        clothes=linear(np.array(_CLOTHES[int(rng.integers(len(_CLOTHES)))]) * rng.uniform(0.75, 1.1)),
        ruddiness=float(rng.uniform(0.0, 0.16)),
        flush=float(rng.uniform(0.03, 0.16)),
        unevenness=float(rng.uniform(0.03, 0.08)),
        under_eye=float(rng.uniform(0.03, 0.22)),
        shine=float(rng.beta(1.6, 2.6)),
        light=subject.light,
    )
