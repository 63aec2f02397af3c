"""How long refusals wait: not at all while they are few."""

from __future__ import annotations

import pytest

from services.model_server.refusals import AT_ONCE, MOST_S, PER_S, RefusalPace


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_is_refused_at_once_and_what_follows_waits_its_turn(clock: Clock) -> None:
    pace = RefusalPace(clock)
    assert [pace.wait_s() for _ in range(AT_ONCE)] == [0.0] * AT_ONCE
    assert [pace.wait_s() for _ in range(3)] == pytest.approx([1 / PER_S, 2 / PER_S, 3 / PER_S])


def test_few_a_second_never_wait(clock: Clock) -> None:
    pace = RefusalPace(clock)
    for _ in range(10 * AT_ONCE):
        assert pace.wait_s() == 0.0
        clock.now += 1.01 / PER_S


def test_nobody_waits_longer_than_told_and_a_storm_is_soon_forgotten(clock: Clock) -> None:
    pace = RefusalPace(clock)
    waits = [pace.wait_s() for _ in range(10_000)]
    assert max(waits) == pytest.approx(MOST_S)
    assert waits == sorted(waits)
    clock.now += MOST_S + AT_ONCE / PER_S
    assert pace.wait_s() == 0.0
