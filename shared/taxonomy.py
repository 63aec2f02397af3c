"""The vocabulary of skin: conditions, severities, subjects, folds, and how a missing number is split.

It imports only the standard library, so that every service and every provider can import it.
"""

from __future__ import annotations

import hashlib
import uuid
from enum import IntEnum, StrEnum

from shared.errors import UnknownCondition, UnknownSeverity


class Condition(StrEnum):
    """The seven skin conditions, in the order every table and every model output keeps."""

    ACNE = "acne"
    REDNESS = "redness"
    PORE_SIZE = "pore_size"
    TEXTURED_SKIN = "textured_skin"
    HYPERPIGMENTATION = "hyperpigmentation"
    FINE_LINES = "fine_lines"
    AGING = "aging"


class ClearSkin(StrEnum):
    """Skin that shows no condition, where a target or a slot is about it. It has no severity."""

    CLEAR = "clear"


CLEAR = ClearSkin.CLEAR
Kind = Condition | ClearSkin
"""What images are asked for: those that show a condition, or those that show none."""
KINDS: tuple[Kind, ...] = (*Condition, CLEAR)


class Severity(IntEnum):
    """How strongly a condition shows. 0, absent, is not a member: an absent condition is not named."""

    MILD = 1
    MODERATE = 2
    SEVERE = 3

    @property
    def label(self) -> str:
        """The lower-case name used on the wire, in folders and in URLs."""
        return self.name.lower()


class AgeBand(StrEnum):
    """Age of a subject in years, in bands."""

    YOUNG_ADULT = "18-29"
    ADULT = "30-44"
    MIDDLE_AGED = "45-59"
    SENIOR = "60-75"


class Sex(StrEnum):
    """Sex of a subject as it shows in a picture."""

    FEMALE = "female"
    MALE = "male"


class Light(StrEnum):
    """Lighting of a picture."""

    DAYLIGHT = "daylight"
    INDOOR_WARM = "indoor_warm"
    INDOOR_COOL = "indoor_cool"
    SIDE = "side"


class View(StrEnum):
    """Pose of the head, seen from the camera."""

    FRONTAL = "frontal"
    LEFT = "turned_left"
    RIGHT = "turned_right"


class Fold(StrEnum):
    """Part of the dataset an image belongs to for ever."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


MONK_TONES = tuple(range(1, 11))
"""Steps of the Monk skin tone scale (Ellis Monk, 2023, skintone.google), 1 lightest to 10 darkest."""

MONK_SRGB: dict[int, tuple[int, int, int]] = {
    1: (0xF6, 0xED, 0xE4),
    2: (0xF3, 0xE7, 0xDB),
    3: (0xF7, 0xEA, 0xD0),
    4: (0xEA, 0xDA, 0xBA),
    5: (0xD7, 0xBD, 0x96),
    6: (0xA0, 0x7E, 0x56),
    7: (0x82, 0x5C, 0x43),
    8: (0x60, 0x41, 0x34),
    9: (0x3A, 0x31, 0x2A),
    10: (0x29, 0x24, 0x20),
}
"""Published sRGB swatches of the Monk skin tone scale (https://skintone.google/get-started)."""

_CONDITION_SYNONYMS = {
    "pores": "pore_size",
    "pore": "pore_size",
    "enlarged_pores": "pore_size",
    "texture": "textured_skin",
    "textured": "textured_skin",
    "erythema": "redness",
    "rosacea": "redness",
    "pigmentation": "hyperpigmentation",
    "dark_spots": "hyperpigmentation",
    "melasma": "hyperpigmentation",
    "wrinkles": "fine_lines",
    "fine_line": "fine_lines",
    "ageing": "aging",
}

CLEAR_NAMES = frozenset({"clear", "clear_skin", "healthy", "none"})
"""What people and folders call clear skin, as normal names."""

_SEVERITY_SYNONYMS = {
    "slight": Severity.MILD,
    "light": Severity.MILD,
    "low": Severity.MILD,
    "medium": Severity.MODERATE,
    "strong": Severity.SEVERE,
    "heavy": Severity.SEVERE,
    "high": Severity.SEVERE,
}

TRAIN_SHARE, VALIDATION_SHARE = 0.70, 0.15  # the rest, 0.15, is the test fold

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://evenskin.invalid/ids")


def normal_name(name: str) -> str:
    """A name in the form of the wire: lower case, with underscores for spaces and hyphens."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def parse_condition(name: str) -> Condition:
    """Return the condition a person or folder name means; synonyms are understood.

    Raises UnknownCondition, which names the known ones.
    """
    normal = normal_name(name)
    try:
        return Condition(_CONDITION_SYNONYMS.get(normal, normal))
    except ValueError:
        known = ", ".join(Condition)
        raise UnknownCondition(
            f"'{name}' is not a condition this dataset keeps.", advice=f"Use one of: {known}."
        ) from None


def parse_kind(name: str) -> Kind:
    """Return the condition that a name means, or clear skin; synonyms are understood.

    Raises UnknownCondition, which names the known ones.
    """
    if normal_name(name) in CLEAR_NAMES:
        return CLEAR
    try:
        return parse_condition(name)
    except UnknownCondition as error:
        raise UnknownCondition(error.message, advice=f"{error.advice} Or: {CLEAR}.") from None


def parse_severity(name: str | int) -> Severity:
    """Return the severity that a name (or 1, 2, 3) means; `slight` and the like are understood.

    Raises UnknownSeverity, which names the known ones.
    """
    normal = normal_name(str(name))
    if normal in _SEVERITY_SYNONYMS:
        return _SEVERITY_SYNONYMS[normal]
    for severity in Severity:
        if normal in (severity.label, str(int(severity))):
            return severity
    known = ", ".join(s.label for s in Severity)
    raise UnknownSeverity(f"'{name}' is not a severity.", advice=f"Use one of: {known}.")


def severity_text(condition: Condition, severity: Severity) -> str:
    """The word people are shown: `textured_skin` calls its lowest severity "slight"."""
    if condition is Condition.TEXTURED_SKIN and severity is Severity.MILD:
        return "slight"
    return severity.label


def split_over_severities(missing: int) -> dict[Severity, int]:
    """Split a missing number as evenly as can be, larger shares first: 134 → 45, 45, 44."""
    share, larger = divmod(missing, len(Severity))
    return {severity: share + (index < larger) for index, severity in enumerate(Severity)}


def fold_of(lineage_root: uuid.UUID | str) -> Fold:
    """Return the fold of what descends from this image, unless its import named one. It depends on the id alone."""
    digest = hashlib.sha256(str(lineage_root).encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < TRAIN_SHARE:
        return Fold.TRAIN
    return Fold.VALIDATION if position < TRAIN_SHARE + VALIDATION_SHARE else Fold.TEST


def generated_image_id(slot_id: uuid.UUID, attempt: int) -> uuid.UUID:
    """Id of the image that answers one slot and attempt: the same for every redelivery (UUIDv5)."""
    return uuid.uuid5(slot_id, f"attempt-{attempt}")


def imported_image_id(sha256: str) -> uuid.UUID:
    """Id of an imported image: the same bytes are the same image (UUIDv5 of their SHA-256)."""
    return uuid.uuid5(_NAMESPACE, sha256)


def root_of_group(group: str) -> uuid.UUID:
    """Root of the images that are brought in as one group (UUIDv5 of its name)."""
    return uuid.uuid5(_NAMESPACE, f"group/{group}")


def derived_id(*parts: object) -> uuid.UUID:
    """A stable id for something that follows from `parts`, such as the event a handler causes."""
    return uuid.uuid5(_NAMESPACE, "/".join(str(part) for part in parts))
