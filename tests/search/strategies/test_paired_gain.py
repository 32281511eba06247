"""Paired gains have honest intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.search.strategies.source_changes import Gain, paired_gain


def test_a_paired_gain_by_hand() -> None:
    gain = paired_gain([1, 1, 0, 1, 0.5], [0, 1, 0, 0, 1])
    gaps = [1, 0, 0, 1, -0.5]
    variance = sum((gap - 0.3) ** 2 for gap in gaps) / 4 / 5 + 0.25 / 25
    assert gain.mean == pytest.approx(0.3) and gain.n == 5
    assert gain.error == pytest.approx(variance**0.5)
    bounds, t_of_4 = gain.interval, 2.7764451
    assert (bounds.score, bounds.high) == (gain.mean, 1) and bounds.n_groups == 0
    assert bounds.score - bounds.low == pytest.approx(t_of_4 * gain.error)


def test_without_items_nothing_is_known() -> None:
    assert paired_gain([], []) == Gain.normal(0.0, 1.0)


def test_equal_scores_are_not_certain() -> None:
    errors = [paired_gain([1.0] * n, [1.0] * n).error for n in (1, 4, 24, 200)]
    assert errors == sorted(errors, reverse=True) and errors[0] > 0.3 and errors[-1] > 0
    assert paired_gain([0.0] * 24, [0.0] * 24) == paired_gain([1.0] * 24, [1.0] * 24)


scores = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40)


@given(pairs=scores, shift=st.floats(-0.5, 0.5))
def test_swap_order_and_shift(pairs: list[tuple[float, float]], shift: float) -> None:
    one, other = zip(*pairs, strict=True)
    gain = paired_gain(one, other)
    swapped, reversed_ = paired_gain(other, one), paired_gain(one[::-1], other[::-1])
    shifted = paired_gain([each + shift for each in one], [each + shift for each in other])
    assert swapped.mean == -gain.mean and swapped.error == pytest.approx(gain.error)
    for each in (reversed_, shifted):
        assert each.mean == pytest.approx(gain.mean, abs=1e-9)
        assert each.error == pytest.approx(gain.error, abs=1e-9)
    assert 0 < gain.error < 1


@pytest.mark.parametrize("n_groups", [6, 20])
def test_intervals_of_gains_on_a_few_groups_cover_the_truth(n_groups: int) -> None:
    """Two equal models answer four pictures of each prompt, of which some are easier for one of them."""
    chance, draws, hits = np.random.default_rng(0), 500, 0
    labels = [f"prompt {i // 4}" for i in range(4 * n_groups)]
    for _ in range(draws):
        easy = np.repeat(chance.normal(scale=2, size=(2, n_groups)), 4, axis=1)
        one, other = (chance.random(easy.shape) < 1 / (1 + np.exp(-easy))).astype(float).tolist()
        bounds = paired_gain(one, other, labels).interval
        hits += bounds.low <= 0 <= bounds.high
    assert (bounds.n, bounds.n_groups) == (4 * n_groups, n_groups)
    assert hits / draws >= 0.94


@pytest.mark.parametrize("n", [24, 48, 96, 200])
@pytest.mark.parametrize(
    ("wins", "losses", "least"),
    [
        (0.0, 0.0, 1.0),
        (0.02, 0.0, 0.85),  # if none of few wins is drawn, the interval is too short
        (0.1, 0.05, 0.93),
        (0.3, 0.1, 0.94),
        (0.2, 0.2, 0.94),
        (0.9, 0.02, 0.9),
    ],
)
def test_intervals_of_paired_gains_cover_the_truth(n: int, wins: float, losses: float, least: float) -> None:
    """On n items drawn at random, one wins some, the other some, and they agree on the rest."""
    chance, draws = np.random.default_rng(1), 2000
    gaps = chance.choice([1.0, -1.0, 0.0], size=(draws, n), p=[wins, losses, 1 - wins - losses])
    hits = 0
    for row in gaps:
        bounds = paired_gain((row > 0).astype(float).tolist(), (row < 0).astype(float).tolist()).interval
        hits += bounds.low <= wins - losses <= bounds.high
    assert least <= hits / draws
