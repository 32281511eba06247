"""Blends on another device: the same random numbers, the same bits; on a GPU where there is one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.kernels import RankedBernoulliMask, Term, WeightedSum, whole
from kingyo.kernels.device import moved
from kingyo.kernels.noise import hashes_by_torch, uniform
from kingyo.kernels.passes import running
from kingyo.kernels.work import prepare
from tests.kernels.passes import blends, few, same_bits

CPU = torch.device("cpu")
words = st.integers(0, 2**32 - 1)


@given(words, words, st.integers(0, 2**34), st.integers(0, 99))
def test_the_hash_by_torch_is_that_of_the_processor(first: int, second: int, start: int, count: int) -> None:
    halves = hashes_by_torch((first, second), start // 2, (start + count + 1) // 2, CPU)
    numbers = torch.stack((halves & 0xFFFF, halves >> 16), dim=1).reshape(-1)
    wanted = uniform((first, second), start // 2 * 2, (start + count + 1) // 2 * 2)
    assert torch.equal(numbers.float() / 65536, wanted)


@few
@given(blends())
def test_a_blend_of_copies_is_the_blend(blend: WeightedSum) -> None:
    copied: list[Tensor] = []

    def copy(tensor: Tensor) -> Tensor:
        copied.append(tensor)
        return tensor.clone()

    there = moved(blend, copy)
    assert there is not None
    assert same_bits(whole(there), whole(blend))
    tables = sum(isinstance(term.keep, RankedBernoulliMask) for term in blend.terms)
    assert len(copied) == len(blend.terms) + tables + (blend.base is not None)


def test_a_keep_of_ones_own_stays_on_the_processor() -> None:
    class Odd:
        def thin(self, delta: Tensor, span: tuple[int, int]) -> None:
            delta[span[0] % 2 :: 2] = 0.0

    term = Term(source=torch.ones(5), factor=1.0, keep=Odd())
    assert moved(WeightedSum(shape=(5,), terms=(term,)), lambda tensor: tensor) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@few
@given(blends(), st.sampled_from([torch.bfloat16, torch.float16, torch.float32]))
def test_a_gpu_gives_the_bits_of_the_processor(blend: WeightedSum, dtype: torch.dtype) -> None:
    there = moved(blend, lambda tensor: tensor.cuda())
    assert there is not None
    n = blend.n_elements
    place, wanted = torch.empty(n, dtype=dtype, device="cuda"), torch.empty(n, dtype=dtype)
    with running(compiled=True):
        is_finite = prepare(there, (0, n), place).run()
        assert prepare(blend, (0, n), wanted).run() == is_finite
    assert same_bits(place.cpu(), wanted)
