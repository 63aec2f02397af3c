"""What an image's verdicts come to, where it needs those of several reviewers: one rule, from the verdicts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.events import Verdict


@dataclass(frozen=True)
class Said:
    """One reviewer's verdict. `labels`: severities from 1 to 3 by condition, None where it is not graded."""

    reviewer: str
    verdict: Verdict
    labels: Mapping[str, int | None]
    reason: str | None = None


class Open(StrEnum):
    """Why there is no decision."""

    AWAITED = "awaited"  # verdicts are still to come
    DISPUTED = "disputed"  # they are there, and differ: another reviewer decides


def decision(verdicts: Sequence[Said], required: int) -> Said | Open:
    """The verdict that an image is held to, or why there is none yet.

    `verdicts`: those that stand, in the order they came. `required`: how many reviewers' verdicts it needs, 1 or more.
    The first so many reviewers are its panel; a reviewer's later verdict replaces the earlier one. A panel that agrees
    decides; where it does not, whoever else reviews the image decides. One is enough: the last verdict decides.
    Rejections agree whatever their reasons and labels, acceptances where their labels are the same.
    """
    panel: dict[str, Said] = {}
    adjudication: Said | None = None
    for said in verdicts:
        if said.reviewer in panel or len(panel) < required:
            panel[said.reviewer] = said
        else:
            adjudication = said
    if required == 1 and verdicts:
        return verdicts[-1]
    if adjudication is not None:
        return adjudication
    if len(panel) < required:
        return Open.AWAITED
    first, *others = panel.values()
    return verdicts[-1] if all(_agree(first, other) for other in others) else Open.DISPUTED


def _agree(one: Said, other: Said) -> bool:
    if one.verdict is not other.verdict:
        return False
    return one.verdict is Verdict.REJECTED or one.labels == other.labels
