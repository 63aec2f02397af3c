"""Reading a folder tree: what is a picture, what its folders say, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.console.import_folder import read_folder
from shared.errors import InvalidRequest, UnknownCondition, UnknownSeverity
from shared.taxonomy import Condition, Severity


def put(root: Path, name: str, data: bytes | None = None) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(name.encode() if data is None else data)
    return path


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
    assert folder.passed_over == 4


def test_variants_of_our_own_export_are_not_originals(tmp_path: Path) -> None:
    source = put(tmp_path, "acne/mild/0c5a2f6e-5d9e-4f5c-9a57-9d1f6c6f2a10.png")
    put(tmp_path, "acne/mild/0c5a2f6e-5d9e-4f5c-9a57-9d1f6c6f2a10_hflip.png")
    folder = read_folder(tmp_path)
    assert [path for path, _ in folder] == [source]
    assert folder.passed_over == 1


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
    assert folder.passed_over == 4


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
