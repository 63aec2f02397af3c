"""Fixtures of the trainer's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from shared.taxonomy import Condition
from tests.unit.trainer.squares import Dataset, dataset_of


@pytest.fixture(scope="session")
def small() -> Dataset:
    """Sixteen originals of each of four conditions, with all folds filled."""
    return dataset_of(16, list(Condition)[:4])


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    """Training sets threads and determinism for its process; other tests get theirs back."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    if torch.are_deterministic_algorithms_enabled() != deterministic:  # only then: setting it loads half of torch
        torch.use_deterministic_algorithms(deterministic)
