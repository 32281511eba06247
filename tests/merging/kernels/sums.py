"""Hypothesis strategies for weighted sums, masks and tensors."""

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from kingyo.merging.kernels import (
    BernoulliMask,
    MagnitudeMask,
    Mask,
    RankedBernoulliMask,
    Term,
    Threshold,
    WeightedSum,
)
from tests.slow import THOROUGH

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
lengths = st.sampled_from([1, 2, 15, 16, 17, 31, 33, 100, 1000, 32768, 32769, 70_000, 600_000])
few = settings(max_examples=25, deadline=None, derandomize=not THOROUGH)
"""Other examples only with ``make test-all``: the loops of the same sums are in numba's cache."""


def same_bits(got: Tensor, expected: Tensor) -> bool:
    integers = torch.int32 if got.dtype == torch.float32 else torch.int16
    return torch.equal(got.view(integers), expected.view(integers))


def make(seed: int, n: int, count: int, dtypes: list[torch.dtype]) -> tuple[list[Tensor], Tensor]:
    """Return sources near a base, and the base, with equal entries and zeros among them."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(n, generator=generator).mul_(0.02)
    base[torch.rand(n, generator=generator) < 0.05] = 0.0
    sources = []
    for dtype in dtypes[:count]:
        delta = torch.randint(-20, 21, (n,), generator=generator) * 0.001
        sources.append((base + delta).to(dtype))
    return sources, base.to(dtypes[-1])


class Odd:
    """A user's mask."""

    def apply(self, delta: Tensor, span: tuple[int, int]) -> None:
        delta[span[0] % 2 :: 2] = 0.0


@st.composite
def masks(draw: st.DrawFn, n: int) -> Mask | None:
    kind = draw(st.sampled_from(["all", "low", "band", "chance", "ranked", "inverse"]))
    key = (draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 2**32 - 1)))
    if kind == "all":
        return None
    thresholds = [
        Threshold(least=draw(st.sampled_from([0.0, 0.004, 0.01, 0.5])), before=draw(st.integers(0, n)))
        for _ in range(2)
    ]
    if kind == "low":
        return MagnitudeMask(low=thresholds[0])
    if kind == "band":
        return MagnitudeMask(low=draw(st.sampled_from([None, thresholds[0]])), high=thresholds[1])
    if kind == "chance":
        return BernoulliMask(key=key, density=draw(st.floats(0, 1)))
    dtype = draw(st.sampled_from([np.int32, np.uint16] if n < 65536 else [np.int32]))
    ranks = np.arange(n, dtype=np.int32)[::-1].astype(dtype)
    return RankedBernoulliMask(
        key=key, ranks=ranks, least=draw(st.floats(0, 0.5)), step=0.5 / n, inverse=kind == "inverse"
    )


@st.composite
def weighted_sums(draw: st.DrawFn) -> WeightedSum:
    n, count = draw(lengths), draw(st.integers(1, 3))
    dtypes = draw(st.lists(st.sampled_from(DTYPES), min_size=count + 1, max_size=count + 1))
    sources, base = make(draw(st.integers(0, 5)), n, count, dtypes)
    numbers = st.floats(-2, 2, width=32)
    terms = tuple(
        Term(source=source, factor=draw(numbers), share=draw(numbers), mask=draw(masks(n)))
        for source in sources
    )
    selected = Threshold(least=draw(st.sampled_from([0.0, 1e-4])), before=draw(st.integers(0, n)))
    return WeightedSum(
        shape=(n,),
        terms=terms,
        base=draw(st.sampled_from([base, None])),
        scale=draw(numbers),
        elect=draw(st.booleans()),
        equal_votes=draw(st.booleans()),
        normalize=draw(st.booleans()),
        most_varied=draw(st.sampled_from([None, selected])),
    )
