"""Finds pictures that are there twice with labels that contradict each other: one of the two is wrong.

What looks the same has one root, so copies of a picture are looked for among images of one root. Their labels may well
differ where the pictures do: a series of severities of one face is one root, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from services.trainer.data import CONDITIONS, UNGRADED, UNKNOWN, pictures_of, severities_of
from services.trainer.pixel_cache import PixelCache
from shared.errors import LabelsContradict
from shared.manifest import ManifestImage
from shared.taxonomy import Condition

SAME_MEAN, SAME_MOST = 1.0, 8  # of 255, mean and largest difference of two copies: a JPEG saved again at high quality
COPIES_SHARE = 0.05  # of a manifest's images may be left out as such copies; two always may
MAX_COMPARED = 50  # images of one root that are compared with each other: 1,225 pairs
_ADVICE = "Correct the labels of one of the two, or reject it, and start a new rebalance."


def contradicted(one: ManifestImage, other: ManifestImage) -> list[Condition]:
    """The conditions of which the labels of two images cannot both be right, if both show the same."""
    return [
        condition
        for condition, a, b in zip(CONDITIONS, severities_of(one), severities_of(other), strict=True)
        if a != b and UNKNOWN not in (a, b) and (0 in (a, b) or UNGRADED not in (a, b))
    ]


def check_labels(images: Iterable[ManifestImage]) -> None:
    """Raise LabelsContradict where the same file is there twice with labels that contradict each other."""
    seen: dict[str, ManifestImage] = {}
    for image in images:
        first = seen.setdefault(image.sha256, image)
        if conditions := contradicted(first, image):
            raise LabelsContradict(
                f"The images {first.image_id} and {image.image_id} are the same file, and are labelled differently: "
                f"{', '.join(conditions)}.",
                advice=_ADVICE,
            )


def contradicting_copies(images: Sequence[ManifestImage], cache: PixelCache) -> dict[str, str]:
    """Why, by SHA-256, images are to be left out that look the same as one of their root with other labels.

    `cache` holds the images. Nobody knows which of two is right, so both are named. Raises LabelsContradict where more
    than two and more than COPIES_SHARE of the images are such copies: so many are no slip.
    """
    roots: defaultdict[str, list[ManifestImage]] = defaultdict(list)
    for image in images:
        roots[str(image.root_id)].append(image)
    found: dict[str, str] = {}
    for members in roots.values():
        pairs = [pair for pair in combinations(members[:MAX_COMPARED], 2) if contradicted(*pair)]
        for one, other in pairs:
            if _look_the_same(one, other, cache):
                for image, twin in ((one, other), (other, one)):
                    found.setdefault(
                        image.sha256, f"It looks the same as image {twin.image_id}, whose labels contradict its own."
                    )
    if len(found) > max(2, int(len(images) * COPIES_SHARE)):
        image = next(image for image in images if image.sha256 in found)
        raise LabelsContradict(
            f"{len(found)} of {len(images)} images look the same as another one with other labels, for example "
            f"image {image.image_id}: {found[image.sha256]}",
            advice=_ADVICE,
        )
    return found


def _look_the_same(one: ManifestImage, other: ManifestImage, cache: PixelCache) -> bool:
    pixels = cache.read(cache.rows([pictures_of(image)[0] for image in (one, other)])).astype(np.int16)
    difference = np.abs(pixels[0] - pixels[1])
    return bool(difference.max() <= SAME_MOST and difference.mean() <= SAME_MEAN)
