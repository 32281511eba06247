"""Every built-in method keeps the public contract, and docs/methods.md describes it."""

import runpy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from kingyo.merging.kernels import Lazy
from kingyo.merging.kernels.blocks import Span
from kingyo.merging.kernels.threads import execution, map_spans
from kingyo.merging.kernels.writing import write
from kingyo.merging.methods import METHODS, reproduces
from kingyo.merging.methods.catalogue import describe
from kingyo.testing.methods import MergeMethodContract
from tests.slow import THOROUGH, slow

Result = torch.Tensor | Lazy
ABSOLUTE = {"nearswap", "ram", "ramplus_tl", "arcee_fusion"}
"""Methods with a threshold or an exponential, whose results do not scale with the weights."""
EXECUTIONS = ((1, False, False), (3, False, True), (3, True, False), (1, True, True))
"""Threads, whether loops are compiled, and whether they write past the caches."""
ANY_THREADS = [
    name for name in METHODS.names() if reproduces(METHODS.get(name)) != "with the same number of threads"
]


def contract(name: str) -> type[MergeMethodContract]:
    fields: dict[str, object] = {
        "method": METHODS.get(name),
        "scales": name not in ABSOLUTE,
        "keeps_equal": name != "passthrough",  # its typical scale is not 1
        **({} if THOROUGH else {"compiled_dtypes": (torch.bfloat16,)}),
    }
    return type(f"Test{name.title().replace('_', '')}", (MergeMethodContract,), fields)


for _name in METHODS.names():
    _kind = contract(_name)
    globals()[_kind.__name__] = _kind


@pytest.mark.parametrize("executions", [EXECUTIONS[::2], *slow((EXECUTIONS,))])
@pytest.mark.parametrize("name", ANY_THREADS)
def test_threads_and_compiled_loops_change_no_bit(
    name: str, executions: Sequence[tuple[int, bool, bool]]
) -> None:
    """Tensors are large enough to be shared."""
    merge_contract = contract(name)()
    for sources, base in merge_contract.worlds((1300, 1000), torch.bfloat16):
        merged: list[torch.Tensor] = []
        for threads, compiled, streams in executions:
            with execution(compiled=compiled, threads=threads, bypass_caches=streams):
                result = merge_contract.result(sources, base)
                place = torch.empty(1300 * 1000, dtype=torch.bfloat16)

                def fill(span: Span, result: Result = result, place: torch.Tensor = place) -> bool:
                    return write(result, span, place[span[0] : span[1]])

                assert all(map_spans(place.numel(), fill))
            merged.append(place)
        assert all(torch.equal(merged[0], each) for each in merged)


PAGE = Path(__file__).parents[3] / "docs" / "methods.md"
WRITTEN: str = runpy.run_path(str(PAGE.with_name("tables.py")))["methods_page"]()


def test_the_page_is_up_to_date() -> None:
    remedy = "run: python docs/tables.py"
    assert PAGE.read_text(encoding="utf-8") == WRITTEN, remedy


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_has_advice_and_a_reference(name: str) -> None:
    described = describe(name)
    assert described["when"] and described["source"] and described["how"]
    assert WRITTEN.count(f"\n## {name}\n") == 1


def test_a_method_with_varying_bits_declares_it() -> None:
    """Results of sin, acos, exp and decompositions depend on the library."""
    declared = {name: describe(name)["reproduces"] for name in METHODS.names()}
    by_library = {name for name, where in declared.items() if where == "on one machine"}
    assert by_library == {"slerp", "nuslerp", "karcher", "arcee_fusion"}
    by_threads = {name for name, where in declared.items() if where == "with the same number of threads"}
    assert by_threads == {"tsv", "iso_c", "iso_cts", "singular_bands"}
    assert WRITTEN.count("Bit-identical only on the same machine") == len(by_library | by_threads)
