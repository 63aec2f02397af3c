"""Who a slot asks for: its tone as planned, its age, sex, light and view spread evenly over those of its condition.

All of a condition's slots are numbered, tone by tone, and each trait walks through its choices at a pace of its own: so
every tone meets every age equally often, to within one, and no trait goes with another. The same slot always asks for
the same subject; another attempt asks for another one of the same tone and age, so that a rejection unbalances neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeVar
from uuid import UUID

from services.labeler_api.campaigns.plan import Quota
from services.labeler_api.campaigns.tones import dealt
from shared.events import Subject
from shared.taxonomy import MONK_TONES, AgeBand, Condition, Kind, Light, Severity, Sex, View

_Choice = TypeVar("_Choice")

# Fine lines and sagging do not show on the youngest; acne is asked for at every age, as adults have it too.
_AGES: dict[Kind, tuple[AgeBand, ...]] = {
    Condition.FINE_LINES: (AgeBand.ADULT, AgeBand.MIDDLE_AGED, AgeBand.SENIOR),
    Condition.AGING: (AgeBand.ADULT, AgeBand.MIDDLE_AGED, AgeBand.SENIOR),
}


def subjects_between(
    campaign_id: UUID, quotas: Sequence[Quota], first: int, end: int
) -> Iterator[tuple[Kind, Severity | None, Subject]]:
    """What the slots from position `first` up to, and without, `end` ask for, in their order."""
    begin = 0
    for quota in quotas:
        if begin < end and first < begin + quota.count:
            own = [each.tones for each in quotas if each.condition == quota.condition]
            totals = [sum(tones) for tones in zip(*own, strict=True)]
            earlier = own[: [each for each in quotas if each.condition == quota.condition].index(quota)]
            before = [sum(totals[:place]) + sum(tones[place] for tones in earlier) for place in range(len(totals))]
            for place, round_ in dealt(quota.tones, max(first - begin, 0), min(end - begin, quota.count)):
                subject = _subject(campaign_id, quota.condition, place, before[place] + round_)
                yield quota.condition, quota.severity, subject
        begin += quota.count


def _subject(campaign_id: UUID, condition: Kind, place: int, number: int) -> Subject:
    """The subject of a condition's slot with this number (0, 1, …), whose tone has this place in the scale."""
    start = hashlib.sha256(f"{campaign_id}/{condition}".encode()).digest()
    ages = _AGES.get(condition, tuple(AgeBand))
    step, lap = number % 4, number // 4
    return Subject(
        skin_tone=MONK_TONES[place],
        age_band=ages[(start[0] + number) % len(ages)],
        # Of four laps of four, each light has both sexes equally often, and each place in a lap has each light.
        sex=tuple(Sex)[(start[1] + (step // 2 ^ lap % 2)) % len(Sex)],
        light=tuple(Light)[(start[2] + step + lap) % len(Light)],
        view=tuple(View)[(start[3] + number + number // len(View)) % len(View)],
    )


def another(subject: Subject) -> Subject:
    """Who is asked for in a subject's stead: of the same tone and age, in all else another one."""
    return subject.model_copy(
        update={
            "sex": _next(tuple(Sex), subject.sex),
            "light": _next(tuple(Light), subject.light),
            "view": _next(tuple(View), subject.view),
        }
    )


def _next(choices: tuple[_Choice, ...], chosen: _Choice) -> _Choice:
    return choices[(choices.index(chosen) + 1) % len(choices)]
