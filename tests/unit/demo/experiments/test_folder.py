"""A folder's pictures: labels, and one root for groups, same bytes and look-alikes, mirrored or not."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from services.demo.experiments.folder import read_labelled
from shared.taxonomy import Condition, Severity
from tests.fakes.pictures import encoded, noise


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_what_hangs_together_has_one_root(tmp_path: Path) -> None:
    first = noise(1)
    write(tmp_path / "acne/mild/1.png", encoded(first))
    write(tmp_path / "acne/severe/again.jpg", encoded(first, "JPEG", quality=90))
    write(tmp_path / "clear/mirrored.png", encoded(first.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    write(tmp_path / "redness/2.png", encoded(noise(2)))
    write(tmp_path / "redness/mild/anna/3.png", encoded(noise(3)))
    write(tmp_path / "aging/mild/anna/4.png", encoded(noise(4)))
    write(tmp_path / "redness/mild/broken.png", b"no picture")
    alone, grouped = read_labelled(tmp_path), read_labelled(tmp_path, groups=True)
    for folder in (alone, grouped):
        root = {each.key: each.root_id for each in folder.images}
        assert root["acne/mild/1.png"] == root["acne/severe/again.jpg"] == root["clear/mirrored.png"]
        assert len(root) == 6
        assert list(folder.unreadable) == ["redness/mild/broken.png"]
    assert len({each.root_id for each in alone.images}) == 4
    assert len({each.root_id for each in grouped.images}) == 3
    labels = {each.key: each.labels for each in alone.images}
    assert labels["acne/severe/again.jpg"] == {Condition.ACNE: Severity.SEVERE}
    assert labels["redness/2.png"] == {Condition.REDNESS: None}
    assert labels["clear/mirrored.png"] == {}


def test_a_group_and_a_look_alike_hang_together_through_a_third(tmp_path: Path) -> None:
    write(tmp_path / "acne/mild/anna/1.png", encoded(noise(1)))
    write(tmp_path / "acne/mild/anna/2.png", encoded(noise(2)))
    write(tmp_path / "acne/mild/2.jpg", encoded(noise(2), "JPEG", quality=90))
    assert len({each.root_id for each in read_labelled(tmp_path, groups=True).images}) == 1


def test_files_are_found_by_their_digest(tmp_path: Path) -> None:
    write(tmp_path / "data/acne/mild/1.png", encoded(noise(1)))
    folder = read_labelled(tmp_path / "data", look_alikes=False)
    folder.link(tmp_path / "encoded")
    folder.link(tmp_path / "encoded")  # again changes nothing
    (image,) = folder.images
    assert (tmp_path / "encoded" / image.sha256).read_bytes() == encoded(noise(1))
