"""Counts of entries that vary between sources, and the cache of statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kingyo.merging.kernels.order_statistics import count_varied
from kingyo.merging.kernels.statistics_cache import TensorStats, memory_size

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
