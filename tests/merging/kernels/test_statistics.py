"""Counts of entries that vary, the cache of statistics, and sums on another device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.merging.kernels import RankedBernoulliMask, Term, WeightedSum, to_tensor
from kingyo.merging.kernels.order_statistics import count_varied
from kingyo.merging.kernels.statistics_cache import TensorStats, memory_size
from kingyo.merging.kernels.threads import execution
from kingyo.merging.kernels.writing import prepare
from tests.merging.kernels.sums import Odd, few, same_bits, weighted_sums

entries = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5])


@pytest.mark.parametrize(
    "dtypes",
    [[torch.bfloat16] * 3, [torch.float16] * 3, [torch.float32] * 3, [torch.bfloat16, torch.float32]],
)
@given(st.data())
def test_entries_vary_where_numbers_differ(dtypes: list[torch.dtype], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 50))
    numbers = [data.draw(st.lists(entries, min_size=n, max_size=n)) for _ in dtypes]
    sources = [torch.tensor(each).to(dtype) for each, dtype in zip(numbers, dtypes, strict=True)]
    assert count_varied(sources) == sum(len(set(column)) > 1 for column in zip(*numbers, strict=True))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), max_size=40), st.integers(0, 800))
def test_the_cache_keeps_its_bound(writes: list[tuple[int, int]], limit: int) -> None:
    stats = TensorStats(limit)
    for name, length in writes:
        stats.put(str(name), np.full(length, name, dtype=np.float64))
        kept = [stored for each in range(10) if (stored := stats.get(str(each))) is not None]
        assert stats.n_bytes == sum(fact.nbytes for fact in kept) <= limit
        assert stats.has_room(limit // 4) or stats.n_bytes > limit // 2
    for name in range(10):
        stored = stats.get(str(name))
        assert stored is None or set(stored.tolist()) <= {float(name)}


def test_a_container_may_have_less_than_the_machine(tmp_path: Path) -> None:
    machine_memory = memory_size([])
    assert machine_memory > 1 << 28
    for content, expected in (
        ("max\n", machine_memory),
        ("1048576\n", 1 << 20),
        (f"{2**63}\n", machine_memory),
    ):
        (tmp_path / "limit").write_text(content)
        assert memory_size([tmp_path / "absent", tmp_path / "limit"]) == expected


@few
@given(weighted_sums())
def test_a_sum_of_copies_is_the_sum(weighted: WeightedSum) -> None:
    copied: list[Tensor] = []

    def copy(tensor: Tensor) -> Tensor:
        copied.append(tensor)
        return tensor.clone()

    there = weighted.on_device(copy)
    assert there is not None
    assert same_bits(to_tensor(there), to_tensor(weighted))
    tables = sum(isinstance(term.mask, RankedBernoulliMask) for term in weighted.terms)
    assert len(copied) == len(weighted.terms) + tables + (weighted.base is not None)


def test_a_users_mask_stays_on_the_processor() -> None:
    term = Term(source=torch.ones(5), factor=1.0, mask=Odd())
    assert WeightedSum(shape=(5,), terms=(term,)).on_device(lambda tensor: tensor) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@few
@given(weighted_sums(), st.sampled_from([torch.bfloat16, torch.float16, torch.float32]))
def test_a_gpu_gives_the_bits_of_the_processor(weighted: WeightedSum, dtype: torch.dtype) -> None:
    there = weighted.on_device(lambda tensor: tensor.cuda())
    assert there is not None
    n = weighted.n_elements
    place, expected = torch.empty(n, dtype=dtype, device="cuda"), torch.empty(n, dtype=dtype)
    with execution(compiled=True):
        is_finite = prepare(there, (0, n), place).run()
        assert prepare(weighted, (0, n), expected).run() == is_finite
    assert same_bits(place.cpu(), expected)
