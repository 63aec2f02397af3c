"""Mutants of a module's functions: made and tested by mutmut."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from pathlib import Path

from tests.mutants.outcome import MutationFailed, Outcome, Survivor
from tests.mutants.tree import copy_tree, run_python
from tests.mutants.undecorated import without_decorators

_KILLED = ("killed", "timeout")  # a mutant that never ends is noticed as well
_NAME = re.compile(r"^.+\.x(?:ǁ(?P<owner>\w+)ǁ|_)(?P<function>\w+?)__mutmut_\d+$")


def try_functions(module: str, tests: tuple[str, ...], directory: Path, *, workers: int) -> Outcome:
    """Run a module's tests against each mutant of its functions. `directory`: an empty one.

    Raises MutationFailed where mutmut ends with an error, as it does when the tests fail without any mutant.
    """
    tree = directory / "functions"
    copy_tree(tree)
    path = tree / module
    path.write_text(without_decorators(path.read_text()))
    _configure(tree, module, tests)
    _mutmut(tree, "run", "--max-children", str(workers))
    statuses = dict(line.strip().split(": ") for line in _mutmut(tree, "results", "--all", "true").splitlines())
    alive = [name for name, status in statuses.items() if status not in _KILLED]
    with ThreadPoolExecutor(workers) as pool:
        diffs = pool.map(lambda name: _mutmut(tree, "show", name), alive)
        return Outcome(len(statuses), tuple(survivor_of(name, diff) for name, diff in zip(alive, diffs, strict=True)))


def survivor_of(name: str, diff: str) -> Survivor:
    """A survivor from mutmut's name of it (`package.module.xǁClassǁfunction__mutmut_7`) and a unified diff.

    Raises MutationFailed for a name of another form.
    """
    found = _NAME.match(name)
    if found is None:
        raise MutationFailed(f"mutmut names a mutant in a way that is not known here: {name}")
    place = ".".join(part for part in (found["owner"], found["function"]) if part)
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    was, became = (" ".join(line[1:].strip() for line in lines if line[0:1] == sign) for sign in "-+")
    return Survivor(place, was, became)


def _configure(tree: Path, module: str, tests: tuple[str, ...]) -> None:
    config = ConfigParser()
    config["mutmut"] = {
        "source_paths": "\nservices\nshared",
        "only_mutate": module,
        "pytest_add_cli_args_test_selection": "\n".join(("", *tests)),
        "pytest_add_cli_args": "\n-p\nno:cacheprovider",
        # Each mutant starts from modules just loaded: nothing is in their caches from a run without a mutant.
        "process_isolation": "forkserver",
        # 15 times (their usual time + 4 s) may go by: a mutant is not killed by a busy machine.
        "timeout_constant": "4.0",
        "use_git_change_detection": "false",
    }
    with (tree / "setup.cfg").open("w") as file:
        config.write(file)


def _mutmut(tree: Path, *arguments: str) -> str:
    done = run_python(tree, "mutmut", *arguments)
    if done.returncode:
        raise MutationFailed(f"mutmut {' '.join(arguments)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout
