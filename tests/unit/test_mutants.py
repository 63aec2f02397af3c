"""The mutation tester's own parts: what it makes of a module, and that its lists name what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.mutants.functions import survivor_of
from tests.mutants.modules import MODULES
from tests.mutants.outcome import MutationFailed, Outcome, Survivor
from tests.mutants.survivors import named_survivors
from tests.mutants.undecorated import without_decorators
from tests.mutants.values import mutants_of

ROOT = Path(__file__).parents[2]

DECORATED = '''"""Faces."""

import functools


class Face:
    """One."""

    side = 3

    @property
    def area(self):
        """Of it."""
        return self.side**2

    def plain(self):
        return 1


@functools.cache
@functools.partial(
    lambda base, function: lambda: base + function(), 40
)
def answer():
    return 2


LAST = answer()
'''


def test_decorators_are_written_out_and_mean_the_same() -> None:
    plain = without_decorators(DECORATED)
    assert "@" not in plain
    assert "    area = property(area)\n" in plain
    for source in (DECORATED, plain):
        names: dict[str, Any] = {}
        exec(compile(source, "faces", "exec"), names)  # noqa: S102 - the source above
        assert (names["Face"]().area, names["Face"].area.__doc__, names["Face"]().plain()) == (9, "Of it.", 1)
        assert (names["answer"](), names["LAST"], names["answer"].cache_info().misses) == (42, 42, 1)


def test_every_value_is_changed_once() -> None:
    source = '''
Alias = dict[str, int]
TABLE: dict[str, tuple[str, ...]] = {
    "open": ("late",),
}

class Face:
    """One."""

    drawn: bool = False
    side: int
'''
    mutants = list(mutants_of(source))
    assert [(m.changed.place, m.changed.was, m.changed.became) for m in mutants] == [
        ("TABLE", "'open': ('late',)", ""),
        ("TABLE", "'open'", "'XXopenXX'"),
        ("TABLE", "'late'", ""),
        ("TABLE", "'late'", "'XXlateXX'"),
        ("Face.drawn", "False", "True"),
    ]
    values = []
    for mutant in mutants:
        names: dict[str, Any] = {}
        exec(compile(mutant.source, "values", "exec"), names)  # noqa: S102 - made of the source above
        values.append((names["TABLE"], names["Face"].drawn))
    assert values == [
        ({}, False),
        ({"XXopenXX": ("late",)}, False),
        ({"open": ()}, False),
        ({"open": ("XXlateXX",)}, False),
        ({"open": ("late",)}, True),
    ]


def test_a_survivor_is_known_by_its_place_and_its_lines() -> None:
    diff = "--- a.py\n+++ a.py\n@@ -1,3 +1,3 @@\n def area(self):\n-    return 1\n+    return 2\n"
    assert survivor_of("a.b.xǁFaceǁarea__mutmut_12", diff) == Survivor("Face.area", "return 1", "return 2")
    assert survivor_of("a.b.x__private_one__mutmut_1", diff).place == "_private_one"
    with pytest.raises(MutationFailed):
        survivor_of("something else", diff)


def test_outcomes_add_up_and_nothing_tested_is_nothing_killed() -> None:
    one, other = Outcome(3, (Survivor("f", "1", "2"),)), Outcome(1, ())
    assert ((one + other).mutants, (one + other).killed, (one + other).share) == (4, 3, 0.75)
    assert Outcome(0, ()).share == 0


def test_the_modules_and_their_tests_are_there() -> None:
    for path in (*MODULES, *(test for tests in MODULES.values() for test in tests)):
        assert (ROOT / path).is_file(), path


def test_survivors_are_named_for_modules_that_are_mutated_with_a_reason() -> None:
    named = named_survivors()
    assert named.keys() <= MODULES.keys()
    assert all(reason for survivors in named.values() for reason in survivors.values())
