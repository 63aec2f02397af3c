"""Reading a folder tree: what is a picture, what its folders say, and what is refused before anything is sent."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from services.console.file_names import shown
from services.console.import_folder import Folder, read_folder
from services.console.import_groups import folder_group
from shared.errors import InvalidRequest, UnknownCondition, UnknownSeverity
from shared.taxonomy import Condition, Fold, Severity


def put(root: Path, name: str, data: bytes | None = None) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(name.encode() if data is None else data)
    return path


def passed_over(folder: Folder) -> dict[str, str]:
    return {shown(each.path.relative_to(folder.root)): each.reason for each in folder.passed_over}


def test_folders_say_condition_and_severity(tmp_path: Path) -> None:
    put(tmp_path, "acne/mild/a.png")
    put(tmp_path, "acne/b.JPG")
    put(tmp_path, "clear/c.webp")
    put(tmp_path, "clear/deeper/d.heic")
    put(tmp_path, "redness/severe/2024/spring/e.jpeg")
    assert {path.name: labels for path, labels in read_folder(tmp_path)} == {
        "a.png": {Condition.ACNE: Severity.MILD},
        "b.JPG": {Condition.ACNE: None},
        "c.webp": {},
        "d.heic": {},
        "e.jpeg": {Condition.REDNESS: Severity.SEVERE},
    }


@pytest.mark.parametrize(
    ("folder", "labels"),
    [
        ("Textured Skin/slight", {Condition.TEXTURED_SKIN: Severity.MILD}),
        ("pores/medium", {Condition.PORE_SIZE: Severity.MODERATE}),
        ("fine-lines/3", {Condition.FINE_LINES: Severity.SEVERE}),
        ("acne/unknown", {Condition.ACNE: None}),
        ("wrinkles", {Condition.FINE_LINES: None}),
        ("Clear Skin", {}),
    ],
)
def test_synonyms_are_understood(tmp_path: Path, folder: str, labels: dict[Condition, Severity | None]) -> None:
    put(tmp_path, f"{folder}/a.png")
    assert [found for _, found in read_folder(tmp_path)] == [labels]


def test_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    for name in ("redness/mild/b.png", "acne/severe/a.png", "acne/mild/z.png"):
        put(tmp_path, name)
    assert [path.name for path, _ in read_folder(tmp_path)] == ["z.png", "a.png", "b.png"]


def test_an_unknown_condition_is_named(tmp_path: Path) -> None:
    put(tmp_path, "acne/mild/a.png")
    put(tmp_path, "freckles/mild/b.png")
    with pytest.raises(UnknownCondition, match="freckles") as caught:
        read_folder(tmp_path)
    assert "clear" in caught.value.advice
    assert "acne" in caught.value.advice


def test_an_unknown_severity_is_named(tmp_path: Path) -> None:
    put(tmp_path, "acne/terrible/a.png")
    with pytest.raises(UnknownSeverity, match="terrible"):
        read_folder(tmp_path)


@pytest.mark.parametrize(("folder", "error"), [("acnee", UnknownCondition), ("acne/milld", UnknownSeverity)])
def test_a_wrong_name_is_told_even_without_pictures_below(
    tmp_path: Path, folder: str, error: type[InvalidRequest]
) -> None:
    put(tmp_path, "acne/mild/a.png")
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(error, match=Path(folder).name):
        read_folder(tmp_path)


def test_hidden_and_other_files_are_counted_not_taken(tmp_path: Path) -> None:
    put(tmp_path, "acne/mild/a.png")
    put(tmp_path, "acne/mild/.DS_Store")
    put(tmp_path, "acne/mild/notes.txt")
    put(tmp_path, "README.md")
    put(tmp_path, ".git/config")
    folder = read_folder(tmp_path)
    assert len(folder.pictures) == 1
    assert passed_over(folder) == {
        ".git": "hidden",
        "README.md": "no picture, by its ending",
        "acne/mild/.DS_Store": "hidden",
        "acne/mild/notes.txt": "no picture, by its ending",
    }


def test_what_systems_leave_behind_is_passed_over_wherever_it_lies(tmp_path: Path) -> None:
    kept = put(tmp_path, "acne/mild/a.png")
    left = ["__MACOSX/acne/mild/._a.png", "acne/@eaDir/a.png/thumb.jpg", "acne/mild/.@__thumb/a.png"]
    left += ["acne/mild/Thumbs.db", "acne/mild/._a.png", "clear/desktop.ini", "Thumbs.db"]
    for name in left:
        put(tmp_path, name)
    folder = read_folder(tmp_path)
    assert [path for path, _ in folder] == [kept]
    assert set(passed_over(folder)) == {
        "__MACOSX",
        "acne/@eaDir",
        "acne/mild/.@__thumb",
        "acne/mild/Thumbs.db",
        "acne/mild/._a.png",
        "clear/desktop.ini",
        "Thumbs.db",
    }
    assert set(passed_over(folder).values()) == {"a system's own file"}


@pytest.mark.parametrize("ending", ["jfif", "jpe", "avif", "hif", "heif", "heic", "JPG"])
def test_every_ending_of_a_picture_that_is_read_is_known(tmp_path: Path, ending: str) -> None:
    path = put(tmp_path, f"acne/a.{ending}")
    assert [path for path, _ in read_folder(tmp_path)] == [path]


def test_names_may_hold_any_bytes(tmp_path: Path) -> None:
    odd = [b"caf\xe9.png", b"two\nlines.png", "γ.png".encode(), b"\x1b[31m.txt"]
    (tmp_path / "acne").mkdir()
    for name in odd:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/acne/" + name)).write_bytes(name)
    folder = read_folder(tmp_path)
    assert sorted(shown(path.name) for path, _ in folder) == [r"caf\xe9.png", r"two\nlines.png", "γ.png"]
    assert list(passed_over(folder)) == [r"acne/\x1b[31m.txt"]


def test_a_folder_whose_name_is_odd_is_named(tmp_path: Path) -> None:
    put(tmp_path, os.fsdecode(b"n\xe9s/a.png"), b"picture")
    with pytest.raises(UnknownCondition, match=r"n\\xe9s"):
        read_folder(tmp_path)


def test_folders_may_be_nested_deeper_than_functions(tmp_path: Path) -> None:
    put(tmp_path, "acne/mild/a.png")
    at = os.open(tmp_path / "acne" / "mild", os.O_RDONLY)
    for _ in range(1800):
        os.mkdir("d", dir_fd=at)
        deeper = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = deeper
    os.close(at)
    try:
        assert len(read_folder(tmp_path).pictures) == 1
    finally:  # deeper than what clears temporary folders away
        subprocess.run(["rm", "-rf", tmp_path / "acne"], check=True)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "acne/mild/a.png")
    real = os.scandir

    def scandir(path: Path) -> object:
        if path.name == "mild":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InvalidRequest, match=r"mild' cannot be read: Permission denied"):
        read_folder(tmp_path)


def test_a_file_that_cannot_be_read_is_left_to_its_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = put(tmp_path, "acne/a.png", b"same"), put(tmp_path, "acne/b.png", b"also")

    def read_bytes(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert [path for path, _ in read_folder(tmp_path)] == [one, other]


def test_variants_of_our_own_export_are_not_originals(tmp_path: Path) -> None:
    source = put(tmp_path, "acne/mild/0c5a2f6e-5d9e-4f5c-9a57-9d1f6c6f2a10.png")
    put(tmp_path, "acne/mild/0c5a2f6e-5d9e-4f5c-9a57-9d1f6c6f2a10_hflip.png")
    folder = read_folder(tmp_path)
    assert [path for path, _ in folder] == [source]
    assert list(passed_over(folder).values()) == ["an augmented copy from an export"]


def test_a_picture_without_a_condition_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "acne/mild/a.png")
    put(tmp_path, "b.png")
    with pytest.raises(InvalidRequest, match=r"b\.png"):
        read_folder(tmp_path)


def test_links_out_of_the_tree_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    secret = put(outside, "secret.png")
    root = tmp_path / "root"
    inside = put(root, "acne/mild/a.png")
    (root / "acne" / "mild" / "link.png").symlink_to(secret)
    (root / "acne" / "mild" / "broken.png").symlink_to(root / "nothing.png")
    (root / "redness").symlink_to(outside)
    (root / "clear").mkdir()
    (root / "clear" / "loop").symlink_to(root)
    folder = read_folder(root)
    assert [picture.path for picture in folder.pictures] == [inside]
    assert set(passed_over(folder)) == {"acne/mild/broken.png", "acne/mild/link.png", "clear/loop", "redness"}


def test_the_same_face_in_two_folders_is_one_picture_with_both_labels(tmp_path: Path) -> None:
    first = put(tmp_path, "acne/mild/a.png", b"same")
    second = put(tmp_path, "redness/a.png", b"same")
    put(tmp_path, "redness/b.png", b"else")
    both = read_folder(tmp_path).pictures[0]
    assert (both.path, both.copies) == (first, (second,))
    assert both.labels == {Condition.ACNE: Severity.MILD, Condition.REDNESS: None}


@pytest.mark.parametrize("other", ["acne/severe", "clear"])
def test_the_same_face_with_contradicting_labels_is_refused(tmp_path: Path, other: str) -> None:
    put(tmp_path, "acne/mild/a.png", b"same")
    put(tmp_path, f"{other}/b.png", b"same")
    with pytest.raises(InvalidRequest, match="same picture"):
        read_folder(tmp_path)


def test_empty_files_are_not_copies_of_each_other(tmp_path: Path) -> None:
    put(tmp_path, "acne/mild/a.png", b"")
    put(tmp_path, "clear/b.png", b"")
    assert len(read_folder(tmp_path).pictures) == 2


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="does not exist"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(InvalidRequest, match="is not a folder"):
        read_folder(put(tmp_path, "file.png"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequest, match="no pictures"):
        read_folder(tmp_path / "empty")


def test_the_folders_of_a_split_are_told_and_mean_no_condition(tmp_path: Path) -> None:
    for name in ("train/acne/mild/a.png", "Val/clear/b.png", "test/redness/c.png", "acne/d.png"):
        put(tmp_path, name)
    folder = read_folder(tmp_path)
    assert {picture.path.name: (picture.labels, picture.split) for picture in folder.pictures} == {
        "a.png": ({Condition.ACNE: Severity.MILD}, Fold.TRAIN),
        "b.png": ({}, Fold.VALIDATION),
        "c.png": ({Condition.REDNESS: None}, Fold.TEST),
        "d.png": ({Condition.ACNE: None}, None),
    }
    assert folder.splits == {Fold.TRAIN: 1, Fold.VALIDATION: 1, Fold.TEST: 1}


def test_a_picture_in_two_parts_of_a_split_is_in_train(tmp_path: Path) -> None:
    put(tmp_path, "val/acne/a.png", b"the same")
    put(tmp_path, "test/acne/a.png", b"the same")
    (picture,) = read_folder(tmp_path).pictures
    assert picture.split is Fold.TRAIN


def test_a_wrong_name_below_a_split_is_told(tmp_path: Path) -> None:
    put(tmp_path, "train/freckles/a.png")
    with pytest.raises(UnknownCondition, match="train/freckles"):
        read_folder(tmp_path)


def test_a_picture_directly_in_a_split_is_told(tmp_path: Path) -> None:
    put(tmp_path, "train/a.png")
    with pytest.raises(InvalidRequest, match=r"directly in .*train"):
        read_folder(tmp_path)


def test_groups_are_found_below_a_split(tmp_path: Path) -> None:
    put(tmp_path, "train/acne/mild/anna/a.png")
    (picture,) = read_folder(tmp_path).pictures
    assert folder_group(picture, tmp_path) == "anna"
