"""Test folds hold nothing that was trained on: by image, root and file, and by how pictures look."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.trainer.data import decode, load_folds
from services.trainer.leakage import check_files, check_looks
from services.trainer.spec import FAILED_STATUS
from shared.errors import FoldsLeak
from shared.manifest import ManifestImage
from shared.taxonomy import Condition, Fold, Severity
from tests.unit.trainer.squares import Dataset, cache_of, drawn, flipped

ACNE: dict[Condition, Severity | None] = {Condition.ACNE: Severity.SEVERE}


def dataset() -> Dataset:
    """Four originals of each fold, all different."""
    found = Dataset([], {})
    for number, fold in enumerate(fold for fold in Fold for _ in range(4)):
        found.add({list(Condition)[number % 7]: Severity.MODERATE}, number, fold=fold)
    return found


def first(images: list[ManifestImage], fold: Fold) -> ManifestImage:
    return next(image for image in images if image.fold is fold)


def test_a_sound_manifest_passes(small: Dataset, tmp_path: Path) -> None:
    for images in (small, dataset()):
        check_files(images.images)
        look(images, tmp_path)


@pytest.mark.parametrize("fold", [Fold.TRAIN, Fold.VALIDATION])
@pytest.mark.parametrize("shared", ["image_id", "root_id", "sha256"])
def test_what_is_in_two_folds_is_refused(shared: str, fold: Fold) -> None:
    images = dataset().images
    trained, tested = first(images, fold), first(images, Fold.TEST)
    images[images.index(tested)] = tested.model_copy(update={shared: getattr(trained, shared)})
    with pytest.raises(FoldsLeak, match=str(getattr(trained, shared))) as raised:
        check_files(images)
    assert raised.value.code == "folds_leak"
    assert str(trained.image_id) in raised.value.message
    assert raised.value.advice


def test_a_root_whose_images_are_in_one_fold_passes() -> None:
    images = dataset().images
    one, two = (image for image in images if image.fold is Fold.TEST and images.index(image) < 10)
    images[images.index(two)] = two.model_copy(update={"root_id": one.root_id, "sha256": one.sha256})
    check_files(images)


def test_the_flip_of_a_trained_picture_is_no_test_picture() -> None:
    images = dataset().images
    trained, tested = first(images, Fold.TRAIN), first(images, Fold.TEST)
    images[images.index(tested)] = tested.model_copy(update={"sha256": trained.variants[0].sha256})
    with pytest.raises(FoldsLeak, match=trained.variants[0].sha256):
        check_files(images)


def encoded_anew(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


def scaled(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).resize((160, 160), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def mirrored(data: bytes) -> bytes:
    """The mirror image as another file than the variant, which has the same pixels."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(flipped(data))).save(buffer, "WebP", lossless=True)
    return buffer.getvalue()


COPIES: list[Callable[[bytes], bytes]] = [mirrored, encoded_anew, scaled, lambda data: mirrored(encoded_anew(data))]


def with_copy(copied: Callable[[bytes], bytes], fold: Fold) -> tuple[Dataset, ManifestImage, ManifestImage]:
    """A dataset whose test fold has a copy of a picture of another fold, under a name of its own."""
    found = dataset()
    original = first(found.images, fold)
    copy = copied(found.files[original.key])
    found.add(ACNE, 99, fold=Fold.TEST)
    image = found.images.pop().model_copy(update={"sha256": hashlib.sha256(copy).hexdigest()})
    found.images.append(image)
    found.files[image.key] = copy
    return found, original, image


def look(found: Dataset, directory: Path) -> None:
    found.write_encoded(directory / "encoded")
    cache = cache_of(directory / "cache", 64)
    assert decode(found.images, directory / "encoded", cache, 1, None) == {}
    check_looks(load_folds(found.images, cache))


@pytest.mark.parametrize("fold", [Fold.TRAIN, Fold.VALIDATION])
@pytest.mark.parametrize("copied", COPIES, ids=["mirrored", "encoded anew", "scaled", "mirrored and encoded anew"])
def test_a_copy_under_another_name_is_refused(copied: Callable[[bytes], bytes], fold: Fold, tmp_path: Path) -> None:
    found, original, copy = with_copy(copied, fold)
    check_files(found.images)  # by names and files, nothing is wrong
    with pytest.raises(FoldsLeak, match="looks the same") as raised:
        look(found, tmp_path)
    assert str(original.image_id) in raised.value.message
    assert str(copy.image_id) in raised.value.message


def test_another_picture_of_the_same_labels_passes(tmp_path: Path) -> None:
    found = dataset()
    for seed in (50, 51):
        found.add(ACNE, seed, fold=Fold.TEST if seed % 2 else Fold.TRAIN)
    assert drawn(ACNE, 50) != drawn(ACNE, 51)
    look(found, tmp_path)


def patch(labels: dict[Condition, Severity | None], seed: int) -> bytes:
    """Even skin of one tone, unevenly lit."""
    dice = np.random.default_rng(seed)
    light = dice.normal(0, 2, (8, 8, 1)).repeat(8, 0).repeat(8, 1)
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(np.array([190, 150, 130]) + light)).save(buffer, "PNG")
    return buffer.getvalue()


def test_patches_of_one_skin_tone_pass_and_their_copies_do_not(tmp_path: Path) -> None:
    found = dataset()
    images = [found.add(ACNE, seed, fold=list(Fold)[seed % 3], draw=patch) for seed in range(60, 72)]
    look(found, tmp_path)
    trained, tested = first(images, Fold.TRAIN), first(images, Fold.TEST)
    copy = scaled(found.files[trained.key])
    found.images[found.images.index(tested)] = tested.model_copy(update={"sha256": hashlib.sha256(copy).hexdigest()})
    found.files[tested.key] = copy
    with pytest.raises(FoldsLeak, match=str(trained.image_id)):
        look(found, tmp_path / "copied")


def test_the_worker_refuses_before_it_trains(tmp_path: Path) -> None:
    found, _, _ = with_copy(mirrored, Fold.TRAIN)
    spec = found.spec(tmp_path)
    path = spec.run_dir / "spec.json"
    path.write_text(spec.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-m", "services.trainer.worker", str(path)], capture_output=True, check=False, text=True
    )
    assert done.returncode == FAILED_STATUS
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["failed"] == "folds_leak"
    assert not list(spec.run_dir.glob("model*"))
