"""Intervals of values in groups."""

from __future__ import annotations

import numpy as np
import pytest

from kingyo.stats import paired_difference, wilson
from kingyo.stats.clusters import clustered_difference, clustered_share


def test_values_without_groups_have_wilsons_interval() -> None:
    values = [1.0] * 7 + [0.0] * 3
    alone, plain = clustered_share(values, range(10)), wilson(7, 10)
    assert alone.low <= plain.low + 1e-9 and alone.high >= plain.high - 1e-9
    assert (alone.score, alone.n) == (0.7, 10)


def test_equal_values_of_a_group_count_once() -> None:
    values, groups = [1.0] * 14 + [0.0] * 6, [n // 2 for n in range(20)]
    pairs, once = clustered_share(values, groups), wilson(7, 10)
    assert (pairs.low, pairs.high) == pytest.approx((once.low, once.high), abs=0.02)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_values_are_as_many_as_their_groups(value: float) -> None:
    share, once = clustered_share([value] * 30, [n // 3 for n in range(30)]), wilson(int(10 * value), 10)
    assert (share.low, share.high) == (once.low, once.high)


def test_one_group_is_one_value() -> None:
    assert clustered_share([1.0, 1.0], "aa").low == wilson(1, 1).low
    assert clustered_difference([0.5, -0.5], "aa").low < -0.7


def test_no_difference_is_not_certain() -> None:
    """As if every group were one item without a difference, which Wilson's bounds of 0 of n limit."""
    none = clustered_difference([0.0] * 60, [n // 3 for n in range(60)])
    assert (none.low, none.high) == pytest.approx((-wilson(0, 20).high, wilson(0, 20).high))
    rare = clustered_difference([0.1] + [0.0] * 59, [n // 3 for n in range(60)])
    assert rare.low < -0.05 and rare.high > 0.05


def test_differences_without_groups_are_near_those_of_paired_items() -> None:
    one, other = [1.0] * 60 + [0.0] * 40, [0.0] * 30 + [1.0] * 45 + [0.0] * 25
    plain = paired_difference([(one, other)]).interval
    alone = clustered_difference(np.subtract(one, other).tolist(), range(100))
    assert (alone.low, alone.high) == pytest.approx((plain.low, plain.high), abs=0.01)
    for sign in (1.0, -1.0):
        assert abs(clustered_difference([sign] * 10, range(10)).low) <= 1


def test_intervals_of_shares_hold_their_level_in_groups() -> None:
    held: list[bool] = []
    for seed in range(400):
        dice = np.random.default_rng(seed)
        chances = dice.beta(1.5, 1.0, 25).repeat(8)
        values = (dice.random(200) < chances).astype(float).tolist()
        interval = clustered_share(values, np.arange(25).repeat(8).tolist())
        held.append(interval.low <= 0.6 <= interval.high)
    assert np.mean(held) > 0.92


@pytest.mark.parametrize(("gains", "losses"), [(0.1, 0.0), (0.05, 0.05), (0.25, 0.1), (0.3, 0.3)])
@pytest.mark.parametrize("n_groups", [6, 20])
@pytest.mark.parametrize("alike", [0.3, 1.0])
def test_intervals_of_differences_hold_their_level_in_groups(
    gains: float, losses: float, n_groups: int, alike: float
) -> None:
    dice, held = np.random.default_rng(0), list[bool]()
    groups = np.arange(n_groups).repeat(4).tolist()
    for _ in range(300):
        shared = dice.random((n_groups, 1)), dice.random((n_groups, 4)) < alike
        place = np.where(shared[1], shared[0], dice.random((n_groups, 4))).ravel()
        values = np.where(place < gains, 1.0, np.where(place > 1 - losses, -1.0, 0.0))
        interval = clustered_difference(values.tolist(), groups)
        held.append(interval.low - 1e-9 <= gains - losses <= interval.high + 1e-9)
    assert np.mean(held) > 0.92
