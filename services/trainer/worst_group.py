"""The gate's other half: a model goes live only if the people it does worst for are not worse off than before.

The worst groups of both models, each the worst of its own, are compared in balanced accuracy on the same test pictures
(worst-group accuracy: Sagawa et al., 2020, https://arxiv.org/abs/1911.08731). It is the figure itself that decides, not
a bound: a group is small, and its bound would never let a model pass.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.trainer.gate import MARGIN, Decision, Verdict
from services.trainer.subgroups import COARSE
from shared.evaluation import Group


def with_worst_group(decision: Decision, candidate: Sequence[Group], live: Sequence[Group]) -> Decision:
    """The decision, unless it promotes a model whose worst group is worse than the live one's by more than MARGIN.

    `candidate`, `live`: the groups of the two models on the same pictures; none of the latter: no model is live. Only
    groups with enough roots, and of coarse kinds, count.
    """
    new, old = worst_of(candidate), worst_of(live)
    if not decision.promoted or new is None or old is None:
        return decision
    (value, group), (before, group_before) = new, old
    measured = (
        f"{decision.reason} Worst group: {_named(group)} with {100 * value:.1f}% balanced accuracy, the live model's "
        f"is {_named(group_before)} with {100 * before:.1f}%."
    )
    if value < before - MARGIN:
        return Decision(
            Verdict.WORST_GROUP,
            f"{measured} That is worse by more than {100 * MARGIN:.0f} points: the live model stays.",
        )
    return Decision(decision.verdict, measured)


def worst_of(groups: Sequence[Group]) -> tuple[float, Group] | None:
    """The lowest balanced accuracy of a group that counts, and the group; None where none counts."""
    counted = [
        (value, group)
        for group in groups
        if group.enough and group.kind in COARSE and (value := group.values["balanced_accuracy"]) is not None
    ]
    return min(counted, key=lambda pair: pair[0], default=None)


def _named(group: Group) -> str:
    return f"{group.kind.replace('_', ' ')} {group.name}"
