"""Money in millionths of a dollar: sums, budgets, and what an attempt's cost changes."""

from __future__ import annotations

import pytest

from services.labeler_api.campaigns.prices import (
    budget_micro_usd,
    commitment_change,
    first_cost,
    fits_budget,
    micro_usd,
    usd,
    worst_cost,
)


@pytest.mark.parametrize(
    ("amount", "micro"), [(0.0, 0), (0.03, 30_000), (0.0000015, 2), (1.1, 1_100_000), (0.1 + 0.2, 300_000)]
)
def test_dollars_are_counted_in_whole_millionths(amount: float, micro: int) -> None:
    assert micro_usd(amount) == micro


def test_millionths_are_told_in_dollars() -> None:
    assert usd(30_000) == 0.03
    assert usd(15_600_000) == 15.6


@pytest.mark.parametrize(
    ("given", "budget"),
    [(None, None), (0.0, 0), (0.5, 500_000), (1e12, 10**18), (1e300, 10**18), (float("inf"), 10**18)],
)
def test_a_budget_is_bounded_and_none_is_no_limit(given: float | None, budget: int | None) -> None:
    assert budget_micro_usd(given) == budget


def test_the_worst_cost_is_every_attempt_or_the_budget() -> None:
    assert first_cost(520, 30_000) == 15_600_000
    assert worst_cost(520, 30_000, 3, None) == 46_800_000
    assert worst_cost(520, 30_000, 3, 20_000_000) == 20_000_000
    assert worst_cost(520, 30_000, 3, 90_000_000) == 46_800_000


@pytest.mark.parametrize(("cost", "budget", "fits"), [(1, None, True), (5, 5, True), (6, 5, False), (0, 0, True)])
def test_a_budget_is_spent_to_its_last_millionth_and_no_further(cost: int, budget: int | None, fits: bool) -> None:
    assert fits_budget(cost, budget) is fits


def test_a_price_that_was_committed_gives_way_to_the_cost() -> None:
    assert commitment_change(30_000, 30_000, committed=True) == 0
    assert commitment_change(45_000, 30_000, committed=True) == 15_000
    assert commitment_change(0, 30_000, committed=True) == -30_000
    assert commitment_change(45_000, 30_000, committed=False) == 45_000
