"""Where an image descends from: its root and its fold (invariant 4). Pure rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from shared.taxonomy import Fold, fold_of, root_of_group


@dataclass(frozen=True)
class Twin:
    """An image that looks the same as another one. `stands`: it is in the dataset, or waits for a review."""

    id: UUID
    root_id: UUID
    fold: Fold
    stands: bool


@dataclass(frozen=True)
class Lineage:
    """An image's root and fold. `conflict`: why it is kept out of the dataset; None where it is not."""

    root_id: UUID
    fold: Fold
    near_duplicate_of: UUID | None = None
    conflict: str | None = None


def lineage_of(image_id: UUID, group: str | None, twins: Sequence[Twin], wished: Fold | None = None) -> Lineage:
    """The lineage of an image that is brought in. `twins`: what looks the same, the oldest first.

    `wished`: the fold of an image that is a root itself; without it, or in a group, the fold follows from the root.

    Its root is its group's, else its oldest twin's, else itself. Where these are in different folds, it fits none: one
    of the folds is not train, so that training on it would be training on what a model is chosen or judged by. It is
    kept out of the dataset, and a person who accepts it all the same has it in train: never in validation or test.
    """
    group_root = None if group is None else root_of_group(group)
    if not twins:
        if group_root is None:
            return Lineage(image_id, wished or fold_of(image_id))
        return Lineage(group_root, fold_of(group_root))
    twin = next((twin for twin in twins if twin.stands), twins[0])
    folds = {found.fold: f"{found.id} ({found.fold})" for found in reversed(twins)}
    if group_root is not None:
        folds.setdefault(fold_of(group_root), f"its group ({fold_of(group_root)})")
    if len(folds) > 1:
        # In the order of folds: which image is named first must not depend on who came first.
        alike = " and ".join(folds[fold] for fold in Fold if fold in folds)
        return Lineage(image_id, Fold.TRAIN, twin.id, f"two_folds: it belongs to {alike}, and may be in one fold only")
    return Lineage(group_root or twins[0].root_id, twins[0].fold, twin.id)
