"""Rules about imports that import-linter has no words for, and that its contracts are what they say."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[3]
DRIVERS = {"aio_pika", "aioboto3", "aiobotocore", "botocore"}


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at whatever level."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_events_need_only_pydantic_and_our_taxonomy_and_errors() -> None:
    allowed = {"pydantic", "shared.taxonomy", "shared.errors"}
    others = {name for name in imported(ROOT / "shared/events.py") if name.split(".")[0] not in sys.stdlib_module_names}
    assert others
    assert others <= allowed


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("services", "shared", include_external_packages=True, cache_dir=None)


def test_the_import_graph_is_not_empty(graph: grimp.ImportGraph) -> None:
    assert graph.count_imports() > 100
    assert "shared.events" in graph.find_modules_directly_imported_by("shared.message")


@pytest.mark.parametrize("driver", sorted(DRIVERS))
def test_drivers_are_imported_only_by_the_remote_adapters(graph: grimp.ImportGraph, driver: str) -> None:
    importers = graph.find_modules_that_directly_import(driver) if driver in graph.modules else set()
    assert all(importer.startswith("shared.remote.") for importer in importers)


def test_nothing_below_aio_pika_is_imported(graph: grimp.ImportGraph) -> None:
    assert not {"aiormq", "pamqp"} & graph.modules


def test_the_remote_adapters_import_their_drivers(graph: grimp.ImportGraph) -> None:
    """Without this, the test above would pass on a misspelt name."""
    assert {"aio_pika", "aioboto3"} <= graph.modules


POSIX_ALONE = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
"""Modules of the standard library that Windows lacks. They are refused to us: others go on without them."""


def test_no_module_needs_what_only_posix_has() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for top in ("services", "shared")
        for path in sorted((ROOT / top).rglob("*.py"))
        if "migrations" not in path.parts  # which Alembic runs, not imports
    ]
    assert len(modules) > 150
    program = f"""
import builtins, importlib, sys

real = builtins.__import__

def refusing(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {{}}).get("__name__", "")
    if name in {POSIX_ALONE} and importer.split(".")[0] in ("services", "shared"):
        raise ImportError(f"{{importer}} imports {{name}}, which Windows lacks")
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = refusing
for module in {modules}:
    importlib.import_module(module)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
