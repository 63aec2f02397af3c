"""Where a campaign is heading: its pace, the time that is left, and what it will have cost. Pure."""

from __future__ import annotations

PACE_S = 300.0  # seconds that the pace is measured over: several answers of a slow provider, and soon true again


def images_per_minute(counted_lately: int, age_s: float) -> float:
    """The pace, from the images that were counted in the last PACE_S seconds of a campaign this many seconds old."""
    return 60 * counted_lately / max(1.0, min(PACE_S, age_s))


def remaining_s(missing: int, pace: float) -> float | None:
    """Seconds until nothing is missing, at a pace in images a minute; None where nothing comes."""
    return 60 * missing / pace if pace > 0 else None


def projected_cost(*, spent: int, counted: int, missing: int, committed: int, worst: int) -> int:
    """What a campaign will have cost, in millionths of a US dollar as all its sums are.

    That is what a counted image has cost so far, lost attempts included, for those still missing as well; never less
    than what is committed, nor more than the worst cost.
    """
    at_this_rate = round(spent * (counted + missing) / counted) if counted else committed
    return min(worst, max(committed, at_this_rate))
