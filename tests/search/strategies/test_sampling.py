"""Samples of points as arrays have the documented distribution."""

import itertools

import numpy as np

from kingyo.core.types import Axis
from kingyo.search.strategies.sampling import PointSampler


def weights(n_sources: int, n_blocks: int = 1, high: float = 1.5) -> list[Axis]:
    return [
        Axis(name=f"weight/s{k}/b{b}", low=0.0, high=high, family=f"weight/s{k}", neutral=0.0)
        for k in range(n_sources)
        for b in range(n_blocks)
    ]


def test_mixtures_have_moderate_sums_for_any_number_of_sources() -> None:
    for n in (2, 3, 8):
        points = PointSampler(weights(n)).mixtures(400, np.random.default_rng(0))
        sums = points.sum(axis=1)
        assert sums.min() > 0.3
        assert sums.max() < 2.001
        assert 0.8 < np.median(sums) < 1.2


def test_first_mixtures_combine_every_pair_then_all_sources() -> None:
    """Halves that are drawn greedily need few more than the covering number, which is 6 for C(8, 4, 2)."""
    for n, most in ((3, 3), (4, 8), (5, 6), (8, 10)):
        points = PointSampler(weights(n)).initial_mixtures(12, np.random.default_rng(n))
        sizes = np.count_nonzero(points, axis=1)
        halves = sizes == (n + 1) // 2
        assert halves.sum() <= most
        assert np.all(sizes[halves.sum() :] == n), "the halves come first"
        together = (points[halves] > 0).T.astype(int) @ (points[halves] > 0)
        assert together.min() >= 1


def test_bold_mixtures_use_all_or_half_of_the_sources() -> None:
    for n, half in ((1, 1), (2, 2), (3, 2), (8, 4)):
        series = PointSampler(weights(n, high=9)).bold_mixtures(np.random.default_rng(n))
        points = np.array(list(itertools.islice(series, 300)))
        assert np.all(np.count_nonzero(points, axis=1) == [half, n] * 150)
        even = points.sum(axis=1) / np.sqrt([half, n] * 150)
        assert 0.59 < even.min() < 0.62 and 1.37 < even.max() < 1.41


def test_pruned_points_lose_some_sources_and_change_in_strength() -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(0.1, 0.4, (400, 4, 2))
    before[:, 3] = 0
    after = PointSampler(weights(4, 2)).pruned(before.reshape(400, 8), rng).reshape(400, 4, 2)
    left = after.sum(axis=2) > 0
    assert np.array_equal(np.unique(left.sum(axis=1)), [1, 2, 3])
    for row in range(400):
        kept = np.flatnonzero(left[row])
        growth = after[row, kept] / before[row, kept]
        assert np.ptp(growth) < 1e-4, "together"
    strength = np.linalg.norm(after.mean(axis=2), axis=1) / np.linalg.norm(before.mean(axis=2), axis=1)
    assert 0.75 < np.median(strength) < 1 and 0.2 < strength.min() < 0.6 and 1.2 < strength.max() < 2.5
    signed = np.where(rng.random((200, 8)) < 0.5, -1.0, 1.0)
    both_ways = [
        Axis(name=axis.name, low=-1, high=1, family=axis.family, neutral=0.0) for axis in weights(4, 2)
    ]
    assert np.isfinite(PointSampler(both_ways).pruned(signed, rng)).all(), "weights of a source may cancel"
    alone = np.array([[0.5, 0.5, 0, 0], [0.0, 0, 0, 0]])
    assert np.allclose(PointSampler(weights(2, 2)).pruned(alone, rng), alone, atol=1e-6), (
        "nothing to leave out"
    )


def test_points_are_apart_by_one_float_or_by_any_whole_number() -> None:
    sampler = PointSampler(
        [
            Axis(name="w", low=0, high=2),
            Axis(name="layers", low=0, high=100, kind="int"),
            Axis(name="x", low=0, high=1),
        ]
    )
    known = np.array([[1.0, 50, 0.5]])
    points = np.array([[1.0, 50, 0.5], [1.1, 50, 0.52], [1.21, 50, 0.5], [1.0, 51, 0.5]])
    assert sampler.differ(points, known, 0.1).tolist() == [False, False, True, True]
    assert sampler.differ(points, known[:0], 0.1).all()


def test_bounds_hold_and_other_axes_are_drawn_uniformly() -> None:
    axes = [
        *weights(2, high=0.6),
        Axis(name="density", low=0.2, high=1.0),
        Axis(name="on", low=0, high=1, kind="binary"),
    ]
    points = PointSampler(axes).mixtures(200, np.random.default_rng(3))
    assert points[:, :2].max() <= 0.6
    assert points[:, 2].min() >= 0.2
    assert abs(points[:, 2].mean() - 0.6) < 0.05
    assert set(points[:, 3]) == {0.0, 1.0}
