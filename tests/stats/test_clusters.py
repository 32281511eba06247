"""Intervals of values in groups."""

from __future__ import annotations

import numpy as np
import pytest

from kingyo.stats import wilson
from kingyo.stats.clusters import clustered_mean, clustered_share


def test_values_without_groups_have_wilsons_interval() -> None:
    values = [1.0] * 7 + [0.0] * 3
    alone, plain = clustered_share(values, range(10)), wilson(7, 10)
    assert alone.low <= plain.low + 1e-9 and alone.high >= plain.high - 1e-9
    assert (alone.score, alone.n) == (0.7, 10)
    sure = clustered_share([1.0] * 10, range(10))
    assert (sure.low, sure.high) == (pytest.approx(wilson(10, 10).low), 1)


def test_equal_values_of_a_group_count_once() -> None:
    values, groups = [1.0] * 14 + [0.0] * 6, [n // 2 for n in range(20)]
    pairs, once = clustered_share(values, groups), wilson(7, 10)
    assert (pairs.low, pairs.high) == pytest.approx((once.low, once.high), abs=0.02)


@pytest.mark.parametrize("bound", [clustered_share, clustered_mean])
def test_intervals_hold_their_level_in_groups(bound: object) -> None:
    held: list[bool] = []
    for seed in range(400):
        dice = np.random.default_rng(seed)
        chances = dice.beta(1.5, 1.0, 25).repeat(8)
        values = (dice.random(200) < chances).astype(float).tolist()
        interval = bound(values, np.arange(25).repeat(8).tolist())  # type: ignore[operator]
        held.append(interval.low <= 0.6 <= interval.high)
    assert np.mean(held) > 0.92


def test_one_group_tells_nothing_of_others() -> None:
    alone = clustered_mean([0.5, 0.2], ["a", "a"])
    assert (alone.low, alone.high) == (-1, 1)
