"""KID, FID, precision and recall by their published formulas; repeated pictures are not their own pairs."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from kingyo.vision.set_comparison import ComparedPictures, ReferenceVectors

K = 3


def vectors(n: int, seed: int, width: int = 12, shift: float = 0.0) -> np.ndarray:
    return np.maximum(np.random.default_rng(seed).normal(shift, 1, (n, width)), 0)


def compared(pictures: np.ndarray, references: np.ndarray, k: int = K) -> ComparedPictures:
    return ComparedPictures(pictures, ReferenceVectors(references, k))


def once(pictures: np.ndarray) -> np.ndarray:
    return np.ones(len(pictures), dtype=np.int64)


def slow_kid(pictures: np.ndarray, references: np.ndarray) -> float:
    """Binkowski et al. 2018, section 3, pair by pair."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x @ y) / len(x) + 1) ** 3

    own = np.mean([kernel(x, y) for x, y in permutations(pictures, 2)])
    theirs = np.mean([kernel(x, y) for x, y in permutations(references, 2)])
    return float(own + theirs - 2 * np.mean([kernel(x, y) for x in pictures for y in references]))


def slow_fid(pictures: np.ndarray, references: np.ndarray) -> float:
    """Heusel et al. 2017, with the root of a matrix."""
    one, other = np.cov(pictures, rowvar=False), np.cov(references, rowvar=False)
    gap = pictures.mean(axis=0) - references.mean(axis=0)
    return float(gap @ gap + np.trace(one + other - 2 * sqrtm(one @ other).real))


def slow_share(inside: np.ndarray, among: np.ndarray) -> float:
    """Kynkaanniemi et al. 2019, equations 1 and 2: the share of ``inside`` in the manifold of ``among``."""
    radii = [sorted(np.linalg.norm(among - each, axis=1))[K] for each in among]
    gaps = np.linalg.norm(inside[:, None] - among, axis=-1)
    return float(
        np.mean([any(gap <= radius for gap, radius in zip(row, radii, strict=True)) for row in gaps])
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_measures_are_the_published_formulas(seed: int) -> None:
    x, y = vectors(40, seed), vectors(50, seed + 10, shift=0.3)
    pair = compared(x, y)
    assert pair.kid(once(x)) == pytest.approx(slow_kid(x, y), rel=1e-10)
    assert pair.fid(once(x)) == pytest.approx(slow_fid(x, y), rel=1e-6)
    assert pair.precision(once(x)) == slow_share(x, y)
    assert pair.recall(once(x)) == slow_share(y, x)
    assert 0 < slow_share(y, x) < 1


def test_fid_of_fewer_pictures_than_features() -> None:
    x, y = vectors(9, 1, width=20), vectors(11, 2, width=20, shift=0.2)
    one, other = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    overlap = np.sqrt(np.clip(np.linalg.eigvals(one @ other).real, 0, None)).sum()  # sqrtm fails: singular
    gap = x.mean(axis=0) - y.mean(axis=0)
    expected = gap @ gap + np.trace(one + other) - 2 * overlap
    assert compared(x, y).fid(once(x)) == pytest.approx(expected, rel=1e-4)


def test_fid_of_a_sample_is_that_of_its_pictures_with_their_repetitions() -> None:
    x, y = vectors(30, 1), vectors(40, 2)
    counts = np.bincount(np.random.default_rng(0).integers(30, size=30), minlength=30)
    drawn = np.repeat(x, counts, axis=0)
    assert compared(x, y).fid(counts) == pytest.approx(slow_fid(drawn, y), rel=1e-6)
    assert compared(x, y).precision(counts) == pytest.approx(slow_share(drawn, y))


def test_kid_of_samples_is_as_large_as_kid_on_average() -> None:
    """Equal pairs would add more than two of its standard deviations."""
    x, y = vectors(40, 3), vectors(200, 4)
    pair, generator = compared(x, y), np.random.default_rng(0)
    samples = [np.bincount(generator.integers(40, size=40), minlength=40) for _ in range(2000)]
    values = [pair.kid(counts) for counts in samples]
    error = np.std(values) / math.sqrt(len(values))
    assert np.mean(values) == pytest.approx(pair.kid(once(x)), abs=4 * error)
    with_equal_pairs = [slow_own(x, counts) - slow_own_of_others(x, counts) for counts in samples[:50]]
    assert np.mean(with_equal_pairs) > 2 * np.std(values)


def slow_own(x: np.ndarray, counts: np.ndarray) -> float:
    drawn = np.repeat(x, counts, axis=0)
    kernel = (drawn @ drawn.T / x.shape[1] + 1) ** 3
    return float((kernel.sum() - np.trace(kernel)) / (len(drawn) * (len(drawn) - 1)))


def slow_own_of_others(x: np.ndarray, counts: np.ndarray) -> float:
    kernel = (x @ x.T / x.shape[1] + 1) ** 3
    pairs = np.outer(counts, counts) - np.diag(counts**2)
    return float((kernel * pairs).sum() / pairs.sum())


def test_a_repeated_picture_is_not_its_own_neighbour() -> None:
    x, y = vectors(20, 5), vectors(60, 6)
    counts = np.zeros(20, dtype=np.int64)
    counts[:10] = 2
    assert compared(x, y).recall(counts) == compared(x[:10], y).recall(once(x[:10]))
    assert compared(x, y).recall(counts) > slow_share(y, np.repeat(x[:10], 2, axis=0))


def test_equal_pictures_of_different_items_are_pairs() -> None:
    """A model that draws one picture for every prompt is far from the references."""
    x, y = np.repeat(vectors(1, 7), 30, axis=0), vectors(40, 8)
    assert compared(x, y).kid(once(x)) == pytest.approx(slow_kid(x, y))
    assert compared(x, y).recall(once(x)) == 0


def test_references_compared_with_themselves() -> None:
    y = vectors(50, 9)
    pair = compared(y, y)
    assert pair.fid(once(y)) == pytest.approx(0, abs=1e-6)
    assert pair.precision(once(y)) == pair.recall(once(y)) == 1
    assert pair.kid(once(y)) < 0  # the cross term has equal pairs, the others have not


def test_a_sample_of_one_picture_has_no_value() -> None:
    x, y = vectors(5, 1), vectors(9, 2)
    counts = np.array([5, 0, 0, 0, 0])
    pair = compared(x, y)
    assert math.isnan(pair.kid(counts)) and math.isnan(pair.fid(counts)) and math.isnan(pair.recall(counts))
    assert pair.precision(counts) in (0, 1)


def test_references_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = vectors(30, 1), vectors(25, 2)
    before = [getattr(compared(x, y), name)(once(x)) for name in ("kid", "precision")]
    monkeypatch.setattr("kingyo.vision.set_comparison.BLOCK", 7)
    assert [getattr(compared(x, y), name)(once(x)) for name in ("kid", "precision")] == pytest.approx(before)
