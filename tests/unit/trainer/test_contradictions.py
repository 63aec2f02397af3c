"""The same picture twice with labels that cannot both be right, as one file and as two that look the same."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from services.trainer import worker
from services.trainer.contradictions import check_labels, contradicted
from shared.errors import LabelsContradict
from shared.manifest import ManifestImage
from shared.taxonomy import Condition, Fold, Severity
from tests.unit.trainer.squares import TINY, Dataset

ACNE, REDNESS = Condition.ACNE, Condition.REDNESS
MILD, SEVERE = Severity.MILD, Severity.SEVERE


def labelled(labels: dict[Condition, Severity | None], *, complete: bool = True) -> ManifestImage:
    return Dataset([], {}).add(labels, seed=1, complete=complete)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({ACNE: MILD}, {ACNE: MILD}, []),
        ({ACNE: MILD}, {ACNE: SEVERE}, [ACNE]),
        ({ACNE: MILD}, {ACNE: None}, []),
        ({ACNE: None}, {}, [ACNE]),
        ({ACNE: MILD}, {REDNESS: MILD}, [ACNE, REDNESS]),
    ],
)
def test_labels_contradict_where_both_are_known_and_differ(
    one: dict[Condition, Severity | None], other: dict[Condition, Severity | None], expected: list[Condition]
) -> None:
    assert contradicted(labelled(one), labelled(other)) == expected
    assert contradicted(labelled(other), labelled(one)) == expected
    assert contradicted(labelled(one, complete=False), labelled({}, complete=False)) == []


def again(dataset: Dataset, image: ManifestImage, data: bytes, labels: dict[Condition, Severity | None]) -> None:
    """One more image of the same root and fold."""
    sha256, image_id = hashlib.sha256(data).hexdigest(), uuid4()
    key = f"images/{image_id}/original.png"
    dataset.files[key] = data
    copy = {"image_id": image_id, "key": key, "sha256": sha256, "labels": labels, "variants": ()}
    dataset.images.append(image.model_copy(update=copy))


def test_the_same_file_with_other_labels_ends_the_run(small: Dataset, tmp_path: Path) -> None:
    dataset = Dataset(list(small.images), dict(small.files))
    image = dataset.images[0]
    again(dataset, image, dataset.files[image.key], {})
    with pytest.raises(LabelsContradict) as caught:
        check_labels(dataset.images)
    assert str(image.image_id) in caught.value.message
    assert str(dataset.images[-1].image_id) in caught.value.message
    assert "reject" in caught.value.advice
    with pytest.raises(LabelsContradict):
        worker.run(dataset.spec(tmp_path))
    dataset.images[-1] = dataset.images[-1].model_copy(update={"labels": image.labels})
    check_labels(dataset.images)


def changed(data: bytes, by: int, side: int = 64) -> bytes:
    """The picture with a square at its corner made lighter."""
    pixels = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    pixels[:side, :side] += by
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def training_images(dataset: Dataset) -> list[ManifestImage]:
    return [image for image in dataset.images if image.fold is Fold.TRAIN]


def test_what_looks_the_same_with_other_labels_is_left_out_and_named(small: Dataset, tmp_path: Path) -> None:
    dataset = Dataset(list(small.images), dict(small.files))
    copied, series = training_images(dataset)[:2]
    again(dataset, copied, changed(dataset.files[copied.key], 1), {})
    again(dataset, series, changed(dataset.files[series.key], 60, 20), {})  # the same face, and not the same skin
    result = worker.run(dataset.spec(tmp_path, TINY.model_copy(update={"images_seen": 100, "max_epochs": 3})))
    named = {entry["image_id"]: entry["reason"] for entry in result["left_out"]}
    twin = str(dataset.images[-2].image_id)
    assert set(named) == {str(copied.image_id), twin}
    assert twin in named[str(copied.image_id)]


def test_many_such_copies_end_the_run(small: Dataset, tmp_path: Path) -> None:
    dataset = Dataset(list(small.images), dict(small.files))
    for image in training_images(dataset)[:3]:
        again(dataset, image, changed(dataset.files[image.key], 1), {})
    with pytest.raises(LabelsContradict, match=r"6 of 67 images look the same"):
        worker.run(dataset.spec(tmp_path))
