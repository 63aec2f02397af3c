"""Reading a table of pictures: its headers, what its lines say, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.console.import_csv import read_csv, table_of
from services.console.import_folder import Picture
from shared.errors import InvalidRequest, UnknownCondition, UnknownSeverity
from shared.taxonomy import Condition, Fold, Severity

MILD = {Condition.ACNE: Severity.MILD}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three pictures."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png", "images/c.png"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def table(folder: Path, text: str, *, encoding: str = "utf-8", name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def by_name(path: Path) -> dict[str, Picture]:
    return {picture.path.name: picture for picture in read_csv(path).pictures}


def test_a_line_says_everything_of_a_picture(folder: Path) -> None:
    found = by_name(
        table(
            folder,
            "path,condition,severity,skin_tone,group,complete,split\n"
            "a.png,acne,mild,3,Anna,no,val\n"
            "b.png,clear,,,,,\n"
            "images/c.png,wrinkles,unknown,10.0,,true,train\n",
        )
    )
    a, b, c = found["a.png"], found["b.png"], found["c.png"]
    assert (a.labels, a.skin_tone, a.group, a.complete, a.split) == (MILD, 3, "Anna", False, Fold.VALIDATION)
    assert (b.labels, b.skin_tone, b.group, b.complete, b.split) == ({}, None, None, None, None)
    assert (c.labels, c.skin_tone, c.complete, c.split) == ({Condition.FINE_LINES: None}, 10, True, Fold.TRAIN)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_spreadsheets_write(folder: Path, delimiter: str, newline: str) -> None:
    lines = (("File Name", "Diagnosis", "Grade"), ("a.png", "Acne", "1.0"), ("", "", ""))
    path = table(folder, newline.join(delimiter.join(line) for line in lines), encoding="utf-8-sig")
    assert by_name(path)["a.png"].labels == MILD


def test_a_picture_has_a_line_for_each_condition(folder: Path) -> None:
    path = table(folder, "image,label,severity\na.png,acne,mild\na.png,redness,3\n")
    assert by_name(path)["a.png"].labels == {**MILD, Condition.REDNESS: Severity.SEVERE}


def test_paths_are_relative_to_the_table_or_to_images_beside_it(folder: Path) -> None:
    path = table(folder, "path,condition\nc.png,acne\n")
    (picture,) = read_csv(path).pictures
    assert picture.path == folder / "images" / "c.png"
    path = table(folder, "path,condition\nimages\\c.png,acne\n")
    (picture,) = read_csv(path).pictures
    assert picture.path == folder / "images" / "c.png"


def test_columns_that_are_not_read_are_told(folder: Path) -> None:
    path = table(folder, "id,path,condition,Camera\n1,a.png,acne,X100\n")
    assert read_csv(path).unread_columns == ("id", "Camera")


def test_files_with_the_same_bytes_are_one_picture(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"a.png")
    path = table(folder, "path,condition,split\na.png,acne,train\nb.png,redness,test\n")
    (picture,) = read_csv(path).pictures
    assert set(picture.labels) == {Condition.ACNE, Condition.REDNESS}
    assert picture.split is Fold.TRAIN  # what a model may have seen is no test


@pytest.mark.parametrize(
    ("lines", "error", "told"),
    [
        ("a.png,freckles,\n", UnknownCondition, "line 2: 'freckles'"),
        ("a.png,acne,mild\nb.png,acne,terrible\n", UnknownSeverity, "line 3: 'terrible'"),
        ("a.png,,\n", InvalidRequest, "line 2: The line names no condition"),
        ("gone.png,acne,\n", InvalidRequest, "line 2: There is no file 'gone.png'"),
        ("a.png,clear,mild\n", InvalidRequest, "line 2: Clear skin has no severity"),
        ("a.png,acne,mild\na.png,acne,severe\n", InvalidRequest, "line 3: .*two severities"),
        ("a.png,acne,mild,3\n", InvalidRequest, "line 2: .*more cells"),
        (f"{'x' * 5000}.png,acne,\n", InvalidRequest, "line 2: There is no file"),
        ("", InvalidRequest, "names no pictures"),
    ],
)
def test_a_wrong_line_is_named_before_anything_is_sent(
    folder: Path, lines: str, error: type[InvalidRequest], told: str
) -> None:
    with pytest.raises(error, match=told):
        read_csv(table(folder, "path,condition,severity\n" + lines))


@pytest.mark.parametrize(
    ("column", "value"), [("skin_tone", "11"), ("skin_tone", "2.5"), ("complete", "maybe"), ("split", "holdout")]
)
def test_a_wrong_value_is_named(folder: Path, column: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=value):
        read_csv(table(folder, f"path,condition,{column}\na.png,acne,{value}\n"))


@pytest.mark.parametrize(
    ("headers", "told"),
    [("path,severity", "named condition"), ("condition", "named path"), ("path,file", "Two columns")],
)
def test_wrong_headers_are_told(folder: Path, headers: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        read_csv(table(folder, f"{headers}\na.png,mild\n"))


def test_a_table_that_is_not_in_utf_8_is_told(folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="UTF-8"):
        read_csv(table(folder, "path,condition\ncafé.png,acne\n", encoding="latin-1"))


def test_a_folder_is_a_table_where_one_lies_beside_images(folder: Path) -> None:
    assert table_of(folder) is None
    path = table(folder, "path,condition\n")
    assert table_of(folder) == table_of(path) == path
    table(folder, "", name="more.CSV")
    with pytest.raises(InvalidRequest, match=r"labels\.csv, more\.CSV"):
        table_of(folder)


def test_a_folder_of_conditions_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "acne").mkdir()
    table(tmp_path, "path,condition\n")
    assert table_of(tmp_path) is None
