"""Reading what is laid out as for YOLO: its classes, where labels lie, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.console.import_folder import Picture
from services.console.import_yolo import is_yolo, read_yolo
from shared.errors import InvalidRequest, UnknownCondition
from shared.taxonomy import Condition, Fold, Severity

CLASSES = "acne\nacne_mild\nSevere Acne\nwrinkles\nclear\n"
BOX = "0.5 0.5 0.1 0.2"


def lay(folder: Path, **files: str) -> Path:
    """Write files, whose names have `__` for `/`; a picture is the name's own bytes."""
    for name, text in {"classes.txt": CLASSES, **files}.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() or name.encode())
    return folder


def empty(path: Path) -> None:
    path.write_bytes(b"")


def by_name(folder: Path) -> dict[str, Picture]:
    return {picture.path.name: picture for picture in read_yolo(folder).pictures}


@pytest.mark.parametrize(
    ("picture", "labels", "split"),
    [
        ("images__a.png", "labels__a.txt", None),
        ("images__train__a.png", "labels__train__a.txt", Fold.TRAIN),
        ("valid__images__a.png", "valid__labels__a.txt", Fold.VALIDATION),
        ("test__images__deep__a.JPG", "test__labels__deep__a.txt", Fold.TEST),
        ("a.png", "a.txt", None),
        ("images__images__a.png", "images__labels__a.txt", None),
    ],
)
def test_labels_are_found_where_yolo_has_them(tmp_path: Path, picture: str, labels: str, split: Fold | None) -> None:
    folder = lay(tmp_path, **{picture: "", labels: f"1 {BOX}\n3 {BOX}\n"})
    assert is_yolo(folder)
    read = read_yolo(folder)
    (found,) = read.pictures
    assert found.labels == {Condition.ACNE: Severity.MILD, Condition.FINE_LINES: None}
    assert (found.split, read.passed_over) == (split, [])


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (f"0 {BOX}", {Condition.ACNE: None}),
        (f"0 {BOX}\n1 {BOX}", {Condition.ACNE: Severity.MILD}),
        (f"2 {BOX}\r\n1 {BOX}\r\n0 {BOX}", {Condition.ACNE: Severity.SEVERE}),
        (f"4 {BOX}", {}),
        ("\n", {}),
        ("3", {Condition.FINE_LINES: None}),
    ],
)
def test_a_pictures_boxes_say_its_labels(tmp_path: Path, text: str, labels: dict[Condition, Severity | None]) -> None:
    assert by_name(lay(tmp_path, **{"a.png": "", "a.txt": text}))["a.png"].labels == labels


def test_a_picture_without_labels_is_told_and_one_with_none_is_clear(tmp_path: Path) -> None:
    folder = lay(tmp_path, **{"images__a.png": "", "images__b.png": "", "labels__a.txt": "-", "notes.json": "{}"})
    empty(folder / "labels/a.txt")
    read = read_yolo(folder)
    assert [(picture.path.name, picture.labels) for picture in read.pictures] == [("a.png", {})]
    assert {each.path.name: each.reason for each in read.passed_over} == {
        "b.png": "has no .txt with labels",
        "notes.json": "no picture, and no labels of one",
    }


@pytest.mark.parametrize("text", ["5 0 0 1 1", "-1 0 0 1 1", "acne", "9" * 5000, "1.0 0 0 1 1", f"4 {BOX}\n0 {BOX}"])
def test_lines_that_say_nothing_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"a\.txt"):
        read_yolo(lay(tmp_path, **{"images__a.png": "", "labels__a.txt": text}))


def test_a_class_that_is_no_condition_is_told_with_its_line(tmp_path: Path) -> None:
    folder = lay(tmp_path, **{"classes.txt": "acne\nfreckles\n", "images__a.png": "", "labels__a.txt": "0"})
    with pytest.raises(UnknownCondition, match=r"classes\.txt, line 2"):
        read_yolo(folder)


def test_a_folder_without_labelled_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no picture with labels"):
        read_yolo(lay(tmp_path, **{"images__a.png": ""}))
