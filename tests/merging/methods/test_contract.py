"""Every built-in method keeps the public contract."""

from __future__ import annotations

import pytest
import torch

from kingyo.merging.kernels.threads import execution, has_compiler, map_spans
from kingyo.merging.kernels.writing import write
from kingyo.merging.methods import METHODS, reproduces
from kingyo.testing.methods import MergeMethodContract

ABSOLUTE = {"nearswap", "ram", "ramplus_tl", "arcee_fusion"}
"""Methods with a threshold or an exponential, whose results do not scale with the weights."""
SPECTRAL = {
    name for name in METHODS.names() if reproduces(METHODS.get(name)) == "with the same number of threads"
}
"""Methods with matrix decompositions, whose bits may depend on the number of threads."""

ANY_THREADS = [
    name for name in METHODS.names() if reproduces(METHODS.get(name)) != "with the same number of threads"
]


def contract(name: str) -> type[MergeMethodContract]:
    fields: dict[str, object] = {
        "method": METHODS.get(name),
        "scales": name not in ABSOLUTE,
        "keeps_equal": name != "passthrough",  # its typical scale is not 1
    }
    return type(f"Test{name.title().replace('_', '')}", (MergeMethodContract,), fields)


for _name in METHODS.names():
    _kind = contract(_name)
    globals()[_kind.__name__] = _kind


@pytest.mark.parametrize("name", METHODS.names())
def test_names_are_those_of_recipes(name: str) -> None:
    assert METHODS.get(name).name == name


@pytest.mark.skipif(not has_compiler(), reason="needs numba")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", METHODS.names())
def test_compiled_merges_give_the_bits_of_the_reference(name: str, dtype: torch.dtype) -> None:
    merge_contract = contract(name)()
    for sources, base in merge_contract.worlds((211, 97), dtype):
        expected = merge_contract.merge(sources, base).to(dtype)
        merged = torch.empty_like(expected)
        with execution(compiled=True):
            assert write(merge_contract.result(sources, base), (0, merged.numel()), merged.view(-1))
        assert torch.equal(merged, expected)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ANY_THREADS)
def test_threads_change_no_bit(name: str, compiled: bool) -> None:
    """Return tensors that are large enough to be shared."""
    merge_contract = contract(name)()
    for sources, base in merge_contract.worlds((1300, 1000), torch.bfloat16):
        merged: list[torch.Tensor] = []
        for threads in (1, 3):
            with execution(compiled=compiled and has_compiler(), threads=threads):
                result = merge_contract.result(sources, base)
                place = torch.empty(1300, 1000, dtype=torch.bfloat16)
                assert all(
                    map_spans(
                        place.numel(),
                        lambda span, result=result, place=place: write(
                            result, span, place.view(-1)[span[0] : span[1]]
                        ),
                    )
                )
            merged.append(place)
        assert torch.equal(merged[0], merged[1])
