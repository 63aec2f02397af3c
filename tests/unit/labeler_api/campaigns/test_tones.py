"""Tones: level whatever is there, split over severities, dealt in rounds."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from services.labeler_api.campaigns.tones import NO_TONES, among_first, dealt, filled, spread
from shared.taxonomy import split_over_severities


def some_counts(seed: int) -> tuple[list[list[int]], int]:
    """Images there by severity and tone, and how many are missing: of all sizes, often none."""
    chance = random.Random(seed)
    most = chance.choice((0, 1, 3, 20, 3000))
    have = [[chance.randint(0, most) * (chance.random() < 0.7) for _ in NO_TONES] for _ in range(3)]
    return have, chance.choice((1, 2, 7, 10, 31, 200, 10_000))


@pytest.mark.parametrize("seed", range(200))
def test_tones_end_as_level_as_there_is_room_for(seed: int) -> None:
    rows, missing = some_counts(seed)
    have = [sum(column) for column in zip(*rows, strict=True)]
    got = filled(have, missing, seed)
    assert sum(got) == missing
    after = [there + more for there, more in zip(have, got, strict=True)]
    # A tone that got any has no more than one above the least: where all got some, all are level to within one.
    assert max(level for level, more in zip(after, got, strict=True) if more) - min(after) <= 1


def test_what_level_tones_get_by_hand() -> None:
    assert filled((4, 0, 0, 1, 9, 9, 9, 9, 9, 9), 8, 0) == (0, 3, 3, 2, 0, 0, 0, 0, 0, 0)
    assert filled(NO_TONES, 3, 0) == (1, 0, 0, 1, 0, 0, 1, 0, 0, 0)  # odd ones lie apart on the scale
    assert filled(NO_TONES, 3, 12) == (0, 0, 1, 0, 0, 1, 0, 0, 1, 0)
    assert filled(NO_TONES, 0, 5) == NO_TONES


@pytest.mark.parametrize("seed", range(200))
def test_severities_get_their_shares_and_the_tones_that_they_lack(seed: int) -> None:
    have, missing = some_counts(seed)
    tones = filled([sum(column) for column in zip(*have, strict=True)], missing, 0)
    rows = spread(have, tones)
    assert [*map(sum, rows)] == [*split_over_severities(missing).values()]
    assert tuple(map(sum, zip(*rows, strict=True))) == tones
    assert min(map(min, rows)) >= 0
    # No exchange between two severities would level them further.
    after = [[a + b for a, b in zip(there, new, strict=True)] for there, new in zip(have, rows, strict=True)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        for i in range(10):
            for j in range(10):
                if rows[one][i] and rows[other][j]:
                    assert after[one][i] + after[other][j] - after[one][j] - after[other][i] <= 2


@pytest.mark.parametrize("missing", [10, 134, 520, 100_000])
def test_of_an_empty_condition_every_severity_has_level_tones(missing: int) -> None:
    for row in spread([NO_TONES] * 3, filled(NO_TONES, missing, 0)):
        assert max(row) - min(row) <= 1


@pytest.mark.parametrize("seed", range(30))
def test_slots_are_dealt_in_rounds_from_any_place(seed: int) -> None:
    tones = tuple(random.Random(seed).choices(range(9), k=10))
    whole = list(dealt(tones, 0, sum(tones)))
    assert Counter(place for place, _ in whole) == {place: n for place, n in enumerate(tones) if n}
    assert len(set(whole)) == len(whole)
    assert all(before[1] <= after[1] for before, after in pairwise(whole))
    for first in range(sum(tones) + 1):
        assert list(dealt(tones, first, sum(tones))) == whole[first:]
        assert list(dealt(tones, 0, first)) == whole[:first]
        assert among_first(tones, first) == tuple(
            sum(place == each for place, _ in whole[:first]) for each in range(10)
        )
