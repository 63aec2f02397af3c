"""Fixtures of the experiments' tests."""

from __future__ import annotations

from tests.unit.trainer.conftest import _torch_as_it_was

__all__ = ["_torch_as_it_was"]
