"""What images cost. Money is counted in millionths of a US dollar, so that sums are exact. Pure."""

from __future__ import annotations

MICRO = 1_000_000  # millionths in a dollar
MAX_BUDGET_USD = 1e12  # a budget above this is no limit: no campaign can cost as much


def micro_usd(amount_usd: float) -> int:
    """Dollars in whole millionths, rounded to the nearest."""
    return round(amount_usd * MICRO)


def usd(amount_micro_usd: int) -> float:
    """Millionths in dollars."""
    return amount_micro_usd / MICRO


def budget_micro_usd(max_cost_usd: float | None) -> int | None:
    """A budget in millionths, at most MAX_BUDGET_USD; None is no limit."""
    return None if max_cost_usd is None else micro_usd(min(max_cost_usd, MAX_BUDGET_USD))


def first_cost(images: int, price_micro_usd: int) -> int:
    """What images cost if the first attempt of each is accepted."""
    return images * price_micro_usd


def worst_cost(images: int, price_micro_usd: int, max_attempts: int, budget: int | None) -> int:
    """What images cost if every attempt is used up; or the budget, beyond which no attempt is asked for."""
    worst = first_cost(images, price_micro_usd) * max_attempts
    return worst if budget is None else min(worst, budget)


def fits_budget(cost_micro_usd: int, budget: int | None) -> bool:
    """Whether a cost is within a budget; None is no limit."""
    return budget is None or cost_micro_usd <= budget


def commitment_change(cost_micro_usd: int, price_micro_usd: int, *, committed: bool) -> int:
    """What to add to a campaign's commitment once an attempt's cost is known.

    `committed`: the attempt's price was committed when it was asked for, and gives way to the cost.
    """
    return cost_micro_usd - (price_micro_usd if committed else 0)
