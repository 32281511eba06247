"""A prediction of the winner's test score holds its level."""

import numpy as np
import pytest

from kingyo.stats import Interval
from kingyo.stats.prediction import predict_winner
from tests.slow import slow


def predicted(rows: list[list[float]], winner: int, n_test: int) -> Interval:
    return predict_winner([rows], winner, [n_test])


def _holds(rng: np.random.Generator, spread: float, n: int, n_test: int, k: int, centre: float) -> bool:
    """Simulate: finalists of nearly equal ability on common items of unequal difficulty."""
    abilities = centre + spread * rng.standard_normal(k)
    items = rng.normal(0, 2, n)
    right = rng.random((k, n)) < 1 / (1 + np.exp(items[None, :] - abilities[:, None]))
    winner = int(right.mean(axis=1).argmax())
    test = (rng.random(n_test) < 1 / (1 + np.exp(rng.normal(0, 2, n_test) - abilities[winner]))).mean()
    prediction = predicted(right.astype(float).tolist(), winner, n_test)
    return prediction.low <= test <= prediction.high


@pytest.mark.parametrize(("n", "n_test"), [(40, 100), *slow((300, 700))])
@pytest.mark.parametrize(("spread", "centre"), [(0.3, 1.0), *slow((0.0, 0.0), (0.0, 4.0), (1.0, 0.0))])
def test_the_interval_holds_its_level(n: int, n_test: int, spread: float, centre: float) -> None:
    rng = np.random.default_rng(n)
    inside = np.mean([_holds(rng, spread, n, n_test, 8, centre) for _ in range(300)])
    assert inside >= 0.92  # 95% of 300, two standard errors of which are 2.5 points


@pytest.mark.slow
@pytest.mark.parametrize("chances", [(0.99, 0.97), (0.99, 0.99, 0.99), (0.5, 0.6)])
@pytest.mark.parametrize(("n", "n_test"), [(12, 12), (40, 100)])
def test_the_interval_of_several_tasks_holds_its_level(
    n: int, n_test: int, chances: tuple[float, ...]
) -> None:
    rng, weights = np.random.default_rng(n), range(1, len(chances) + 1)
    inside = 0
    for _ in range(200):
        tasks = [(rng.random((4, n)) < chance).astype(float) for chance in chances]
        winner = int(np.sum([rows.mean(axis=1) for rows in tasks], axis=0).argmax())
        test = np.average([(rng.random(n_test) < chance).mean() for chance in chances], weights=weights)
        rows, sizes = [each.tolist() for each in tasks], [n_test] * len(tasks)
        prediction = predict_winner(rows, winner, sizes, list(weights))
        inside += prediction.low <= test <= prediction.high
    assert inside >= 0.92 * 200


def test_a_perfect_winner_of_several_tasks_may_be_perfect_on_test() -> None:
    rows = [[1.0] * 20, [1.0] * 18 + [0.0] * 2, [1.0] * 18 + [0.0] * 2]
    graded = [[1.0] * 20, [0.9, 1.0] * 10, [0.8, 1.0] * 10]
    for tasks in ([rows] * 3, [rows, [[1.0] * 20] * 3], [rows, graded]):
        predictions = predict_winner(tasks, 0, [20] * len(tasks), [0.1] * len(tasks))
        assert predictions.low < 0.9 < predictions.score <= predictions.high == 1.0
    assert predict_winner([rows], 0, [20], [3.0]) == predicted(rows, 0, 20)


def test_equals_are_drawn_to_their_mean_and_a_lone_leader_is_not() -> None:
    rng = np.random.default_rng(1)
    equal = (rng.random((8, 100)) < 0.5).astype(float)
    winner = int(equal.mean(axis=1).argmax())
    prediction = predicted(equal.tolist(), winner, 100)
    assert prediction.score - equal.mean() < 0.5 * (equal[winner].mean() - equal.mean())
    ahead = np.concatenate([np.ones((1, 100)), (rng.random((7, 100)) < 0.2).astype(float)])
    assert predicted(ahead.tolist(), 0, 100).score > 0.97


def test_one_finalist_one_item_constant_and_fractional_scores() -> None:
    assert predicted([[1.0] * 50], 0, 100).low < 0.97
    assert predicted([[1.0] * 50], 0, 100).score == 1.0
    lone = predicted([[1.0], [0.0]], 0, 10)
    assert 0 <= lone.low <= lone.score <= lone.high <= 1
    halves = predicted([[0.5, 0.75, 0.25], [0.5, 0.25, 0.25]], 0, 10)
    assert halves.low < halves.score < halves.high


@pytest.mark.parametrize("rows", [[[0.5] * 8], [[0.5] * 8, [0.5] * 8], [[0.5] * 8, [0.25] * 8]])
def test_graded_scores_that_are_all_equal_promise_no_exact_test_score(rows: list[list[float]]) -> None:
    prediction = predicted(rows, 0, 10)
    assert prediction.score == 0.5
    assert 0.1 < prediction.low < 0.4 and 0.6 < prediction.high < 0.9
    surer = predicted([row * 20 for row in rows], 0, 200)
    assert prediction.low < surer.low < 0.5 < surer.high < prediction.high


def test_the_fewer_items_were_all_wrong_the_wider_the_interval() -> None:
    highs = [predicted([[0.0] * n] * 3, 0, 30).high for n in (1, 3, 10, 40)]
    assert highs == sorted(highs, reverse=True) and highs[0] == 1 and 0.1 < highs[-1] < 0.25
    lows = [predicted([[1.0] * n] * 3, 0, 30).low for n in (1, 3, 10, 40)]
    assert lows == pytest.approx([1 - high for high in highs], abs=0.04)  # of 30 items
