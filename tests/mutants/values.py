"""Mutants of a module's tables, constants and defaults, which mutmut leaves as they are: it changes functions only.

Each entry of a table is taken out once, each flag turned over, each number raised by one, each text changed.
"""

from __future__ import annotations

import ast
import copy
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import NoneType
from typing import Any

from tests.mutants.outcome import MutationFailed, Outcome, Survivor
from tests.mutants.tree import copy_tree, run_python

_TIMEOUT_S = 300.0  # of one mutant's tests, which take seconds: longer is without end

_Change = Callable[[Any], None]  # of a node of the syntax tree, in place
_Owner = ast.Module | ast.ClassDef
_Assignment = ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Mutant:
    """A module's source with one value changed."""

    changed: Survivor
    source: str


def try_values(module: str, tests: tuple[str, ...], directory: Path, *, workers: int) -> Outcome:
    """Run a module's tests against each mutant of its values. `directory`: one without `values-…` in it.

    Raises MutationFailed where the tests fail without any mutant.
    """
    trees: SimpleQueue[Path] = SimpleQueue()
    for worker in range(workers):
        copy_tree(directory / f"values-{worker}")
        trees.put(directory / f"values-{worker}")
    source = (directory / "values-0" / module).read_text()

    def survives(mutated: str) -> bool:
        tree = trees.get()
        try:
            (tree / module).write_text(mutated)
            return _pass(tree, tests)
        finally:
            trees.put(tree)

    if not survives(source):
        raise MutationFailed("The tests fail without any mutant.")
    mutants = list(mutants_of(source))
    with ThreadPoolExecutor(workers) as pool:
        alive = list(pool.map(lambda mutant: survives(mutant.source), mutants))
    return Outcome(len(mutants), tuple(m.changed for m, survived in zip(mutants, alive, strict=True) if survived))


def _pass(tree: Path, tests: tuple[str, ...]) -> bool:
    try:
        done = run_python(tree, "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests, timeout_s=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def mutants_of(source: str) -> Iterator[Mutant]:
    """Every mutant of what a module, or a class in it, assigns to a name."""
    lines = source.splitlines()
    for owner, assignment in _assignments(ast.parse(source)):
        names = assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]
        place = ".".join(filter(None, (owner, ast.unparse(names[0]))))
        for was, became, mutated in _variants(assignment):
            assert assignment.end_lineno is not None
            new = [" " * assignment.col_offset + line for line in ast.unparse(mutated).splitlines()]
            changed = [*lines[: assignment.lineno - 1], *new, *lines[assignment.end_lineno :]]
            yield Mutant(Survivor(place, was, became), "\n".join(changed) + "\n")


def _assignments(module: ast.Module) -> Iterator[tuple[str, _Assignment]]:
    owners: list[tuple[str, _Owner]] = [("", module)]
    owners += [(node.name, node) for node in module.body if isinstance(node, ast.ClassDef)]
    for name, owner in owners:
        for node in owner.body:
            if isinstance(node, _Assignment) and not isinstance(node.value, ast.Subscript | NoneType):  # a type's alias
                yield name, node


def _variants(assignment: _Assignment) -> Iterator[tuple[str, str, _Assignment]]:
    """(what was there, what took its place, the assignment with it) of each change to the value."""
    assert assignment.value is not None
    for number, node in enumerate(ast.walk(assignment.value)):
        for was, became, change in _changes(node):
            mutated = copy.deepcopy(assignment)
            assert mutated.value is not None
            change(list(ast.walk(mutated.value))[number])
            yield was, became, mutated


def _changes(node: ast.AST) -> Iterator[tuple[str, str, _Change]]:
    match node:
        case ast.Dict():
            for index, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
                entry = f"{ast.unparse(key)}: {ast.unparse(value)}" if key else f"**{ast.unparse(value)}"
                yield entry, "", _without(index, "keys", "values")
        case ast.Tuple() | ast.List() | ast.Set():
            for index, element in enumerate(node.elts):
                yield ast.unparse(element), "", _without(index, "elts")
        case ast.Constant(value=bool() | int() | float() | str() | bytes() as value):
            became = _another(value)
            yield repr(value), repr(became), lambda twin: setattr(twin, "value", became)


def _without(index: int, *lists: str) -> _Change:
    def change(node: Any) -> None:
        for name in lists:
            del getattr(node, name)[index]

    return change


def _another(value: bool | float | str | bytes) -> bool | float | str | bytes:
    match value:
        case bool():
            return not value
        case str():
            return f"XX{value}XX"
        case bytes():
            return b"XX" + value + b"XX"
        case _:
            return value + 1
