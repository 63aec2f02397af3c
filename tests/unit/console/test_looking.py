"""`evenskin look`: what it says of pictures, what it draws, and what it refuses to draw over."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.console import cli
from services.console.contact_sheet import FACE, FRAME
from shared.portraits import Portrait
from tests.unit.shared.portraits import drawn, placed


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory without services, settings or pictures of others."""
    for name in [name for name in os.environ if name.startswith("EVENSKIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def looked(*arguments: str | Path) -> int:
    """Run the command. Returns its exit status."""
    return cli.invoke(["look", *(str(argument) for argument in arguments)])


def facts(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """What `--json` prints."""
    looked("--json", *arguments)
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def sheet_at(path: str) -> Image.Image:
    """A sheet that was drawn."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        return image.copy()


def share_of(image: Image.Image, colour: tuple[int, int, int]) -> float:
    """Share of an image that has just this colour."""
    return float((np.asarray(image.convert("RGB")) == colour).all(axis=-1).mean())


def test_faces_frames_and_advice_are_told_and_drawn(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn().save("near.png")
    placed(drawn(7), 0.4, 700).save("far [1].png")
    assert looked("near.png", "far [1].png") == 0
    out = capsys.readouterr().out
    near, far, advice, written = out.splitlines()
    assert near.startswith("near.png: 384 × 384 PNG: a face with score 0.9")
    assert far.startswith("far [1].png: 700 × 700 PNG: a face")
    assert advice.endswith("(face_too_small)")
    assert written == "Drawn on look.png."
    sheet = sheet_at("look.png")
    assert share_of(sheet, FACE) > 0.001
    assert share_of(sheet, FRAME) > 0.001
    left, right = sheet.crop((0, 0, sheet.width // 2, 560)), sheet.crop((sheet.width // 2, 0, sheet.width, 560))
    assert share_of(left, FACE) > 2 * share_of(right, FACE)  # one is nearer


def test_scripts_get_the_facts_and_no_sheet_unless_they_ask(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn().save("near.png")
    Image.new("RGB", (300, 200), (182, 140, 120)).save("skin.png")
    found = facts(capsys, "near.png", "skin.png")
    near, skin = found["pictures"]
    assert found["sheet"] is None
    assert sorted(path.name for path in nowhere.iterdir()) == ["near.png", "skin.png"]
    assert (near["width"], near["format"], near["advice"]) == (384, "PNG", [])
    assert near["frame"]["face"]["x"] == pytest.approx(near["faces"][0]["x"], abs=0.01)
    assert set(near["portrait"]) == set(Portrait.model_fields)
    assert (skin["faces"], skin["frame"]["found"], skin["frame"]["square"]["side"]) == ([], False, 200)
    assert [advice["code"] for advice in skin["advice"]] == ["no_face"]
    assert facts(capsys, "near.png", "--out", "mine.png")["sheet"] == "mine.png"
    assert sheet_at("mine.png").width > 700


def test_a_broken_picture_does_not_keep_the_others(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn().save("near.png")
    Path("notes.jpg").write_text("no picture")
    assert looked("notes.jpg", "near.png") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error[image_unsupported]: notes.jpg: ")
    assert "near.png: " in captured.out
    Path("look.png").unlink()
    assert looked("notes.jpg") == 2
    assert not Path("look.png").exists()
    assert "Drawn" not in capsys.readouterr().out
    entry, _ = facts(capsys, "notes.jpg", "near.png")["pictures"]
    assert entry["error"]["code"] == "image_unsupported"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["near.png", "--out", "near.png"], "is one of the pictures"),
        (["near.png", "--out", "near.jpg"], "is not a PNG file"),
        (["near.png", "--out", "no/where.png"], "cannot be written"),
        (["nothing.png"], "does not exist"),
        (["near.png"] * 61, "too many for one sheet"),
    ],
)
def test_what_cannot_be_drawn_is_told_and_nothing_is_written_over(
    nowhere: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    drawn().save("near.png")
    before = Path("near.png").read_bytes()
    assert looked(*arguments) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in nowhere.iterdir()] == ["near.png"]
    assert Path("near.png").read_bytes() == before


def test_a_name_in_any_script_is_taken(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn().save("猫 ü.png")
    assert looked("猫 ü.png") == 0
    assert "猫 ü.png: " in capsys.readouterr().out
