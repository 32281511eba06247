"""The examples in docstrings of strategies run."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["", ".archive", ".ga", ".pareto"])
def test_examples_in_docstrings(module: str) -> None:
    results = doctest.testmod(importlib.import_module(f"kingyo.strategies{module}"))
    assert results.attempted and not results.failed
