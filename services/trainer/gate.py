"""The gate: a model goes live only if it is shown to be not worse than the live one, on the same test images.

"Not worse" is the non-inferiority of trials (Piaggio et al., 2012, JAMA 308:2594-2604): the difference is above minus
MARGIN but for a chance of 5%. So a model that is worse by MARGIN or more goes live in at most 5% of cases, whatever the
size of the fold; one that is as good or better is called worse in at most 5%.

Between the two the evidence is too thin, and the live model stays: it is known from service, a swap would rest on
chance, and the next, larger dataset decides again. A person may promote all the same. The first model goes live as it
is: where nothing is served, any model that passed the parity check is better.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.trainer.comparison import MIN_ROOTS, Difference

GATE_FOLD = "test"
MARGIN = 0.05  # of mean balanced accuracy: about what 25 test images of each condition can tell apart


class Verdict(StrEnum):
    """How the gate decided."""

    FIRST = "first"
    NOT_WORSE = "not_worse"
    WORSE = "worse"
    UNDECIDED = "undecided"
    WORST_GROUP = "worst_group"  # `worst_group.py`


@dataclass(frozen=True)
class Decision:
    """How the gate decided, and why in sentences."""

    verdict: Verdict
    reason: str

    @property
    def promoted(self) -> bool:
        """Whether the model goes live."""
        return self.verdict in (Verdict.FIRST, Verdict.NOT_WORSE)


def decide(difference: Difference | None) -> Decision:
    """Decide on a model by its difference from the live one; None: no model is live, or none that can be opened."""
    if difference is None:
        return Decision(Verdict.FIRST, "No model was live, or none that could be opened.")
    if difference.difference is None or difference.lower is None or difference.upper is None:
        return Decision(
            Verdict.UNDECIDED,
            f"The evidence is too thin: no condition has {MIN_ROOTS} independent test images that show it and as many "
            "that do not. The live model stays.",
        )
    measured = (
        f"Mean balanced accuracy {_points(difference.difference)} points from the live model's, between "
        f"{_points(difference.lower)} and {_points(difference.upper)} (90% interval), on the same {difference.images} "
        f"test images, over {len(difference.conditions)} conditions."
    )
    if difference.left_out:
        measured += f" Too few test images for {', '.join(difference.left_out)}."
    if difference.upper < 0:
        return Decision(Verdict.WORSE, f"{measured} It is worse.")
    if difference.lower > -MARGIN:
        return Decision(Verdict.NOT_WORSE, f"{measured} It is not worse.")
    return Decision(
        Verdict.UNDECIDED,
        f"{measured} The evidence is too thin: it may be worse by more than {100 * MARGIN:.0f} points. The live model "
        "stays.",
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
