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
    FoldData,
    check_folds,
    decode,
    fetch,
    left_out,
    load_folds,
    parity_files,
    parity_pictures,
    pictures_of,
    readable_images,
    severities_of,
)
from shared.embedded.blobs import DirectoryBlobs
from shared.errors import DatasetTooSmall, ImagesUnreadable, TrainingFailed
from shared.taxonomy import Condition, Fold, Severity
from tests.unit.shared.middle_square import model_input
from tests.unit.trainer.squares import Dataset, cache_of, dataset_of


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "store")


async def stored(dataset: Dataset, blobs: DirectoryBlobs) -> None:
    for key, data in dataset.files.items():
        await blobs.put(key, data)


def decoded_folds(dataset: Dataset, encoded: Path, cache: Path, threads: int = 1) -> dict[Fold, FoldData]:
    """All folds at 32 pixels, decoded from files that can all be read."""
    store = cache_of(cache, 32)
    assert decode(dataset.images, encoded, store, threads, None) == {}
    return load_folds(dataset.images, store)


def test_no_source_crosses_folds(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    folds = decoded_folds(small, tmp_path / "encoded", tmp_path / "cache")
    ids = {fold: set(data.image_ids) for fold, data in folds.items()}
    assert not ids[Fold.TRAIN] & ids[Fold.VALIDATION]
    assert not ids[Fold.TRAIN] & ids[Fold.TEST]
    assert not ids[Fold.VALIDATION] & ids[Fold.TEST]
    assert set().union(*ids.values()) == {str(image.image_id) for image in small.images}
    rows = [set(data.rows.tolist()) for data in folds.values()]
    assert sum(len(some) for some in rows) == len(set().union(*rows))


def test_only_training_sees_variants(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    folds = decoded_folds(small, tmp_path / "encoded", tmp_path / "cache")
    for fold, data in folds.items():
        copies = 2 if fold is Fold.TRAIN else 1
        assert len(data) == copies * len(set(data.image_ids))
        assert all(data.image_ids.count(image_id) == copies for image_id in data.image_ids)


def test_a_flip_has_its_sources_labels(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    training = decoded_folds(small, tmp_path / "encoded", tmp_path / "cache")[Fold.TRAIN]
    source, flip = (i for i, image_id in enumerate(training.image_ids) if image_id == training.image_ids[0])
    assert (training.severity[source] == training.severity[flip]).all()
    pixels = training.batch(np.array([source, flip]))
    assert np.abs(pixels[0].astype(int) - pixels[1][:, ::-1].astype(int)).max() <= 1


def test_pixels_are_those_of_the_shared_preprocessing(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    testing = decoded_folds(small, tmp_path / "encoded", tmp_path / "cache", 2)[Fold.TEST]
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
    first = decoded_folds(small, tmp_path / "encoded", tmp_path / "cache")
    grown = Dataset(list(small.images), dict(small.files))
    image = grown.add({Condition.AGING: Severity.MILD}, 77, fold=Fold.TEST)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / image.sha256).write_bytes(grown.files[image.key])  # nothing else is there to decode
    second = decoded_folds(grown, tmp_path / "new", tmp_path / "cache")
    assert len(second[Fold.TEST]) == len(first[Fold.TEST]) + 1
    assert (second[Fold.TRAIN].rows == first[Fold.TRAIN].rows).all()


def test_a_process_killed_while_decoding_leaves_a_usable_cache(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    pictures = [pictures_of(image)[0] for image in small.images]
    cache = cache_of(tmp_path / "cache", 32)
    cache.add(pictures[:5], tmp_path / "encoded", 1, None)
    pixels = next((tmp_path / "cache").rglob("pixels.u8"))
    with pixels.open("ab") as file:
        file.write(b"torn" * 500)
    cache.add(pictures[:9], tmp_path / "encoded", 1, None)
    decoded = cache.read(cache.rows(pictures[:9]))
    for picture, pixels_of_it in zip(pictures[:9], decoded, strict=True):
        assert (pixels_of_it == model_input(small.files[picture.key], 32)).all()


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_decoded(small: Dataset, tmp_path: Path) -> None:
    dataset = Dataset(list(small.images), dict(small.files))
    broken = dataset.add_broken(Fold.TEST)
    dataset.write_encoded(tmp_path / "encoded")
    for _ in range(2):  # what cannot be read never counts as decoded
        unreadable = decode(dataset.images, tmp_path / "encoded", cache_of(tmp_path / "cache", 32), 2, None)
        assert set(unreadable) == {broken.sha256}
    (named,) = left_out(dataset.images, unreadable)
    assert (named.image_id, named.key) == (str(broken.image_id), broken.key)
    assert named.reason
    readable = readable_images(dataset.images, unreadable)
    assert readable == small.images
    folds = load_folds(readable, cache_of(tmp_path / "cache", 32))
    keys = {str(image.image_id): image.key for image in small.images}
    for position, image_id in enumerate(folds[Fold.TEST].image_ids):
        expected = model_input(small.files[keys[image_id]], 32)
        assert (folds[Fold.TEST].batch(np.array([position]))[0] == expected).all()
    with pytest.raises(TrainingFailed, match=broken.sha256):
        load_folds(dataset.images, cache_of(tmp_path / "cache", 32))


def test_a_variant_that_cannot_be_read_costs_its_image(small: Dataset) -> None:
    image = next(image for image in small.images if image.fold is Fold.TRAIN)
    unreadable = {image.variants[0].sha256: "It is cut off."}
    (named,) = left_out(small.images, unreadable)
    assert (named.image_id, named.key) == (str(image.image_id), image.variants[0].key)
    assert image not in readable_images(small.images, unreadable)


@pytest.mark.parametrize(("images", "allowed"), [(3, 1), (100, 1), (199, 1), (200, 2), (1000, 10)])
def test_one_image_of_a_hundred_may_be_left_out_and_always_one(images: int, allowed: int, small: Dataset) -> None:
    copies = [
        small.images[0].model_copy(update={"image_id": number, "sha256": f"{number:064}", "variants": ()})
        for number in range(images)
    ]
    unreadable = {f"{number:064}": "It is cut off." for number in range(allowed)}
    assert readable_images(copies, unreadable) == copies[allowed:]
    with pytest.raises(ImagesUnreadable, match=rf"{allowed + 1} of {images} images cannot be read") as raised:
        readable_images(copies, {**unreadable, f"{allowed:064}": "It is cut off."})
    assert "It is cut off." in raised.value.message


def test_a_file_damaged_on_this_machine_is_fetched_again_and_costs_no_image(small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    broken = small.images[5]
    path = tmp_path / "encoded" / broken.sha256
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(TrainingFailed, match=str(broken.image_id)):
        decode(small.images, tmp_path / "encoded", cache_of(tmp_path / "cache", 32), 1, None)
    assert not path.exists()
    with pytest.raises(TrainingFailed, match="was not fetched"):
        decode(small.images, tmp_path / "encoded", cache_of(tmp_path / "cache", 32), 1, None)


async def test_fetch_brings_what_is_not_decoded_and_the_parity_images(
    small: Dataset, blobs: DirectoryBlobs, tmp_path: Path
) -> None:
    await stored(small, blobs)
    encoded, cache = tmp_path / "encoded", tmp_path / "cache"
    assert await fetch(blobs, small.images, encoded, [cache_of(cache, 32)]) == {}
    first = {path.name for path in encoded.iterdir()}
    assert first == {picture.sha256 for image in small.images for picture in pictures_of(image)}
    decoded_folds(small, encoded, cache)
    assert await fetch(blobs, small.images, tmp_path / "again", [cache_of(cache, 32)]) == {}
    again = {path.name for path in (tmp_path / "again").iterdir()}
    assert again == {picture.sha256 for picture in parity_pictures(small.images)}
    assert 0 < len(again) <= PARITY_IMAGES
    assert len(parity_files(small.images, tmp_path / "again")) == len(again)
    assert await fetch(blobs, small.images, tmp_path / "other", [cache_of(cache, 32), cache_of(cache, 48)]) == {}
    assert {path.name for path in (tmp_path / "other").iterdir()} == first


@pytest.mark.parametrize("damage", ["changed", "missing"])
async def test_fetch_names_a_file_that_is_missing_or_not_the_manifests_and_brings_the_others(
    small: Dataset, blobs: DirectoryBlobs, tmp_path: Path, damage: str
) -> None:
    await stored(small, blobs)
    small.write_encoded(tmp_path / "elsewhere")
    decoded_folds(small, tmp_path / "elsewhere", tmp_path / "cache")
    (lost, *_) = parity_pictures(small.images)  # already decoded, but its file is wanted for the parity check
    if damage == "changed":
        await blobs.put(lost.key, b"something else")
    else:
        await blobs.delete(lost.key)
    unreadable = await fetch(blobs, small.images, tmp_path / "encoded", [cache_of(tmp_path / "cache", 32)])
    assert set(unreadable) == {lost.sha256}
    files = parity_files(readable_images(small.images, unreadable), tmp_path / "encoded")
    assert len(files) == len(parity_pictures(small.images))  # another image took its place
    assert small.files[lost.key] not in files


async def test_fetch_gives_up_where_too_many_files_are_missing(
    small: Dataset, blobs: DirectoryBlobs, tmp_path: Path
) -> None:
    await stored(small, blobs)
    for image in small.images[:2]:
        await blobs.delete(image.key)
    with pytest.raises(ImagesUnreadable, match="2 of 64 images"):
        await fetch(blobs, small.images, tmp_path / "encoded", [cache_of(tmp_path / "cache", 32)])


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


def test_one_class_alone_is_too_small() -> None:
    dataset = Dataset([], {})
    for seed in range(9):
        dataset.add({Condition.ACNE: Severity.MILD}, seed, fold=list(Fold)[seed % 3])
    with pytest.raises(DatasetTooSmall, match="nothing to tell apart") as caught:
        check_folds(dataset.images)
    assert "clear skin" in caught.value.advice
    dataset.add({}, 9, fold=Fold.TRAIN)
    check_folds(dataset.images)


def test_an_ordinary_dataset_is_large_enough() -> None:
    check_folds(dataset_of(16).images)
