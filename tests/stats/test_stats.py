"""Known values, edge cases, and coverage by simulation."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from kingyo.errors import KingyoError
from kingyo.stats import (
    bounded_mean,
    interval,
    mcnemar,
    mean_of_runs,
    means,
    paired_difference,
    sign_flips,
    wilson,
)
from tests.slow import slow


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_known_values(successes: int, n: int, low: float, high: float) -> None:
    result = wilson(successes, n)
    assert (result.low, result.high) == pytest.approx((low, high), abs=5e-5)
    assert (result.score, result.n) == (successes / n, n)


def test_interval_chooses_by_the_scores() -> None:
    assert interval([1, 0, 1, 1]) == wilson(3, 4)
    graded = interval([0.2, 0.4, 0.9, 1.0], seed=3)
    assert graded == bounded_mean([0.2, 0.4, 0.9, 1.0], seed=3) != interval([0.2, 0.4, 0.9, 1.0], seed=4)


@pytest.mark.parametrize(("right", "n"), [(8, 10), (0, 10), (10, 10), (81, 263)])
def test_gaffke_of_right_or_wrong_scores_is_clopper_pearson(right: int, n: int) -> None:
    """The mean of 0/1 scores with such weights has a beta distribution."""
    result = bounded_mean([1.0] * right + [0.0] * (n - right))

    def tail(p: float, least: int) -> float:
        return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(least, n + 1))

    if right:
        assert tail(result.low, right) == pytest.approx(0.025, abs=0.005)
    if right < n:
        assert 1 - tail(result.high, right + 1) == pytest.approx(0.025, abs=0.005)
    assert (right > 0 or result.low == 0.0) and (right < n or result.high == 1.0)


@pytest.mark.parametrize("scores", [[], [math.nan, 1.0], [math.inf]])
def test_scores_are_finite_and_not_none_at_all(scores: list[float]) -> None:
    with pytest.raises(KingyoError, match="finite"):
        interval(scores)


def test_newcombe_known_values() -> None:
    """Newcombe 1998, table II, method 10: cells (e, f, g, h) and the published interval."""
    for cells, low, high in [
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((54, 0, 0, 0), -0.0664, 0.0664),
        ((1, 97, 1, 1), 0.8737, 0.9850),
    ]:
        a, b = _table(*cells)
        result = paired_difference([(a, b)]).interval
        assert (result.low, result.high) == pytest.approx((low, high), abs=5e-4), cells


@pytest.mark.parametrize("n", [1, 10, 300])
def test_equal_graded_scores_leave_uncertainty(n: int) -> None:
    """As much as Clopper and Pearson leave at their edges: none of n is other than the rest."""
    left = 1 - 0.025 ** (1 / n)
    for score in (0.1, 0.3, 0.5):
        result = interval([score] * n)
        assert (result.low, result.high) == pytest.approx(
            (score - left * score, score + left * (1 - score)), abs=0.02
        )
        agree = paired_difference([([score] * n, [score] * n)]).interval
        assert (agree.low, agree.high) == pytest.approx((-left, left), abs=0.02)
        ahead = paired_difference([([score + 0.3] * n, [score] * n)]).interval
        assert (ahead.low, ahead.high) == pytest.approx((0.3 - left * 1.3, 0.3 + left * 0.7), abs=0.03)
    assert interval([0.5] * n, level=0.5).low > interval([0.5] * n).low


def test_paired_difference_of_graded_scores_uses_the_pairs() -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 0.8, size=300)  # items differ much, the models little
    difference = paired_difference([(list(hard + 0.1 + rng.normal(0, 0.02, 300)), list(hard))])
    assert 0.08 < difference.interval.low < difference.interval.score < difference.interval.high < 0.12
    assert difference.test == "gaffke" and difference.p < 0.001


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_interval_and_p_never_contradict_each_other(level: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "RESAMPLES", 1000)
    rng = np.random.default_rng(0)
    verdicts: set[bool] = set()
    for n in (5, 20, 60, 200):
        for _ in range(40):
            right = rng.integers(0, 2, (2, n)).astype(float)
            right[0] = np.where(rng.random(n) < 0.15, 1.0, right[1])
            graded = np.clip(right + rng.normal(0, 0.1, (2, n)), 0, 1)
            for tasks in ([tuple(right)], [tuple(graded)], [tuple(right), tuple(graded)]):
                difference = paired_difference(tasks, [1.0, 2.0][: len(tasks)], level=level)
                differs = not difference.interval.low <= 0 <= difference.interval.high
                assert differs == (difference.p <= 1 - level), (difference, tasks)
                verdicts.add(differs)
    assert verdicts == {True, False}


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"), [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 22 / 1024), (6, 0, 2 / 64)]
)
def test_mcnemar_known_values(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(*_table(7, only_a, only_b, 3)) == pytest.approx(p)
    assert mcnemar(*_table(7, only_b, only_a, 3)) == pytest.approx(p)


def test_sign_flips_agree_with_the_exact_test_where_there_is_one() -> None:
    """Of right and wrong answers the flips that reach the mean are the tails of a fair coin."""
    for only_a, only_b in ((6, 0), (1, 9), (9, 4), (5, 5)):
        a, b = _table(7, only_a, only_b, 3)
        differences = [x - y for x, y in zip(a, b, strict=True)]
        assert sign_flips([differences], [1.0]) == pytest.approx(mcnemar(a, b), abs=0.015)


def test_sign_flips_hold_their_level_and_see_a_difference() -> None:
    """Two tasks of weights 1 and 3: among equals 5% below 0.05, whatever the weights; a gain is seen."""
    rng = np.random.default_rng(0)
    result = {0.0: list[float](), 0.15: list[float]()}
    for gain, p_values in result.items():
        for _ in range(400):
            tasks = [list(rng.normal(gain, 0.4, 40)), list(rng.normal(gain, 0.2, 15))]
            p_values.append(sign_flips(tasks, [1.0, 3.0], flips=500))
    assert 0.03 < np.mean(np.array(result[0.0]) < 0.05) < 0.075
    assert np.mean(np.array(result[0.15]) < 0.05) > 0.9


@pytest.mark.parametrize(
    ("n", "cells"),
    [
        (20, (0.3, 0.1, 0.05, 0.55)),
        (20, (0.15, 0.6, 0.02, 0.23)),
        (200, (0.3, 0.1, 0.05, 0.55)),
        (200, (0.7, 0.05, 0.005, 0.245)),
        (200, (0.2, 0.5, 0.0, 0.3)),
    ],
)
def test_paired_difference_covers_on_right_or_wrong(n: int, cells: tuple[float, ...]) -> None:
    rng = np.random.default_rng(n)
    true = cells[1] - cells[2]
    counts = rng.multinomial(n, cells, size=1500)
    results = [paired_difference([_table(*each)]).interval for each in counts]
    covered = np.mean([each.low <= true <= each.high for each in results])
    assert covered >= 0.93, covered


Draw = Callable[[np.random.Generator, int], np.ndarray]
DRAWS: dict[str, tuple[Draw, float, float]] = {
    "nearly all near 1, rarely 0": (
        lambda rng, n: np.where(rng.random(n) < 0.05, 0.0, rng.uniform(0.9, 1, n)),
        0.9025,
        0.0,
    ),
    "1, rarely .99": (lambda rng, n: np.where(rng.random(n) < 0.05, 0.99, 1.0), 0.9995, 0.0),
    "partial credit": (lambda rng, n: rng.choice([0.0, 0.5, 1.0], n, p=[0.1, 0.2, 0.7]), 0.8, 0.0),
    "skewed": (lambda rng, n: rng.beta(0.3, 0.9, n), 0.25, 0.0),
    "uniform": (lambda rng, n: rng.random(n), 0.5, 0.0),
    "differences, mostly 0": (
        lambda rng, n: rng.choice([1.0, -1.0, 0.0], n, p=[0.07, 0.03, 0.9]),
        0.04,
        -1.0,
    ),
}
"""What is drawn -> n values, their true mean and the least that one can be."""


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize(("n", "runs"), [(5, 400), (50, 300), *slow((10, 400), (20, 400), (200, 200))])
def test_intervals_of_graded_scores_cover(
    name: str, n: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BCa covered 23% (n = 5) to 90% (n = 50) of the first; docs/statistics.md has the full table."""
    monkeypatch.setattr(means, "RESAMPLES", 1000)
    rng, n_covered = np.random.default_rng(n), 0
    for seed in range(runs):
        draw, mean, least = DRAWS[name]
        result = bounded_mean(draw(rng, n).tolist(), (least, 1.0), seed=seed)
        n_covered += result.low <= mean + 1e-12 and mean - 1e-12 <= result.high
    assert n_covered >= 0.93 * runs, n_covered / runs


def _table(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[int], list[int]]:
    a = [1] * (both + only_a) + [0] * (only_b + neither)
    b = [1] * both + [0] * only_a + [1] * only_b + [0] * neither
    return a, b


def test_the_mean_of_runs_by_student() -> None:
    result = mean_of_runs([1.0, 2.0, 3.0, 4.0, 5.0])
    assert result.score == 3.0
    assert result.high - result.score == pytest.approx(2.7764 * (2.5**0.5) / 5**0.5, rel=1e-3)  # t(0.975; 4)
    pair = mean_of_runs([0.0, 1.0])
    assert pair.high - pair.score == pytest.approx(12.706 * (0.5**0.5) / 2**0.5, rel=1e-3)  # t(0.975; 1)
    scores = mean_of_runs([0.975, 1.0], within=(0, 1))
    assert scores.high == 1 and scores.low == mean_of_runs([0.975, 1.0]).low
    alone = mean_of_runs([0.5])
    assert (alone.score, alone.low, alone.high) == (0.5, -math.inf, math.inf)
