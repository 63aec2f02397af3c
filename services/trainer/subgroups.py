"""How well a model does for each kind of people and origin of pictures, and how far apart its groups are.

A group's figures are of all conditions' answers together: of recall, the labels that are present are the trials; of the
false-positive rate, those that are absent. Of a single condition most groups have too few.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from services.trainer.comparison import MIN_ROOTS
from services.trainer.data import Severities, presence
from services.trainer.measures import Flags, Numbers, draws, interval
from shared.evaluation import ENOUGH_ROOTS, GAP_ALARM, Gap, Group
from shared.manifest import ManifestImage

IMPORTED, GENERATED = "imported", "generated"
KINDS = ("tone_band", "tone", "age_band", "sex", "origin")
COARSE = ("tone_band", "age_band", "sex", "origin")
"""The kinds that have an alarm and a say in the gate: single steps of tone are too few pictures."""
_BANDS = ((1, 3), (4, 6), (7, 10))  # light, medium and dark steps of the Monk scale
_CELLS = 5_000_000  # of each group's bootstrap
_VALUES = ("balanced_accuracy", "recall", "false_positive_rate")


def groups_of(image: ManifestImage) -> dict[str, str]:
    """The group of each kind that is known of an image, by the kind."""
    found = {"origin": IMPORTED if image.provider is None else GENERATED}
    if image.skin_tone is not None:
        found["tone"] = str(image.skin_tone)
        found["tone_band"] = next(f"{low}-{high}" for low, high in _BANDS if low <= image.skin_tone <= high)
    if image.age_band is not None:
        found["age_band"] = image.age_band.value
    if image.sex is not None:
        found["sex"] = image.sex.value
    return found


def measure_groups(
    severity: Severities, answers: Flags, roots: Sequence[str], groups: Sequence[dict[str, str]]
) -> list[Group]:
    """The figures of every group, in the order of KINDS and then of their names.

    `severity`, `answers` (N, 7): labels, and whether the model sees each condition; `roots`, `groups` (N): of each
    image.
    """
    present, known = presence(severity)
    shown, absent = known & present, known & ~present
    counted = (shown & answers, shown, absent & answers, absent)
    cells = np.stack([flags.sum(1) for flags in counted], 1).astype(np.float64)
    showing = {roots[number] for number in np.flatnonzero(shown.any(axis=1)).tolist()}
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, named in enumerate(groups):
        for kind, name in named.items():
            members[kind, name].append(number)
    order = sorted(members, key=lambda key: (KINDS.index(key[0]), int(key[1]) if key[0] == "tone" else 0, key[1]))
    return [
        _group(
            *key,
            cells[members[key]],
            [roots[number] for number in members[key]],
            showing,
        )
        for key in order
    ]


def _group(kind: str, name: str, cells: Numbers, roots: list[str], showing: set[str]) -> Group:
    count, showing_count = len(set(roots)), len(showing.intersection(roots))
    value = _values(np.ones((1, len(cells))), cells)
    resampled = np.concatenate([_values(weights, cells) for weights in draws(roots, _CELLS)])
    values, intervals = {}, {}
    for column, measure in enumerate(_VALUES):
        estimate = float(value[0, column])
        is_defined = np.isfinite(estimate)
        bounds = interval(estimate, resampled[:, column], count) if is_defined else None
        values[measure] = estimate if is_defined else None
        intervals[measure] = None if bounds is None else (bounds[0], bounds[1])
    enough = count >= ENOUGH_ROOTS and showing_count >= MIN_ROOTS and values["balanced_accuracy"] is not None
    return Group(
        kind=kind, name=name, images=len(cells), roots=count, enough=enough, values=values, intervals=intervals
    )


def _values(weights: Numbers, cells: Numbers) -> Numbers:
    """(R, 3): the measures of _VALUES for each weighting (R, n) of the group's images; NaN where not defined."""
    found, present, seen, absent = np.moveaxis(weights @ cells, -1, 0)
    recall, false_positives = (
        np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
        for part, whole in ((found, present), (seen, absent))
    )
    return np.stack([(recall + 1 - false_positives) / 2, recall, false_positives], -1)


def gaps_of(groups: Sequence[Group]) -> list[Gap]:
    """The gap of each coarse kind of which two groups have enough roots."""
    found = []
    for kind in COARSE:
        ranked = sorted(
            (value, group.name)
            for group in groups
            if group.kind == kind and group.enough and (value := group.values["balanced_accuracy"]) is not None
        )
        if len(ranked) > 1:
            (low, worst), (high, best) = ranked[0], ranked[-1]
            found.append(Gap(kind=kind, best=best, worst=worst, gap=high - low, alarm=high - low > GAP_ALARM))
    return found
