"""The same square for trainer and model-server: frames of the manifest, frames that are found, models of the past."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from services.trainer import worker
from services.trainer.data import decode, load_folds, pictures_of, read_manifest
from services.trainer.evaluate import ExportedModel
from services.trainer.pixel_cache import PixelCache, Pixels, View
from services.trainer.spec import RunSpec, model_path
from shared.faces import FaceSearch
from shared.frames import Frame
from shared.manifest import ManifestImage, ManifestVariant, dump_manifest
from shared.preprocessing import NEWEST, Preprocessing, prepare
from shared.taxonomy import Condition, Fold, Severity, imported_image_id
from tests.unit.shared.portraits import detector, drawn, placed
from tests.unit.trainer.squares import TINY, Dataset

SIZE = 96
LOOKING = View(SIZE, NEWEST, looks=True)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def portrait() -> Image.Image:
    """A small face, off the middle of its picture."""
    return placed(drawn(), 0.6, 700).crop((0, 40, 640, 600))


def entry(image: Image.Image, frame: Frame | None, directory: Path, operation: str = "hflip") -> ManifestImage:
    """An image of the train fold and its mirror image, whose files lie in `directory`."""
    directory.mkdir(exist_ok=True)
    original, mirror = png(image), png(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    sums = [hashlib.sha256(data).hexdigest() for data in (original, mirror)]
    for name, data in zip(sums, (original, mirror), strict=True):
        (directory / name).write_bytes(data)
    image_id = imported_image_id(sums[0])
    return ManifestImage(
        image_id=image_id,
        root_id=image_id,
        key="original",
        sha256=sums[0],
        fold=Fold.TRAIN,
        labels={Condition.ACNE: Severity.MILD},
        frame=frame,
        variants=(ManifestVariant(operation=operation, key="mirror", sha256=sums[1]),),
    )


def seen(image: ManifestImage, directory: Path, view: View = LOOKING) -> Pixels:
    """What a run sees of an image and its variant, by the cache in `directory`."""
    cache = PixelCache(directory / "cache", view)
    finder = detector() if view.looks else None
    assert cache.add(pictures_of(image), directory / "files", 1, finder) == {}
    return cache.read(cache.rows(pictures_of(image)))


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def test_a_frame_that_nobody_found_before_is_found_as_the_server_does(tmp_path: Path) -> None:
    image = entry(portrait(), None, tmp_path / "files")
    original, mirror = seen(image, tmp_path)
    served = prepare((tmp_path / "files" / image.sha256).read_bytes(), SIZE, detector=detector())
    assert served.frame.found
    assert np.array_equal(original, served.pixels)
    assert difference(mirror[:, ::-1], original) < 12  # found anew: the detector is no exact mirror of itself


def test_the_manifests_frame_counts_and_its_variants_is_the_mirror_image(tmp_path: Path) -> None:
    found = prepare(png(portrait()), SIZE, detector=detector()).frame
    corrected = found.model_copy(update={"square": found.square.model_copy(update={"x": found.square.x + 25})})
    for frame in (found, corrected):
        original, mirror = seen(entry(portrait(), frame, tmp_path / "files"), tmp_path)
        assert np.array_equal(original, prepare(png(portrait()), SIZE, frame=frame).pixels)
        assert difference(mirror[:, ::-1], original) < 1.5
    # Both lie in one cache, each in its own row.
    assert (len(PixelCache(tmp_path / "cache", LOOKING).known())) == 4


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_mirror_image_turns_the_other_way(tmp_path: Path, turn: int) -> None:
    lying = portrait().rotate(turn, expand=True)  # counter-clockwise: `turn` degrees clockwise set it upright
    prepared = prepare(png(lying), SIZE, detector=detector())
    assert prepared.frame.turn == turn
    original, mirror = seen(entry(lying, prepared.frame, tmp_path / "files"), tmp_path)
    assert np.array_equal(original, prepared.pixels)
    assert difference(mirror[:, ::-1], original) < 1.5


def test_the_frame_of_another_operations_variant_is_found(tmp_path: Path) -> None:
    frame = prepare(png(portrait()), SIZE, detector=detector()).frame
    image = entry(portrait(), frame, tmp_path / "files", operation="warmer")
    _, mirror = seen(image, tmp_path)
    data = (tmp_path / "files" / image.variants[0].sha256).read_bytes()
    assert np.array_equal(mirror, prepare(data, SIZE, detector=detector()).pixels)


def test_the_frame_of_another_picture_makes_a_file_unreadable(tmp_path: Path) -> None:
    frame = prepare(png(portrait()), SIZE, detector=detector()).frame.model_copy(update={"width": 333})
    image = entry(portrait(), frame, tmp_path / "files")
    unreadable = PixelCache(tmp_path / "cache", LOOKING).add(pictures_of(image), tmp_path / "files", 1, detector())
    assert set(unreadable) == {image.sha256, image.variants[0].sha256}
    assert "333" in unreadable[image.sha256]


@pytest.mark.parametrize("version", [Preprocessing.MIDDLE_1, Preprocessing.MIDDLE_3])
def test_a_model_of_the_past_sees_the_middle_whatever_the_frame(tmp_path: Path, version: Preprocessing) -> None:
    frame = prepare(png(portrait()), SIZE, detector=detector()).frame
    view = View(SIZE, version, looks=True)
    assert not view.looks
    original, _ = seen(entry(portrait(), frame, tmp_path / "files"), tmp_path, view)
    assert np.array_equal(original, prepare(png(portrait()), SIZE, version).pixels)
    assert not np.array_equal(original, seen(entry(portrait(), frame, tmp_path / "files"), tmp_path)[0])


def test_a_manifest_keeps_its_frames_without_the_faces(tmp_path: Path) -> None:
    frame = prepare(png(portrait()), SIZE, detector=detector()).frame
    images = [entry(portrait(), frame, tmp_path / "files"), entry(drawn(), None, tmp_path / "files")]
    read = {image.image_id: image.frame for image in read_manifest(dump_manifest(images))}
    assert read == {
        images[0].image_id: frame.model_copy(update={"face": None}),
        images[1].image_id: None,
    }


@pytest.fixture
def faces(tmp_path: Path) -> RunSpec:
    """A dataset of a face's tints off the middle of their pictures: what shows is a coloured square beside the face."""
    dataset = Dataset([], {})
    for seed in range(24):
        labels: dict[Condition, Severity | None] = {} if seed % 3 else {Condition.ACNE: Severity.SEVERE}
        image = dataset.add(labels, seed, fold=list(Fold)[seed % 3 if seed > 8 else seed // 3])
        picture = ImageEnhance.Brightness(placed(drawn(), 0.25 + seed / 200, 300)).enhance(0.4 + seed / 20)
        if labels:
            picture.paste((200, 30, 40), (120, 140, 150, 170))
        files = [png(picture), png(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))]
        sums = [hashlib.sha256(data).hexdigest() for data in files]
        variants = (image.variants[0].model_copy(update={"sha256": sums[1]}),)
        dataset.images[-1] = image.model_copy(update={"sha256": sums[0], "variants": variants})
        dataset.files |= dict(zip((image.key, image.variants[0].key), files, strict=True))
    return dataset.spec(tmp_path).model_copy(update={"faces": FaceSearch.ON})


def test_a_run_frames_faces_says_so_and_compares_with_a_model_of_the_past(faces: RunSpec, tmp_path: Path) -> None:
    past = faces.model_copy(update={"faces": FaceSearch.OFF, "run_dir": tmp_path / "past", "version": "v-past"})
    past.run_dir.mkdir()
    before = worker.run(past)
    old = ExportedModel.load(model_path(past.run_dir), 1).metadata
    assert old.preprocessing.startswith("shared.imaging.square/3:")
    assert before["config"]["faces"] == "off"
    live = {"live": model_path(past.run_dir), "live_version": "v-past"}
    result = worker.run(faces.model_copy(update=live))
    new = ExportedModel.load(model_path(faces.run_dir), 1).metadata
    assert new.preprocessing.startswith(f"{NEWEST.value}:")
    assert result["config"]["faces"] == "on"
    assert result["parity"]["max_abs_difference"] < 1e-4
    assert result["comparison"]["live"] == before["metrics"]["test"]  # measured on what it wants to see
    for preprocessing in (NEWEST, Preprocessing.MIDDLE_3):
        cache = PixelCache(faces.cache, View(TINY.input_size, preprocessing, looks=True))
        images = read_manifest(faces.manifest.read_bytes())
        assert decode(images, tmp_path / "nothing", cache, 1, None, [Fold.TEST]) == {}  # all there already
        assert len(load_folds(images, cache, [Fold.TEST])[Fold.TEST]) == 8
