"""How many cores there are, on every system."""

from __future__ import annotations

import os

import pytest

from shared.cores import usable_cores


def test_a_process_uses_the_cores_that_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 6}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert usable_cores() == 3


@pytest.mark.parametrize(("machine", "cores"), [(8, 8), (None, 1)])
def test_where_nothing_says_what_it_may_it_uses_the_machine(
    machine: int | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    assert usable_cores() == cores
