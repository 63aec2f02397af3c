"""How far reviewers agree on images that several of them reviewed, beyond what chance alone makes of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from uuid import UUID

from shared.taxonomy import Condition


@dataclass(frozen=True)
class Opinion:
    """One reviewer's verdict on an image, given without knowing another's.

    `severities`: 0 where a condition is absent, else 1 to 3; a condition that is not graded or not known is left out.
    """

    image_id: UUID
    reviewer: str
    accepted: bool
    severities: Mapping[Condition, int]


@dataclass(frozen=True)
class Agreed:
    """How far two or more reviewers agree. `images`: what that is measured on; `kappa`: None where chance alone
    explains everything, as where both always say the same."""

    images: int
    kappa: float | None


@dataclass(frozen=True)
class Pair:
    """How far two reviewers agree on whether an image is good, and on each condition's severity in those that are."""

    reviewers: tuple[str, str]
    verdicts: Agreed
    conditions: Mapping[Condition, Agreed]


def weighted_kappa(answers: Sequence[tuple[int, int]]) -> float | None:
    """Cohen's kappa with quadratic weights of two raters' grades; None where it is not defined.

    Cohen, 1968, Psychological Bulletin 70:213-220. The weights are squared differences, of which the expected sum is
    that over all pairings of the two raters' grades. Of grades 0 and 1 it is the unweighted kappa (Cohen, 1960).
    """
    count = len(answers)
    observed = count * sum((one - other) ** 2 for one, other in answers)
    squares = count * sum(one**2 + other**2 for one, other in answers)
    expected = squares - 2 * sum(one for one, _ in answers) * sum(other for _, other in answers)
    return 1 - observed / expected if expected else None


def pairs_of(opinions: Iterable[Opinion]) -> list[Pair]:
    """How far each two reviewers agree that reviewed the same images, by name. The last of a reviewer's counts."""
    by_image: defaultdict[UUID, dict[str, Opinion]] = defaultdict(dict)
    for opinion in opinions:
        by_image[opinion.image_id][opinion.reviewer] = opinion
    shared: defaultdict[tuple[str, str], list[tuple[Opinion, Opinion]]] = defaultdict(list)
    for reviewed in by_image.values():
        for one, other in combinations(sorted(reviewed), 2):
            shared[one, other].append((reviewed[one], reviewed[other]))
    return [_pair(reviewers, both) for reviewers, both in sorted(shared.items())]


def _pair(reviewers: tuple[str, str], both: Sequence[tuple[Opinion, Opinion]]) -> Pair:
    verdicts = [(int(one.accepted), int(other.accepted)) for one, other in both]
    graded: dict[Condition, Agreed] = {}
    for condition in Condition:
        answers = [
            (one.severities[condition], other.severities[condition])
            for one, other in both
            if one.accepted and other.accepted and condition in one.severities and condition in other.severities
        ]
        graded[condition] = Agreed(len(answers), weighted_kappa(answers))
    return Pair(reviewers, Agreed(len(both), weighted_kappa(verdicts)), graded)


def overall(pairs: Sequence[Agreed]) -> Agreed:
    """The agreement of all reviewers: the mean of every pair's kappa (Light, 1971, Psychological Bulletin 76:365-377).

    An image that three reviewed is one of three pairs' images.
    """
    defined = [pair.kappa for pair in pairs if pair.kappa is not None]
    return Agreed(sum(pair.images for pair in pairs), fmean(defined) if defined else None)
