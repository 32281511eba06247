"""Rank correlation equals SciPy's, with ties, and its interval covers the true one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from kingyo.stats.paired import rank_correlation

pairs = st.lists(st.tuples(st.integers(-3, 3), st.floats(-100, 100)), min_size=4, max_size=30)


@given(pairs=pairs)
def test_it_equals_scipy_with_ties(pairs: list[tuple[int, float]]) -> None:
    xs, ys = zip(*pairs, strict=True)
    assume(len(set(xs)) > 1 and len(set(ys)) > 1)
    found = rank_correlation(xs, ys)
    assert found is not None and found.n == len(pairs)
    assert found.value == pytest.approx(float(np.asarray(spearmanr(xs, ys))[0]), abs=1e-9)
    assert -1 <= found.low <= found.value <= found.high <= 1


@given(pairs=pairs)
def test_symmetry_sign_and_monotone_changes(pairs: list[tuple[int, float]]) -> None:
    xs, ys = zip(*pairs, strict=True)
    assume(len(set(xs)) > 1 and len(set(ys)) > 1)
    found, swapped = rank_correlation(xs, ys), rank_correlation(ys, xs)
    mirrored, stretched = rank_correlation([-x for x in xs], ys), rank_correlation([x**3 + x for x in xs], ys)
    assert found is not None and mirrored is not None
    assert found == stretched
    assert swapped is not None and (swapped.low, swapped.high) == pytest.approx((found.low, found.high))
    assert mirrored.value == pytest.approx(-found.value, abs=1e-9)
    assert mirrored.low == pytest.approx(-found.high, abs=1e-9)


@pytest.mark.parametrize(
    ("xs", "ys"), [([], []), ([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1], [1, 2, 3, 4]), ([1, 2, 3, 4], [0] * 4)]
)
def test_without_a_correlation(xs: list[float], ys: list[float]) -> None:
    assert rank_correlation(xs, ys) is None


@pytest.mark.parametrize(("ys", "value"), [([1, 2, 3, 4, 5], 1.0), ([5, 4, 3, 2, 1], -1.0)])
def test_a_perfect_order_has_an_interval(ys: list[float], value: float) -> None:
    found = rank_correlation([1, 2, 3, 4, 5], ys)
    assert found is not None and found.value == value
    assert found.low <= value <= found.high
    assert found.low < 0 < found.high, (
        "five pairs are in this order by chance in one of sixty cases, either way"
    )


def test_bonett_and_wright_by_hand() -> None:
    found = rank_correlation([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5])
    assert found is not None
    centre, half = np.arctanh(found.value), 1.96 * np.sqrt((1 + found.value**2 / 2) / 3)
    assert found.value == pytest.approx(1 - 6 * 6 / (6 * 35))
    assert (found.low, found.high) == pytest.approx((np.tanh(centre - half), np.tanh(centre + half)))


@pytest.mark.parametrize("truth", [0.0, 0.3, 0.6, 0.8])
@pytest.mark.parametrize("n", [10, 20, 60])
def test_coverage(n: int, truth: float) -> None:
    """For normal pairs with the correlation r, Spearman's is 6/π arcsin(r/2)."""
    chance, draws = np.random.default_rng([n, round(10 * truth)]), 1500
    rank = 6 / np.pi * np.arcsin(truth / 2)
    hits = 0
    for _ in range(draws):
        xs, noise = chance.normal(size=(2, n))
        found = rank_correlation(xs.tolist(), (truth * xs + np.sqrt(1 - truth**2) * noise).tolist())
        assert found is not None
        hits += found.low <= rank <= found.high
    assert 0.925 <= hits / draws <= 0.985
