"""A dataset in numbers: of each fold, how many pictures of which origin, tone, age, condition and severity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from services.trainer.data import CONDITIONS, originals
from services.trainer.subgroups import KINDS, groups_of
from shared.evaluation import FoldSheet
from shared.manifest import ManifestImage
from shared.taxonomy import Fold, Severity

UNKNOWN, UNGRADED = "unknown", "ungraded"


def datasheet(images: Sequence[ManifestImage]) -> dict[str, FoldSheet]:
    """The numbers of each fold, by its name."""
    return {fold.value: _sheet(originals(images, fold)) for fold in Fold}


def _sheet(images: Sequence[ManifestImage]) -> FoldSheet:
    groups = [groups_of(image) for image in images]
    return FoldSheet(
        images=len(images),
        roots=len({image.root_id for image in images}),
        variants=sum(len(image.variants) for image in images),
        groups={kind: _counts(named.get(kind, UNKNOWN) for named in groups) for kind in KINDS},
        conditions={
            condition: {
                **{severity.label: 0 for severity in Severity},
                **Counter(
                    (severity.label if (severity := image.labels[condition]) is not None else UNGRADED)
                    if condition in image.labels
                    else UNKNOWN
                    for image in images
                    if condition in image.labels or not image.complete
                ),
            }
            for condition in CONDITIONS
        },
    )


def _counts(names: Iterable[str]) -> dict[str, int]:
    """How often each name comes; numbers in their order, not that of their digits."""
    return dict(sorted(Counter(names).items(), key=lambda item: (len(item[0]), item[0])))
