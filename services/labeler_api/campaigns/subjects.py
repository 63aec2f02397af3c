"""Who a slot asks for: subjects spread evenly over skin tone, age, sex, light and view.

A campaign's slots walk through the combinations in steps that share no factor with the number of choices,
so that every condition and severity meets every skin tone before one comes twice. The same slot and
attempt always ask for the same subject; another attempt asks for another one.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from shared.events import Subject
from shared.taxonomy import MONK_TONES, AgeBand, Condition, Light, Sex, View

# Fine lines and sagging do not show on the youngest; acne is asked for at every age, as adults have it too.
_AGES: dict[Condition, tuple[AgeBand, ...]] = {
    Condition.FINE_LINES: (AgeBand.ADULT, AgeBand.MIDDLE_AGED, AgeBand.SENIOR),
    Condition.AGING: (AgeBand.ADULT, AgeBand.MIDDLE_AGED, AgeBand.SENIOR),
}


def subject_of(campaign_id: UUID, condition: Condition, position: int, attempt: int) -> Subject:
    """The subject of the slot at `position` (0, 1, … within its condition) on its `attempt` (1, 2, …)."""
    start = hashlib.sha256(f"{campaign_id}/{condition}".encode()).digest()
    step = position + 7 * (attempt - 1)  # 7 shares no factor with 10 tones or 4 ages: each retry asks for another
    ages = _AGES.get(condition, tuple(AgeBand))
    round_ = step // len(MONK_TONES)
    return Subject(
        skin_tone=MONK_TONES[(start[0] + step) % len(MONK_TONES)],
        age_band=ages[(start[1] + step + round_) % len(ages)],
        sex=tuple(Sex)[(start[2] + step + round_) % len(Sex)],
        light=tuple(Light)[(start[3] + step + step // 4) % len(Light)],
        view=tuple(View)[(start[4] + step + step // 3) % len(View)],
    )
