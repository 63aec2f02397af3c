"""Skin tones are planned, not drawn by lot: each condition gets most of what it has least of. Pure.

Counts are sequences of ten numbers, of the steps of the Monk scale from 1, lightest, to 10, darkest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

from shared.taxonomy import MONK_TONES

Tones = tuple[int, ...]

NO_TONES: Tones = (0,) * len(MONK_TONES)
_STRIDE = 3  # of the odd ones out: it shares no factor with ten, so that they lie apart on the scale


def filled(have: Sequence[int], count: int, first: int) -> Tones:
    """How many of `count` images each tone gets, so that all have as many as can be, to within one where there is room.

    `have`: images that are there. `first`: the place in the scale from which odd ones are dealt.
    """
    least = min(have)
    levels = range(least, least + count + 1)
    level = levels[bisect_right(levels, count, key=lambda level: _missing(have, level)) - 1]
    got = [max(0, level - there) for there in have]
    places = ((first + _STRIDE * step) % len(have) for step in range(len(have)))
    for place in [place for place in places if have[place] <= level][: count - sum(got)]:
        got[place] += 1
    return tuple(got)


def _missing(have: Sequence[int], level: int) -> int:
    return sum(max(0, level - there) for there in have)


def spread(have: Sequence[Sequence[int]], tones: Sequence[int]) -> tuple[Tones, ...]:
    """Split a condition's new images of each tone over its severities, whose shares are as even as can be.

    `have`: for each severity, in the order in which larger shares come first, the images that are there. Within what
    `tones` leaves open, a severity gets most of the tones that it has least of.
    """
    rows: list[list[int]] = []
    for row in range(len(have)):
        begin, dealt = 0, list[int]()
        for count in tones:  # dealt in turn, tone by tone
            dealt.append(_turns(begin + count, row, len(have)) - _turns(begin, row, len(have)))
            begin += count
        rows.append(dealt)
    while any([_exchange(have, rows, one, other) for one, other in combinations(range(len(have)), 2)]):
        pass
    return tuple(map(tuple, rows))


def _turns(dealt: int, row: int, rows: int) -> int:
    """How often a row's turn has come once so many are dealt."""
    return (dealt - row + rows - 1) // rows


def _exchange(have: Sequence[Sequence[int]], rows: list[list[int]], one: int, other: int) -> bool:
    """Let two severities exchange tones where that levels them: where the sum of squares falls. Whether one did."""
    a, b = rows[one], rows[other]
    exchanged = False
    for i, j in permutations(range(len(a)), 2):
        excess = have[one][i] + a[i] + have[other][j] + b[j] - have[one][j] - a[j] - have[other][i] - b[i]
        moved = min((excess + 1) // 4, a[i], b[j])
        if moved > 0:
            a[i], a[j], b[i], b[j] = a[i] - moved, a[j] + moved, b[i] + moved, b[j] - moved
            exchanged = True
    return exchanged


def dealt(tones: Sequence[int], first: int, end: int) -> Iterator[tuple[int, int]]:
    """The tones of slots `first` up to, and without, `end`, as places in the scale, each with its round.

    In every round each tone that still lacks some comes once: wherever a campaign stops, its tones are level.
    """
    round_ = _round(tones, first)
    at = _in_rounds(tones, round_)
    while at < end:
        for place, count in enumerate(tones):
            if count > round_:
                if first <= at < end:
                    yield place, round_
                at += 1
        round_ += 1


def among_first(tones: Sequence[int], slots: int) -> Tones:
    """How many of each tone the first so many slots are for."""
    round_ = _round(tones, slots)
    begun = {place for place, _ in dealt(tones, _in_rounds(tones, round_), slots)}
    return tuple(min(count, round_) + (place in begun) for place, count in enumerate(tones))


def _round(tones: Sequence[int], slots: int) -> int:
    """How many rounds are over once so many slots are dealt."""
    rounds = range(max(tones) + 1)
    return bisect_right(rounds, slots, key=lambda round_: _in_rounds(tones, round_)) - 1


def _in_rounds(tones: Sequence[int], rounds: int) -> int:
    return sum(min(count, rounds) for count in tones)
