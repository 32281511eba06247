"""Descriptions match the declarations, and docs/methods.md is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from kingyo.merging.methods import METHODS
from kingyo.merging.methods.catalogue import describe, ordered, page

PAGE = Path(__file__).parents[3] / "docs" / "methods.md"


def test_the_page_is_up_to_date() -> None:
    remedy = "run: python docs/tables.py"
    assert PAGE.read_text(encoding="utf-8") == page(), remedy


def test_every_method_is_listed_once() -> None:
    assert sorted(ordered()) == METHODS.names()


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_has_advice_and_a_reference(name: str) -> None:
    described = describe(name)
    assert described["when"] and described["source"] and described["how"]
    assert f"\n## {name}\n" in page()


def test_a_method_with_varying_bits_declares_it() -> None:
    """Results of sin, acos, exp and decompositions depend on the library."""
    declared = {name: describe(name)["reproduces"] for name in METHODS.names()}
    by_library = {name for name, where in declared.items() if where == "on one machine"}
    assert by_library == {"slerp", "nuslerp", "karcher", "arcee_fusion"}
    by_threads = {name for name, where in declared.items() if where == "with the same number of threads"}
    assert by_threads == {"tsv", "iso_c", "iso_cts", "singular_bands"}
    assert page().count("Bit-identical only on the same machine") == len(by_library | by_threads)
