"""Splits items into parts by whole roots, each part with about its share of every stratum. Pure rules."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
_Key = TypeVar("_Key", bound=Hashable)


def split(roots: Sequence[_Key], strata: Sequence[Hashable], shares: Sequence[float], seed: int) -> list[Rows]:
    """The items of each part, in their order, at random by seed. `shares`: of the parts, whose sum is 1.

    `roots`, `strata`: of each item. A root of several strata goes where its first one puts it.
    """
    random = np.random.default_rng(seed)
    ends = list(accumulate(shares))[:-1]
    by_stratum: dict[Hashable, dict[_Key, None]] = {}
    for root, stratum in zip(roots, strata, strict=True):
        by_stratum.setdefault(stratum, {})[root] = None
    part_of_root: dict[_Key, int] = {}
    for own in by_stratum.values():
        free = [root for root in own if root not in part_of_root]
        for place, number in enumerate(random.permutation(len(free)).tolist()):
            part_of_root[free[number]] = sum((place + 0.5) / len(free) >= end for end in ends)
    return [
        np.array([item for item, root in enumerate(roots) if part_of_root[root] == part], np.int64)
        for part in range(len(shares))
    ]
