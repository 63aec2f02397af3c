"""Where a campaign is heading: pace, time left, projected cost."""

from __future__ import annotations

import pytest

from services.labeler_api.campaigns.outlook import PACE_S, images_per_minute, projected_cost, remaining_s


@pytest.mark.parametrize(
    ("counted", "age_s", "pace"),
    [
        (10, PACE_S, 2.0),
        (10, 10 * PACE_S, 2.0),  # only what came lately counts
        (10, 60.0, 10.0),  # a young campaign is measured over its own time
        (3, 0.0, 180.0),
        (0, 100.0, 0.0),
        (3, -5.0, 180.0),  # started by a clock that is ahead
    ],
)
def test_the_pace_is_that_of_the_last_minutes(counted: int, age_s: float, pace: float) -> None:
    assert images_per_minute(counted, age_s) == pytest.approx(pace)


def test_the_time_left_is_what_is_missing_at_that_pace() -> None:
    assert remaining_s(30, 2.0) == pytest.approx(900.0)
    assert remaining_s(0, 2.0) == 0.0
    assert remaining_s(30, 0.0) is None


@pytest.mark.parametrize(
    ("spent", "counted", "missing", "committed", "worst", "projected"),
    [
        (0, 0, 10, 400, 1200, 400),  # nothing is known yet beyond what was asked for
        (300, 5, 5, 500, 1200, 600),  # half of it took 300
        (300, 5, 5, 700, 1200, 700),  # more is asked for already
        (900, 1, 9, 900, 1200, 1200),  # no more than it can cost
        (400, 10, 0, 400, 1200, 400),
    ],
)
def test_the_projection_goes_on_at_the_cost_of_what_is_counted(
    spent: int, counted: int, missing: int, committed: int, worst: int, projected: int
) -> None:
    found = projected_cost(spent=spent, counted=counted, missing=missing, committed=committed, worst=worst)
    assert found == projected
