"""Counts of entries that vary between sources."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kingyo.kernels.order_statistics import count_varied

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
