"""What cannot be done is one line with a stable code, and status 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.console.cli import invoke
from shared.taxonomy import Condition
from tests.unit.trainer.squares import dataset_of


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("cross-validate", "d1"), "not_found"),
        (("cross-validate", "{data}", "--folds", "9"), "dataset_too_small"),
        (("cross-validate", "{data}", "--folds", "1"), "invalid_request"),
        (("cross-validate", "{data}/acne"), "unknown_condition"),
        (("reproduce", "--data", "{data}"), "dataset_too_small"),
        (("reproduce", "--data", "{data}", "--scale", "0.5"), "invalid_request"),
        (("reproduce", "--data", "{data}/none"), "invalid_request"),
        (("reproduce", "--seeds", "0"), "invalid_request"),
    ],
)
def test_refusal(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: str,
) -> None:
    for name, value in {"HOME": tmp_path / "home", "BACKBONE": "none", "FACES": "off"}.items():
        monkeypatch.setenv(f"EVENSKIN_{name}", str(value))
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    for image in (dataset := dataset_of(3, list(Condition)[:3])).images:
        path = tmp_path / "data" / next(iter(image.labels)) / "mild" / f"{image.image_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dataset.files[image.key])
    status = invoke([word.format(data=tmp_path / "data") for word in words])
    assert capsys.readouterr().err.startswith(f"error[{code}]")
    assert status == 2


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no directory")
    assert invoke(["reproduce", "--out", str(tmp_path / "file" / "out")]) == 1
    assert capsys.readouterr().err.startswith("error[store_unavailable]")
