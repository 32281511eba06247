"""Known values, edge cases, and coverage by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from kingyo.errors import KingyoError
from kingyo.stats import (
    bootstrap_mean,
    interval,
    mcnemar,
    mean_name,
    mean_of_runs,
    paired_difference,
    selection_bias,
    sign_flips,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_known_values(successes: int, n: int, low: float, high: float) -> None:
    result = wilson(successes, n)
    assert (result.low, result.high) == pytest.approx((low, high), abs=5e-5)
    assert (result.score, result.n, result.method) == (successes / n, n, "wilson")


def test_wilson_is_wider_at_a_higher_level() -> None:
    assert wilson(8, 10, 0.99).low < wilson(8, 10, 0.95).low < wilson(8, 10, 0.5).low


@pytest.mark.parametrize(("successes", "n"), [(-1, 10), (11, 10), (0, 0)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(KingyoError, match="successes"):
        wilson(successes, n)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_level_is_between_0_and_1(level: float) -> None:
    for result in (lambda: wilson(1, 2, level), lambda: bootstrap_mean([0.1, 0.2], 0, level)):
        with pytest.raises(KingyoError, match="level"):
            result()


def test_interval_chooses_by_the_scores() -> None:
    assert interval([1, 0, 1, 1]) == wilson(3, 4)
    graded = interval([0.2, 0.4, 0.9, 1.0], seed=3)
    assert graded == bootstrap_mean([0.2, 0.4, 0.9, 1.0], seed=3)
    assert graded.method == "bca"


def test_bootstrap_is_seeded_and_close_to_the_normal_interval_on_many_scores() -> None:
    scores = list(np.random.default_rng(0).uniform(size=400))
    result = bootstrap_mean(scores, seed=1)
    reach = 1.96 * float(np.std(scores)) / math.sqrt(400)
    assert (result.low, result.high) == pytest.approx(
        (result.score - reach, result.score + reach), abs=reach * 0.06
    )
    assert result == bootstrap_mean(scores, seed=1)
    assert result != bootstrap_mean(scores, seed=2)


def test_bootstrap_of_equal_scores_has_no_width() -> None:
    result = bootstrap_mean([0.3] * 7, seed=0)
    assert (result.low, result.high) == (0.3, 0.3)


def test_bootstrap_of_many_items_stays_small_in_memory() -> None:
    assert bootstrap_mean(list(np.linspace(0, 1, 5000)), seed=0).low < 0.5


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
        result = paired_difference(a, b)
        assert result.method == "newcombe"
        assert (result.low, result.high) == pytest.approx((low, high), abs=5e-4), cells


def test_paired_difference_is_antisymmetric() -> None:
    a, b = _table(30, 20, 5, 45)
    one, two = paired_difference(a, b), paired_difference(b, a)
    assert (one.score, one.low, one.high) == pytest.approx((-two.score, -two.high, -two.low))
    assert one.low > 0


def test_models_that_agree_everywhere_are_not_proven_equal() -> None:
    result = paired_difference([1, 0, 1, 0, 1], [1, 0, 1, 0, 1])
    assert result.low < 0 < result.high


@pytest.mark.parametrize("n", [1, 10, 300])
def test_graded_scores_that_are_all_equal_leave_room_for_other_items(n: int) -> None:
    """As much as Wilson and Newcombe leave at their edges: of n items n + z² could be met."""
    left = wilson(0, n).high
    for score in (0.1, 0.3, 0.5):
        found = interval([score] * n)
        assert (found.low, found.high) == pytest.approx((score - left * score, score + left * (1 - score)))
        agree = paired_difference([score] * n, [score] * n)
        same = paired_difference([1.0] * n, [1.0] * n)
        assert (agree.low, agree.high) == pytest.approx((same.low, same.high)) == (-left, left)
        ahead = paired_difference([score + 0.3] * n, [score] * n)
        assert (ahead.low, ahead.high) == pytest.approx((0.3 - left * 1.3, 0.3 + left * 0.7))
    assert interval([0.5] * n, level=0.5).low > interval([0.5] * n).low


def test_paired_difference_of_graded_scores_uses_the_pairs() -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 0.8, size=100)  # items differ much, the models little
    result = paired_difference(list(hard + 0.1 + rng.normal(0, 0.02, 100)), list(hard), seed=0)
    assert 0.09 < result.low < result.score < result.high < 0.11
    assert result.method == "bca"


def test_paired_scores_need_the_same_items() -> None:
    with pytest.raises(KingyoError, match="3 and 2 scores"):
        paired_difference([1, 0, 1], [1, 0])


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"), [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 22 / 1024), (6, 0, 2 / 64)]
)
def test_mcnemar_known_values(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(*_table(7, only_a, only_b, 3)) == pytest.approx(p)
    assert mcnemar(*_table(7, only_b, only_a, 3)) == pytest.approx(p)


def test_mcnemar_needs_right_or_wrong() -> None:
    with pytest.raises(KingyoError, match="0 or 1"):
        mcnemar([0.5, 1], [1, 0])


def test_sign_flips_agree_with_the_exact_test_where_there_is_one() -> None:
    """Of right and wrong answers the flips that reach the mean are the tails of a fair coin."""
    for only_a, only_b in ((6, 0), (1, 9), (9, 4), (5, 5)):
        a, b = _table(7, only_a, only_b, 3)
        differences = [x - y for x, y in zip(a, b, strict=True)]
        assert sign_flips([differences], [1.0]) == pytest.approx(mcnemar(a, b), abs=0.015)


def test_sign_flips_hold_their_level_and_see_a_difference() -> None:
    """Two tasks of weights 1 and 3: among equals 5 % below 0.05, whatever the weights; a gain is seen."""
    rng = np.random.default_rng(0)
    found = {0.0: list[float](), 0.15: list[float]()}
    for gain, p_values in found.items():
        for _ in range(400):
            tasks = [list(rng.normal(gain, 0.4, 40)), list(rng.normal(gain, 0.2, 15))]
            p_values.append(sign_flips(tasks, [1.0, 3.0], flips=500))
    assert 0.03 < np.mean(np.array(found[0.0]) < 0.05) < 0.075
    assert np.mean(np.array(found[0.15]) < 0.05) > 0.9


def test_sign_flips_at_the_borders() -> None:
    assert sign_flips([[0.0, 0.0]], [1.0]) == 1.0
    assert sign_flips([[0.5] * 60], [1.0]) == pytest.approx(1 / 10_001)
    assert sign_flips([[0.3]], [1.0]) == 1.0, "of one item nothing is known"
    for tasks, weights in (([[]], [1.0]), ([], []), ([[0.5]], [1.0, 2.0]), ([[float("nan")]], [1.0])):
        with pytest.raises(KingyoError):
            sign_flips(tasks, weights)


@pytest.mark.parametrize(("n", "p"), [(20, 0.9), (20, 0.5), (200, 0.95), (200, 0.3)])
def test_wilson_covers(n: int, p: float) -> None:
    rng = np.random.default_rng(n)
    results = [wilson(int(successes), n) for successes in rng.binomial(n, p, size=3000)]
    assert 0.93 <= np.mean([each.low <= p <= each.high for each in results]) <= 0.975


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
    results = [paired_difference(*_table(*counts)) for counts in rng.multinomial(n, cells, size=1500)]
    covered = np.mean([each.low <= true <= each.high for each in results])
    assert covered >= 0.93, covered


@pytest.mark.parametrize("n", [50, 100])
def test_bootstrap_covers_on_skewed_scores(n: int) -> None:
    rng = np.random.default_rng(n)
    results = [bootstrap_mean(list(rng.beta(0.3, 0.9, n)), seed) for seed in range(200)]
    covered = np.mean([each.low <= 0.25 <= each.high for each in results])
    assert 0.91 <= covered <= 0.985, covered


def test_selection_bias_of_equals_is_the_expected_maximum_of_the_noise() -> None:
    """20 equal candidates at 0.5 on 100 items: the best seems E[max of 20 normals] = 1.867 × 0.05 better."""
    rng = np.random.default_rng(0)
    estimates: list[float] = []
    true: list[float] = []
    for seed in range(60):
        scores = rng.binomial(1, 0.5, size=(20, 100))
        true.append(float(scores.mean(axis=1).max()) - 0.5)
        estimates.append(selection_bias(scores.tolist(), seed, splits=100))
    assert np.mean(true) == pytest.approx(1.867 * 0.05, abs=0.01)
    assert np.mean(estimates) == pytest.approx(np.mean(true), abs=0.015)


def test_selection_bias_of_a_clear_winner_is_nothing() -> None:
    rng = np.random.default_rng(0)
    scores = [rng.binomial(1, p, size=100).tolist() for p in (0.1, 0.2, 0.95)]
    assert abs(selection_bias(scores)) < 0.005
    assert selection_bias(scores, seed=4) == selection_bias(scores, seed=4)


@pytest.mark.parametrize("scores", [[], [[1.0]], [[1.0, 0.0], [1.0]]])
def test_selection_bias_needs_a_matrix(scores: list[list[float]]) -> None:
    with pytest.raises(KingyoError, match="rows of one length"):
        selection_bias(scores)


def _table(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[int], list[int]]:
    pairs = itertools.chain(
        itertools.repeat((1, 1), both),
        itertools.repeat((1, 0), only_a),
        itertools.repeat((0, 1), only_b),
        itertools.repeat((0, 0), neither),
    )
    a, b = zip(*pairs, strict=True)
    return list(a), list(b)


def test_the_mean_of_runs_by_student() -> None:
    found = mean_of_runs([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.score == 3.0
    assert found.high - found.score == pytest.approx(2.7764 * (2.5**0.5) / 5**0.5, rel=1e-3)  # t(0.975; 4)
    pair = mean_of_runs([0.0, 1.0])
    assert pair.high - pair.score == pytest.approx(12.706 * (0.5**0.5) / 2**0.5, rel=1e-3)  # t(0.975; 1)
    scores = mean_of_runs([0.975, 1.0], within=(0, 1))
    assert scores.high == 1 and scores.low == mean_of_runs([0.975, 1.0]).low
    alone = mean_of_runs([0.5])
    assert (alone.score, alone.low, alone.high) == (0.5, -math.inf, math.inf)


def test_a_mean_is_called_weighted_where_weights_differ() -> None:
    assert [mean_name(each) for each in ([1.0], [2.0, 2.0], [1.0, 2.0])] == ["mean", "mean", "weighted mean"]
