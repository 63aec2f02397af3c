"""The gate: a model goes live only if it is not worse than the live one on the same test fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GATE_METRIC = "balanced_accuracy"  # its mean over conditions: each condition counts the same, however rare
GATE_FOLD = "balanced_test"


@dataclass(frozen=True)
class Decision:
    """How the gate decided, and why in one sentence."""

    promoted: bool
    reason: str


def decide(candidate: dict[str, Any], live: dict[str, Any] | None) -> Decision:
    """Compare two models' metrics on the same fold. With no live model the candidate is promoted."""
    if live is None:
        return Decision(True, "No model was live.")
    new, old = candidate["overall"][GATE_METRIC], live["overall"][GATE_METRIC]
    if old is None:
        return Decision(True, "The live model could not be measured on this test fold.")
    if new is None:
        return Decision(False, "The candidate could not be measured on this test fold.")
    reason = f"Macro balanced accuracy {new:.4f}, live {old:.4f}, on the same balanced test fold."
    return Decision(new >= old, reason)
