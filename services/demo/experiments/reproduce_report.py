"""The experiment's results in one document and as tables, the seed's own table beside them. Pure: from numbers to text.

The seed seems to have counted how often a classifier that names one condition names the right one: `first choice`
here. Per condition that is the share of its pictures; it does not say how often the condition is seen where it is not,
which accuracy, balanced accuracy and specificity do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.console.text import condition_text, count
from services.demo.experiments.arms import ARMS
from services.demo.experiments.figures import markdown_table, points, spread, spreads
from services.demo.experiments.judging import SCORES

CLAIMED = {
    "acne": ("94.9", "90–92"),
    "redness": ("~50", "90–95"),
    "pore_size": ("93.9", "95+"),
    "textured_skin": ("~70", "85–90"),
    "hyperpigmentation": ("~60", "88–92"),
    "fine_lines": ("~85", "90+"),
    "aging": ("~75", "85–90"),
    "overall": ("85.86", "90–95"),
}
"""Accuracy in percent as the seed of this project has it: measured before balancing, and expected after it."""

CONTRASTS = (
    ("balancing, no class weights", "balanced_plain", "start_plain"),
    ("class weights instead of pictures", "start", "start_plain"),
    ("balanced sampling instead of pictures", "start_sampled", "start_plain"),
    ("balancing, with class weights", "balanced", "start"),
    ("as many pictures in the old proportions", "old_proportions", "start"),
    ("balanced rather than old proportions", "balanced", "old_proportions"),
    ("balanced pictures rather than class weights", "balanced_plain", "start"),
)
"""What is compared on the test fold: the first arm less the second, seed by seed."""

TOLD = ("first_choice", "balanced_accuracy", "auc", "accuracy", "recall", "specificity")
_NAMES = {
    "first_choice": "first choice",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "accuracy": "accuracy",
    "recall": "recall",
    "specificity": "specificity",
}
_TITLES = {arm.name: arm.title for arm in ARMS}


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`arms`: every score's spread over the seeds, on the test fold and on the arm's own; `contrasts`; `leakage`."""
    by_arm: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_arm.setdefault(result["arm"], []).append(result)
    arms = {
        name: {
            "pictures": own[0]["pictures"],
            **{fold: spreads([result[fold] for result in own], SCORES) for fold in ("test", "own")},
        }
        for name, own in by_arm.items()
    }
    contrasts = {
        title: {
            name: spread(
                _difference(first["test"]["overall"][name], second["test"]["overall"][name])
                for first, second in zip(by_arm[better], by_arm[other], strict=True)
            )
            for name in SCORES
        }
        for title, better, other in CONTRASTS
    }
    leakage = {
        name: {
            score: spread(
                _difference(result["own"]["overall"][score], result["test"]["overall"][score]) for result in own
            )
            for score in SCORES
        }
        for name, own in by_arm.items()
    }
    return {"arms": arms, "contrasts": contrasts, "leakage": leakage}


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def markdown(document: Mapping[str, Any]) -> str:
    """The results as a page of tables."""
    conditions, arms = document["conditions"], document["arms"]
    tested = document["results"][0]["test"]["overall"]["n"]
    seeds = document["seeds"]
    start, balanced = (sum(document["sets"][name].values()) for name in ("start", "balanced"))
    head = (
        f"{count(start, 'picture')} unbalanced, {balanced:,} balanced. In percent, mean ± standard deviation over "
        f"{count(seeds, 'seed')}, all on the same {count(tested, 'test picture')}, which no arm was trained on.\n"
    )
    parts = [head, _arms_table(arms), "What changes what, in points, seed by seed:\n", _contrasts_table(document)]
    parts += [
        "What the fold that an arm keeps of its own pictures says beyond the test fold, in points. Where pictures\n"
        "were flipped before the split, that fold holds mirror images of what was trained on:\n",
        _leakage_table(document),
        "By condition, without class weights, beside the seed's own table (measured before, expected after):\n",
        _conditions_table(arms, conditions, ("start_plain", "balanced_plain"), claimed=True),
        "By condition, with class weights, as evenskin trains:\n",
        _conditions_table(arms, conditions, ("start", "balanced"), claimed=False),
    ]
    return "\n".join(parts)


def _arms_table(arms: Mapping[str, Any]) -> str:
    rows = [
        [_TITLES[name], f"{arm['pictures']:,}", *(points(arm["test"]["overall"][score]) for score in TOLD)]
        for name, arm in arms.items()
    ]
    return markdown_table(["trained on", "pictures", *(_NAMES[score] for score in TOLD)], rows)


def _contrasts_table(document: Mapping[str, Any]) -> str:
    rows = [
        [title, *(points(found[score], signed=True) for score in TOLD)]
        for title, found in document["contrasts"].items()
    ]
    return markdown_table(["change", *(_NAMES[score] for score in TOLD)], rows)


def _leakage_table(document: Mapping[str, Any]) -> str:
    told = ("first_choice", "balanced_accuracy")
    rows = [
        [
            _TITLES[name],
            *(points(document["arms"][name]["own"]["overall"][score]) for score in told),
            *(points(document["leakage"][name][score], signed=True) for score in told),
        ]
        for name in ("start", "start_leaking", "balanced", "balanced_leaking")
    ]
    own = [f"own fold's {_NAMES[score]}" for score in told]
    return markdown_table(["trained on", *own, *(f"beyond the test fold's {_NAMES[score]}" for score in told)], rows)


def _conditions_table(
    arms: Mapping[str, Any], conditions: Sequence[str], compared: tuple[str, str], *, claimed: bool
) -> str:
    told = ("first_choice", "balanced_accuracy", "accuracy")
    head = ["condition", *(["seed: before", "expected after"] if claimed else [])]
    head += [f"{_NAMES[score]}, {when}" for score in told for when in ("start", "balanced")]
    rows = []
    for condition in (*conditions, "overall"):
        row = [condition_text(condition), *(CLAIMED[condition] if claimed else ())]
        for score in told:
            for name in compared:
                found = arms[name]["test"]
                row.append(points((found["conditions"].get(condition) or found["overall"])[score]))
        rows.append(row)
    return markdown_table(head, rows)
