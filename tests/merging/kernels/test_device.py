"""Weighted sums on another device: the same random numbers and bits; on a GPU if there is one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.merging.kernels import RankedBernoulliMask, Term, WeightedSum, to_tensor
from kingyo.merging.kernels.threads import execution
from kingyo.merging.kernels.writing import prepare
from tests.merging.kernels.sums import Odd, few, same_bits, weighted_sums


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
