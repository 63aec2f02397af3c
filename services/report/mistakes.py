"""The worst errors: answers that are wrong, and surest of it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.evaluation import Evaluation, Judged
from shared.taxonomy import Condition

MOST = 24  # pictures of the report: some 300 KB
_NOT_KNOWN = -2  # of a label


@dataclass(frozen=True)
class Mistake:
    """One wrong answer. `shown`: what the label says, `probability`: what the model said of presence.

    `margin`: how far beyond the threshold it is, as a share of the way to certainty; 1 is certain, and wrong.
    """

    picture: Judged
    condition: Condition
    shown: bool
    probability: float
    threshold: float
    margin: float


def worst_mistakes(evaluation: Evaluation, most: int = MOST) -> list[Mistake]:
    """The wrong answers with the largest margins, the worst first, each picture once."""
    found = []
    for picture in evaluation.pictures:
        for position, (condition, each) in enumerate(evaluation.conditions.items()):
            label = picture.labels[position]
            probability = 1 - picture.probabilities[position][0]
            seen = probability >= each.threshold
            if label == _NOT_KNOWN or seen == (label != 0):
                continue
            beyond = (
                (probability - each.threshold) / max(1e-9, 1 - each.threshold)
                if seen
                else (each.threshold - probability) / max(1e-9, each.threshold)
            )
            found.append(Mistake(picture, condition, label != 0, probability, each.threshold, beyond))
    found.sort(key=lambda mistake: (-mistake.margin, mistake.picture.image_id))
    first: dict[str, Mistake] = {}
    for mistake in found:
        first.setdefault(mistake.picture.image_id, mistake)
    return list(first.values())[:most]
