"""Every built-in method keeps the public contract."""

from __future__ import annotations

import pytest

from kingyo.methods import METHODS
from kingyo.testing.methods import MergeMethodContract

ABSOLUTE = {"nearswap", "ram", "ramplus_tl", "arcee_fusion"}
"""Methods with a threshold, or an exponential: results do not scale with the weights."""
SPECTRAL = {"tsv", "iso_c", "iso_cts"}
"""Methods on matrix decompositions: bits may depend on the number of threads."""


def contract(name: str) -> type[MergeMethodContract]:
    fields: dict[str, object] = {
        "method": METHODS.get(name),
        "scales": name not in ABSOLUTE,
        "same_bits": name not in SPECTRAL,
        "keeps_equal": name != "passthrough",  # its typical scale is not 1
    }
    return type(f"Test{name.title().replace('_', '')}", (MergeMethodContract,), fields)


for _name in METHODS.names():
    _kind = contract(_name)
    globals()[_kind.__name__] = _kind


@pytest.mark.parametrize("name", METHODS.names())
def test_names_are_those_of_recipes(name: str) -> None:
    assert METHODS.get(name).name == name
