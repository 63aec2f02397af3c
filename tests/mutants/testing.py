"""mutmut on one module, in a copy of the tree: the working tree stays as it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.undecorated import without_decorators
from tests.servers.keeper import SOCKET_VARIABLE

ROOT = Path(__file__).parents[2]

_KILLED = ("killed", "timeout")  # a mutant that never ends is noticed as well
_TREES = ("services", "shared", "tests")
_NAME = re.compile(r"^(?P<module>.+)\.x(?:ǁ(?P<owner>\w+)ǁ|_)(?P<function>\w+?)__mutmut_\d+$")


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test noticed: a function's lines as they were, and what the mutant made of them."""

    function: str
    was: str
    became: str


@dataclass(frozen=True)
class Outcome:
    """What became of a module's mutants."""

    mutants: int
    survivors: tuple[Survivor, ...]

    @property
    def killed(self) -> int:
        """Mutants that made a test fail, or run without end."""
        return self.mutants - len(self.survivors)

    @property
    def share(self) -> float:
        """Killed ones of all mutants; 0 where there is none, since then nothing was tested."""
        return self.killed / self.mutants if self.mutants else 0.0


class MutationFailed(Exception):
    """mutmut could not do its work; the message is what it wrote."""


def copy_tree(directory: Path) -> None:
    """Copy what the unit tests need into an empty directory."""
    for tree in _TREES:
        shutil.copytree(ROOT / tree, directory / tree, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)


def test_module(module: str, tests: tuple[str, ...], directory: Path, *, workers: int) -> Outcome:
    """Run a module's tests against each of its mutants, in a copy of the tree that nobody else uses.

    Raises MutationFailed where mutmut ends with an error, as it does when the tests fail without any mutant.
    """
    path = directory / module
    path.write_text(without_decorators(path.read_text()))
    _configure(directory, module, tests)
    _mutmut(directory, "run", "--max-children", str(workers))
    statuses = dict(line.strip().split(": ") for line in _mutmut(directory, "results", "--all", "true").splitlines())
    alive = [name for name, status in statuses.items() if status not in _KILLED]
    with ThreadPoolExecutor(workers) as pool:
        diffs = pool.map(lambda name: _mutmut(directory, "show", name), alive)
        return Outcome(len(statuses), tuple(_survivor(name, diff) for name, diff in zip(alive, diffs, strict=True)))


def _configure(directory: Path, module: str, tests: tuple[str, ...]) -> None:
    config = ConfigParser()
    config["mutmut"] = {
        "source_paths": "\nservices\nshared",
        "only_mutate": module,
        "pytest_add_cli_args_test_selection": "\n".join(("", *tests)),
        "pytest_add_cli_args": "\n-p\nno:cacheprovider",
        # Each mutant starts from modules just loaded: nothing is in their caches from a run without a mutant.
        "process_isolation": "forkserver",
        "use_git_change_detection": "false",
    }
    with (directory / "setup.cfg").open("w") as file:
        config.write(file)


def _mutmut(directory: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    environment = os.environ | {SOCKET_VARIABLE: ""}  # a mutant's tests need no servers, nor their keeper
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MutationFailed(f"{' '.join(arguments)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def _survivor(name: str, diff: str) -> Survivor:
    found = _NAME.match(name)
    if found is None:
        raise MutationFailed(f"mutmut names a mutant in a way that is not known here: {name}")
    function = ".".join(part for part in (found["owner"], found["function"]) if part)
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    was, became = (" ".join(line[1:].strip() for line in lines if line[0:1] == sign) for sign in "-+")
    return Survivor(function, was, became)
