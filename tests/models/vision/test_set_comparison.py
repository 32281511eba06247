"""KID and FID by their published formulas, of all pictures and of some."""

import math
from itertools import permutations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from kingyo.models.vision.set_comparison import ComparedImages, ReferenceVectors


def vectors(n: int, seed: int, width: int = 12, shift: float = 0.0) -> np.ndarray:
    return np.maximum(np.random.default_rng(seed).normal(shift, 1, (n, width)), 0)


def compared(pictures: np.ndarray, references: np.ndarray) -> ComparedImages:
    return ComparedImages(pictures, ReferenceVectors(references))


def every(pictures: np.ndarray) -> np.ndarray:
    return np.arange(len(pictures))


def slow_kid(pictures: np.ndarray, references: np.ndarray) -> float:
    """Binkowski et al. 2018, section 3, pair by pair."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x @ y) / len(x) + 1) ** 3

    own = np.mean([kernel(x, y) for x, y in permutations(pictures, 2)])
    theirs = np.mean([kernel(x, y) for x, y in permutations(references, 2)])
    return float(own + theirs - 2 * np.mean([kernel(x, y) for x in pictures for y in references]))


def slow_fid(pictures: np.ndarray, references: np.ndarray) -> float:
    one, other = np.cov(pictures, rowvar=False), np.cov(references, rowvar=False)
    gap = pictures.mean(axis=0) - references.mean(axis=0)
    return float(gap @ gap + np.trace(one + other - 2 * sqrtm(one @ other).real))


@pytest.mark.parametrize("seed", range(3))
def test_the_measures_are_the_published_formulas(seed: int) -> None:
    x, y = vectors(40, seed), vectors(50, seed + 10, shift=0.3)
    pair = compared(x, y)
    assert pair.kid(every(x)) == pytest.approx(slow_kid(x, y), rel=1e-10)
    assert pair.fid(every(x)) == pytest.approx(slow_fid(x, y), rel=1e-6)


def test_fid_of_fewer_pictures_than_features() -> None:
    x, y = vectors(9, 1, width=20), vectors(11, 2, width=20, shift=0.2)
    one, other = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    overlap = np.sqrt(np.clip(np.linalg.eigvals(one @ other).real, 0, None)).sum()  # sqrtm fails: singular
    gap = x.mean(axis=0) - y.mean(axis=0)
    expected = gap @ gap + np.trace(one + other) - 2 * overlap
    assert compared(x, y).fid(every(x)) == pytest.approx(expected, rel=1e-4)


def test_measures_of_some_pictures() -> None:
    x, y = vectors(40, 1), vectors(50, 2, shift=0.3)
    places = np.random.default_rng(0).permutation(40)[:20]
    whole, half = compared(x, y), x[places]
    assert whole.kid(places) == pytest.approx(slow_kid(half, y), rel=1e-10)
    assert whole.fid(places) == pytest.approx(slow_fid(half, y), rel=1e-6)


def test_kid_of_halves_is_that_of_all_on_average() -> None:
    x, y = vectors(40, 3), vectors(200, 4)
    pair, generator = compared(x, y), np.random.default_rng(0)
    values = [pair.kid(generator.permutation(40)[:20]) for _ in range(2000)]
    assert np.mean(values) == pytest.approx(pair.kid(every(x)), abs=4 * np.std(values) / 2000**0.5)


def test_equal_pictures_of_different_items_are_pairs() -> None:
    """A model that draws one picture for every prompt is far from the references."""
    x, y = np.repeat(vectors(1, 7), 30, axis=0), vectors(40, 8)
    assert compared(x, y).kid(every(x)) == pytest.approx(slow_kid(x, y))


def test_references_compared_with_themselves() -> None:
    y = vectors(50, 9)
    pair = compared(y, y)
    assert pair.fid(every(y)) == pytest.approx(0, abs=1e-6)
    assert pair.kid(every(y)) < 0  # the cross term has equal pairs, the others have not


def test_one_picture_has_no_value() -> None:
    pair, one = compared(vectors(5, 1), vectors(9, 2)), np.array([3])
    assert math.isnan(pair.kid(one)) and math.isnan(pair.fid(one))


def test_references_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = vectors(30, 1), vectors(25, 2)
    before = [getattr(compared(x, y), name)(every(x)) for name in ("kid", "fid")]
    monkeypatch.setattr("kingyo.models.vision.set_comparison.BLOCK", 7)
    assert [getattr(compared(x, y), name)(every(x)) for name in ("kid", "fid")] == pytest.approx(before)
