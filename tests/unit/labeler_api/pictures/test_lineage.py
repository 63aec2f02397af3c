"""Root and fold of an image that is brought in, by its group and by what looks the same."""

from __future__ import annotations

from itertools import permutations
from uuid import UUID, uuid5

import pytest

from services.labeler_api.pictures.lineage import Twin, lineage_of
from shared.taxonomy import Fold, fold_of, root_of_group

SPACE = UUID(int=7)
IMAGE = uuid5(SPACE, "image")


def root_in(fold: Fold, start: int = 0) -> UUID:
    """A root whose fold it is."""
    return next(root for n in range(start, start + 1000) if fold_of(root := uuid5(SPACE, str(n))) is fold)


def twin(fold: Fold, start: int = 0, *, stands: bool = True) -> Twin:
    """A twin that is its own root."""
    root = root_in(fold, start)
    return Twin(root, root, fold, stands)


GROUPS = {fold: next(f"g{n}" for n in range(1000) if fold_of(root_of_group(f"g{n}")) is fold) for fold in Fold}


def test_an_image_that_is_alone_is_its_own_root() -> None:
    lineage = lineage_of(IMAGE, None, [])
    assert (lineage.root_id, lineage.fold) == (IMAGE, fold_of(IMAGE))
    assert (lineage.near_duplicate_of, lineage.conflict) == (None, None)


@pytest.mark.parametrize("fold", Fold)
def test_a_twin_gives_its_root_and_fold(fold: Fold) -> None:
    first, second = twin(fold), twin(fold, 1000)
    lineage = lineage_of(IMAGE, None, [first, second])
    assert (lineage.root_id, lineage.fold, lineage.near_duplicate_of) == (first.root_id, fold, first.id)
    assert lineage.conflict is None


def test_a_rejected_twin_gives_its_root_too_and_one_that_stands_is_named() -> None:
    gone, there = twin(Fold.TEST, stands=False), twin(Fold.TEST, 1000)
    assert lineage_of(IMAGE, None, [gone]).root_id == gone.root_id
    lineage = lineage_of(IMAGE, None, [gone, there])
    assert (lineage.root_id, lineage.near_duplicate_of) == (gone.root_id, there.id)
    assert lineage_of(IMAGE, None, [twin(Fold.TRAIN), gone]).conflict is not None  # it may be accepted yet


@pytest.mark.parametrize("folds", list(permutations(Fold, 2)))
def test_twins_of_two_folds_keep_it_out_of_both(folds: tuple[Fold, Fold]) -> None:
    twins = [twin(fold) for fold in folds]
    lineage = lineage_of(IMAGE, None, twins)
    assert (lineage.root_id, lineage.fold, lineage.near_duplicate_of) == (IMAGE, Fold.TRAIN, twins[0].id)
    assert lineage.conflict is not None
    assert all(f"{twin.id} ({twin.fold})" in lineage.conflict for twin in twins)


@pytest.mark.parametrize("fold", Fold)
def test_a_group_gives_its_root(fold: Fold) -> None:
    group = GROUPS[fold]
    for twins in ([], [twin(fold)]):
        lineage = lineage_of(IMAGE, group, twins)
        assert (lineage.root_id, lineage.fold, lineage.conflict) == (root_of_group(group), fold, None)
        assert lineage.near_duplicate_of == (twins[0].id if twins else None)
    for other in set(Fold) - {fold}:
        lineage = lineage_of(IMAGE, group, [twin(other)])
        assert (lineage.root_id, lineage.fold) == (IMAGE, Fold.TRAIN)
        assert f"its group ({fold})" in str(lineage.conflict)


@pytest.mark.parametrize("fold", Fold)
def test_a_wished_fold_is_that_of_a_new_root_only(fold: Fold) -> None:
    alone = lineage_of(IMAGE, None, [], fold)
    assert (alone.root_id, alone.fold) == (IMAGE, fold)
    for group in GROUPS.values():
        assert lineage_of(IMAGE, group, [], fold) == lineage_of(IMAGE, group, [])
    for twins in ([twin(Fold.TRAIN)], [twin(Fold.TEST)], [twin(Fold.TRAIN), twin(Fold.TEST)]):
        assert lineage_of(IMAGE, None, twins, fold) == lineage_of(IMAGE, None, twins)
