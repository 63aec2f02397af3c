"""Folds, labels with masks, fetching and the decode cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.trainer.data import (
    CONDITIONS,
    PARITY_IMAGES,
    UNGRADED,
    UNKNOWN,
    check_folds,
    fetch,
    load_folds,
    pictures_of,
    severities_of,
)
from services.trainer.pixel_cache import PixelCache
from shared.embedded.blobs import DirectoryBlobs
from shared.errors import BlobNotFound, DatasetTooSmall, TrainingFailed
from shared.imaging import model_input
from shared.taxonomy import Condition, Fold, Severity
from tests.unit.trainer.squares import Dataset, dataset_of


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "store")


async def stored(dataset: Dataset, blobs: DirectoryBlobs) -> None:
    for key, data in dataset.files.items():
        await blobs.put(key, data)


def test_no_source_crosses_folds(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    folds = load_folds(small.images, tmp_path / "encoded", tmp_path / "cache", 32, 1)
    ids = {fold: set(data.image_ids) for fold, data in folds.items()}
    assert not ids[Fold.TRAIN] & ids[Fold.VALIDATION]
    assert not ids[Fold.TRAIN] & ids[Fold.TEST]
    assert not ids[Fold.VALIDATION] & ids[Fold.TEST]
    assert set().union(*ids.values()) == {str(image.image_id) for image in small.images}
    rows = [set(data.rows.tolist()) for data in folds.values()]
    assert sum(len(some) for some in rows) == len(set().union(*rows))


def test_only_training_sees_variants(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    folds = load_folds(small.images, tmp_path / "encoded", tmp_path / "cache", 32, 1)
    for fold, data in folds.items():
        copies = 2 if fold is Fold.TRAIN else 1
        assert len(data) == copies * len(set(data.image_ids))
        assert all(data.image_ids.count(image_id) == copies for image_id in data.image_ids)


def test_a_flip_has_its_sources_labels(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    training = load_folds(small.images, tmp_path / "encoded", tmp_path / "cache", 32, 1)[Fold.TRAIN]
    source, flip = (i for i, image_id in enumerate(training.image_ids) if image_id == training.image_ids[0])
    assert (training.severity[source] == training.severity[flip]).all()
    pixels = training.batch(np.array([source, flip]))
    assert np.abs(pixels[0].astype(int) - pixels[1][:, ::-1].astype(int)).max() <= 1


def test_pixels_are_those_of_the_shared_preprocessing(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    testing = load_folds(small.images, tmp_path / "encoded", tmp_path / "cache", 32, 2)[Fold.TEST]
    keys = {str(image.image_id): image.key for image in small.images}
    for position, image_id in enumerate(testing.image_ids):
        expected = model_input(small.files[keys[image_id]], 32)
        assert (testing.batch(np.array([position]))[0] == expected).all()


def test_labels_become_severities_and_masks() -> None:
    dataset = Dataset([], {})
    graded = dataset.add({Condition.ACNE: Severity.SEVERE, Condition.AGING: None}, 1)
    assert severities_of(graded) == [3, 0, 0, 0, 0, 0, UNGRADED]
    incomplete = dataset.add({Condition.REDNESS: Severity.MILD}, 2, complete=False)
    assert severities_of(incomplete) == [UNKNOWN, 1, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    assert severities_of(dataset.add({}, 3)) == [0] * len(CONDITIONS)


def test_a_second_run_decodes_only_what_is_new(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    first = load_folds(small.images, tmp_path / "encoded", tmp_path / "cache", 32, 1)
    grown = Dataset(list(small.images), dict(small.files))
    image = grown.add({Condition.AGING: Severity.MILD}, 77, fold=Fold.TEST)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / image.sha256).write_bytes(grown.files[image.key])  # nothing else is there to decode
    second = load_folds(grown.images, tmp_path / "new", tmp_path / "cache", 32, 1)
    assert len(second[Fold.TEST]) == len(first[Fold.TEST]) + 1
    assert (second[Fold.TRAIN].rows == first[Fold.TRAIN].rows).all()


def test_a_process_killed_while_decoding_leaves_a_usable_cache(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    pictures = [pictures_of(image)[0] for image in small.images]
    cache = PixelCache(tmp_path / "cache", 32)
    cache.add(pictures[:5], tmp_path / "encoded", 1)
    pixels = next((tmp_path / "cache").rglob("pixels.u8"))
    with pixels.open("ab") as file:
        file.write(b"torn" * 500)
    cache.add(pictures[:9], tmp_path / "encoded", 1)
    decoded = cache.read(cache.rows([picture.sha256 for picture in pictures[:9]]))
    for picture, pixels_of_it in zip(pictures[:9], decoded, strict=True):
        assert (pixels_of_it == model_input(small.files[picture.key], 32)).all()


def test_a_damaged_image_is_named(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    broken = small.images[5]
    path = tmp_path / "encoded" / broken.sha256
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(TrainingFailed, match=str(broken.image_id)):
        load_folds(small.images, tmp_path / "encoded", tmp_path / "cache", 32, 1)


async def test_fetch_brings_what_is_not_decoded_and_the_parity_images(
    small: Dataset, blobs: DirectoryBlobs, tmp_path: Path
) -> None:
    await stored(small, blobs)
    encoded, cache = tmp_path / "encoded", tmp_path / "cache"
    first = await fetch(blobs, small.images, encoded, cache, [32])
    assert len(first) == sum(len(pictures_of(image)) for image in small.images)
    load_folds(small.images, encoded, cache, 32, 1)
    again = await fetch(blobs, small.images, tmp_path / "again", cache, [32])
    assert 0 < len(again) <= PARITY_IMAGES
    assert {path.name for path in (tmp_path / "again").iterdir()} == {picture.sha256 for picture in again}
    other_size = await fetch(blobs, small.images, tmp_path / "other", cache, [32, 48])
    assert len(other_size) == len(first)


async def test_fetch_refuses_a_file_that_is_not_the_manifests(
    small: Dataset, blobs: DirectoryBlobs, tmp_path: Path
) -> None:
    await stored(small, blobs)
    changed = small.images[3]
    await blobs.put(changed.key, b"something else")
    with pytest.raises(ExceptionGroup) as raised:
        await fetch(blobs, small.images, tmp_path / "encoded", tmp_path / "cache", [32])
    assert raised.group_contains(TrainingFailed, match=str(changed.image_id))


async def test_fetch_tells_of_a_missing_file(small: Dataset, blobs: DirectoryBlobs, tmp_path: Path) -> None:
    await stored(small, blobs)
    await blobs.delete(small.images[3].key)
    with pytest.raises(ExceptionGroup) as raised:
        await fetch(blobs, small.images, tmp_path / "encoded", tmp_path / "cache", [32])
    assert raised.group_contains(BlobNotFound)


@pytest.mark.parametrize("fold", list(Fold))
def test_a_fold_with_one_image_is_too_small(small: Dataset, fold: Fold) -> None:
    others = [image for image in small.images if image.fold is not fold]
    single = [image for image in small.images if image.fold is fold][:1]
    with pytest.raises(DatasetTooSmall, match=fold.value):
        check_folds(others + single)


def test_nothing_but_clear_skin_is_too_small() -> None:
    dataset = Dataset([], {})
    for seed in range(9):
        dataset.add({}, seed, fold=list(Fold)[seed % 3])
    with pytest.raises(DatasetTooSmall, match="shows a condition"):
        check_folds(dataset.images)


def test_an_ordinary_dataset_is_large_enough() -> None:
    check_folds(dataset_of(16).images)
