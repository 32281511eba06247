"""Frequencies of the three selections against the probabilities that define them."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from random import Random

import pytest

from kingyo.strategies.selection import Selection, pick_pair, rank, roulette, tournament

DRAWS = 20_000


def frequencies(select: Selection, scores: Sequence[float]) -> list[float]:
    rng = Random(0)
    samples = [select(scores, rng) for _ in range(DRAWS)]
    return [samples.count(index) / DRAWS for index in range(len(scores))]


def close(expected: Sequence[float]) -> object:
    return pytest.approx(expected, abs=0.015)  # more than 4 standard deviations


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((1, 2, 3, 4), (0.1, 0.2, 0.3, 0.4)),
        ((0, 3, 1), (0, 0.75, 0.25)),
        ((0, 0, 0, 0), (0.25, 0.25, 0.25, 0.25)),
        ((0.5, 0.5), (0.5, 0.5)),
        ((-3, -1, 1), (0, 1 / 3, 2 / 3)),
        ((-2, -2), (0.5, 0.5)),
        ((7,), (1,)),
    ],
)
def test_roulette(scores: Sequence[float], expected: Sequence[float]) -> None:
    assert frequencies(roulette, scores) == close(expected)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.1, 0.2, 100), (1 / 6, 2 / 6, 3 / 6)),
        ((-5, 30, 8, 7), (0.1, 0.4, 0.3, 0.2)),
        ((1, 1, 1), (1 / 3, 1 / 3, 1 / 3)),
        ((1, 2, 2), (1 / 6, 2.5 / 6, 2.5 / 6)),
    ],
)
def test_rank(scores: Sequence[float], expected: Sequence[float]) -> None:
    assert frequencies(rank, scores) == close(expected)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_tournament(size: int) -> None:
    """The i-th worst of N wins when the other k - 1 are drawn from the i - 1 below it."""
    scores = (0.4, -1, 0.9, 0.5, 7)
    k = min(size, 5)
    place = [sorted(scores).index(score) for score in scores]
    expected = [comb(below, k - 1) / comb(5, k) for below in place]
    assert frequencies(tournament(size), scores) == close(expected)


def test_equals_win_a_tournament_equally_often() -> None:
    assert frequencies(tournament(2), (1, 1, 1)) == close((1 / 3, 1 / 3, 1 / 3))


@pytest.mark.parametrize("select", [roulette, rank, tournament(3)])
def test_a_pair_is_two_different_candidates(select: Selection) -> None:
    rng = Random(0)
    pairs = [pick_pair((0, 0, 5, 0), select, rng) for _ in range(500)]
    assert all(one != two and {one, two} <= {0, 1, 2, 3} for one, two in pairs)
    assert {two for _, two in pairs} >= {0, 1, 3}


def test_a_pair_needs_two() -> None:
    with pytest.raises(ValueError, match="received 1"):
        pick_pair((1.0,), rank, Random(0))
