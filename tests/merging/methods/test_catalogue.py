"""Descriptions match the declarations, and docs/methods.md is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from kingyo.merging.methods import METHODS
from kingyo.merging.methods.catalogue import describe, inputs, ordered, page, values

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


def test_words() -> None:
    texts = {name: inputs(METHODS.get(name)) for name in ("slerp", "ties", "nuslerp", "karcher")}
    assert texts == {
        "slerp": "a base and 1 source",
        "ties": "a base and 1 or more sources",
        "nuslerp": "2 sources, optionally a base",
        "karcher": "1 or more sources",
    }
    parameters = {each.name: each for name in METHODS.names() for each in METHODS.get(name).params}
    assert parameters["density"].valid == "number from 0 to 1"
    assert parameters["max_iter"].valid == "whole number of at least 0"
    assert values(parameters["nuslerp_flatten"]) == "true"
    assert values(METHODS.get("nearswap").params[0]) == "required, searched 1e-05 to 0.1, log scale"
