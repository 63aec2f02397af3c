"""The lock file fits every machine: no build of one processor, no address, no path."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from shared import VERSION
from tests.lock import portable

ROOT = Path(__file__).parents[2]


def test_a_local_version_is_left_to_the_installer() -> None:
    assert "torch==2.13.0 # via x\n" in portable("torch==2.13.0+cpu # via x\nyarl==1.0\n")


@pytest.mark.parametrize(
    "line", ["--find-links /some/place", "-i https://example.org/simple", "evenskin @ file:///home/me/evenskin"]
)
def test_a_place_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="names a place"):
        portable(f"yarl==1.0\n{line}\n")


def test_the_lock_file_is_as_it_was_made() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert portable(text) == text
    assert "\ntorch==2.13.0 " in text


def test_every_package_that_is_asked_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    names = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line}
    wanted = {_name(requirement) for requirement in asked} - {"evenskin"}
    assert {name.lower().replace("_", "-") for name in wanted} <= {name.lower().replace("_", "-") for name in names}


def test_the_code_and_its_packaging_have_one_version() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def _name(requirement: str) -> str:
    for mark in "[<>=!;~ ":
        requirement = requirement.split(mark)[0]
    return requirement
