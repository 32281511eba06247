"""Methods on singular values, compared with their papers' definitions in numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.kernels import Lazy, to_tensor
from kingyo.methods import METHODS, merge_tensor
from tests.methods import definitions
from tests.methods.definitions import Vector
from tests.methods.drawn import CONTEXT, assert_close, run, values, wide

Definition = Callable[[Sequence[Vector], Sequence[float]], Vector]
DEFINITIONS: dict[str, Definition] = {
    "tsv": definitions.tsv,
    "iso_c": definitions.iso_c,
    "iso_cts": lambda deltas, weights: definitions.iso_cts(deltas, weights, 0.8),
}


def matrices(shape: tuple[int, ...], n: int, seed: int = 0, rank: int | None = None) -> list[Tensor]:
    """Return a base and n sources with task vectors of a rank."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    if rank is None:
        return [base, *(base + torch.randn(shape, generator=generator) for _ in range(n))]
    rows, columns = shape
    parts = [
        torch.randn(rows, rank, generator=generator) @ torch.randn(rank, columns, generator=generator)
        for _ in range(n)
    ]
    return [base, *(base + part for part in parts)]


@pytest.mark.parametrize("method", DEFINITIONS)
@given(
    st.sampled_from([(4, 4), (5, 9), (9, 5), (80, 6), (6, 80), (41, 40)]),
    st.integers(1, 3),
    st.sampled_from([0.5, 1.0]),
    st.integers(0, 99),
)
def test_full_rank_is_as_in_the_paper(
    method: str, shape: tuple[int, int], n: int, lam: float, seed: int
) -> None:
    base, *sources = matrices(shape, n, seed)
    weights = [1.0, 0.5, 1.5][:n]
    merged = run(method, sources, base, weight=weights, **{"lambda": lam})
    first, *others = wide([base, *sources])
    expected = first + lam * DEFINITIONS[method]([other - first for other in others], weights)
    assert_close(merged, expected, 2e-4)


@pytest.mark.parametrize("method", DEFINITIONS)
def test_non_matrices_are_averaged(method: str) -> None:
    for shape in ((7,), (), (2, 3, 4), (1, 9), (2, 9)):
        base, *sources = matrices(shape, 3)
        merged = run(method, sources, base, **{"lambda": 0.5})
        torch.testing.assert_close(merged, base + 0.5 * (sum(sources) / 3 - base))
    base, *sources = matrices((8, 9), 3)
    torch.testing.assert_close(run(method, sources, base, spectral=False), sum(sources) / 3)


@pytest.mark.parametrize("method", DEFINITIONS)
@pytest.mark.parametrize("rank", [1, 3, 12])
def test_tall_matrices_are_merged_like_small_ones(method: str, rank: int) -> None:
    """Rows of zeros do not change the result; they only make the matrix too tall to decompose."""
    small = matrices((40, 12), 2, rank=rank)
    tall = [torch.cat([each, torch.zeros(400, 12)]) for each in small]
    result = merge_tensor(METHODS.get(method), tall[1:], tall[0], values(method, 2), CONTEXT)
    assert isinstance(result, Lazy)
    merged = to_tensor(result)
    torch.testing.assert_close(merged[:40], run(method, small[1:], small[0]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(merged[40:], torch.zeros(400, 12), rtol=0, atol=1e-5)
    if method != "iso_cts":  # it projects only from the left
        turned = run(method, [each.t() for each in tall[1:]], tall[0].t())
        torch.testing.assert_close(turned.t(), merged, rtol=1e-4, atol=1e-4)


def test_a_single_source_is_unchanged_by_singular_vectors() -> None:
    base, source = matrices((9, 7), 1)
    torch.testing.assert_close(run("tsv", [source], base), source, rtol=1e-5, atol=1e-5)


def test_equal_low_rank_sources_give_the_source() -> None:
    """Equal sources do not interfere, and there are no arbitrary directions."""
    base, source = matrices((20, 16), 1, rank=3)
    merged = run("tsv", [source, source], base)
    torch.testing.assert_close(merged, source, rtol=1e-4, atol=1e-4)


def test_orthogonal_sources_do_not_interfere() -> None:
    base = torch.zeros(8, 8)
    one, two = base.clone(), base.clone()
    one[0, 0], one[1, 1], two[2, 2], two[3, 3] = 4.0, 3.0, 2.0, 1.0
    torch.testing.assert_close(run("tsv", [one, two], base), one + two)


def test_isotropic_directions_are_equally_long() -> None:
    base, *sources = matrices((30, 20), 3)
    for method, n in (
        ("iso_c", 20),
        ("iso_cts", 16 + 3),
    ):  # three tasks share the remaining 4 of 20 directions: one each
        sizes = torch.linalg.svdvals(run(method, sources, base) - base)[:n]
        torch.testing.assert_close(sizes, sizes.mean().expand(n), rtol=1e-4, atol=0)
    low, *sources = matrices((30, 20), 2, rank=2)
    sizes = torch.linalg.svdvals(run("iso_c", sources, low) - low)
    torch.testing.assert_close(sizes[:4], sizes[:4].mean().expand(4), rtol=1e-4, atol=0)
    assert float(sizes[4]) < 1e-4 * float(sizes[0])


@pytest.mark.parametrize("method", DEFINITIONS)
def test_unchanged_matrices_stay(method: str) -> None:
    for shape in ((9, 7), (7, 9), (300, 7)):
        base = torch.randn(shape)
        assert torch.equal(run(method, [base.clone(), base.clone()], base), base)


@pytest.mark.parametrize("method", DEFINITIONS)
def test_half_of_the_sources_unchanged(method: str) -> None:
    base, source, _ = matrices((20, 12), 2)
    merged = run(method, [source, base.clone()], base)
    assert bool(torch.isfinite(merged).all()) and not torch.equal(merged, base)
    np.testing.assert_array_less(float((merged - base).norm()), 1.5 * float((source - base).norm()))
