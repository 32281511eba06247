"""The race for validation: who is out and when, how often the best is, and what predictions are worth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kingyo.core.types import Item
from kingyo.search.evolution.objectives import Objectives
from kingyo.search.evolution.race import ALPHA, Race
from kingyo.search.evolution.scorer import Scorer
from kingyo.stats.prediction import predict_winner

Matrix = NDArray[np.float64]
TWO = Objectives(tasks={"a": 3.0, "b": 1.0})


def items(n: int, task: str = "") -> list[Item]:
    return [Item(id=f"{task}/{i}", prompt=f"{task} {i}", answer="", task=task) for i in range(n)]


def race(n_items: int, n: int, objectives: Objectives = Objectives()) -> Race:  # noqa: B008 (it is frozen)
    return Race(scorer=Scorer(objectives, items(n_items)), n=n, seed=1)


def rows(scores: Matrix, order: tuple[str, ...], alive: list[int], stop: int) -> dict[int, dict[str, float]]:
    return {i: dict(zip(order[:stop], scores[i], strict=False)) for i in alive}


def finish(one: Race, scores: Matrix) -> tuple[list[int], int]:
    """Run a race on scores in its order: who has met all items, and how many scores it took."""
    alive, cost, start = list(range(len(scores))), 0, 0
    for stop in one.stops:
        cost += len(alive) * (stop - start)
        start = stop
        if stop < len(one.order):
            alive = one.still_in(rows(scores, one.order, alive, stop), stop)
    return alive, cost


@pytest.mark.parametrize(
    ("n_items", "stops"),
    [(5, (5,)), (19, (19,)), (20, (10, 20)), (79, (39, 79)), (100, (12, 50, 100)), (320, (10, 40, 160, 320))],
)
def test_looks_are_few_and_the_last_is_after_half(n_items: int, stops: tuple[int, ...]) -> None:
    assert race(n_items, 3).stops == stops
    assert race(n_items, 1).stops == (n_items,), "one finalist has nobody to race with"
    assert race(n_items, 3, Objectives(names=("one", "other"))).stops == (n_items,)


def test_the_order_contains_every_item_once_in_proportion_to_tasks() -> None:
    one = Race(scorer=Scorer(TWO, [*items(30, "a"), *items(10, "b")]), n=3, seed=1)
    assert sorted(one.order) == sorted(one.scorer.task_of)
    assert one.order != tuple(one.scorer.task_of)
    tasks = [one.scorer.task_of[item] for item in one.order[: one.stops[0]]]
    assert tasks.count("b") == 5


@pytest.mark.parametrize("graded", [False, True])
def test_a_finalist_clearly_behind_is_dropped(graded: bool) -> None:
    rng = np.random.default_rng(0)
    scores = (rng.random((8, 40)) < np.array([[0.95]] + [[0.1]] * 7)).astype(float)
    scores = scores * 0.9 if graded else scores
    alive, cost = finish(race(40, 8), scores)
    assert alive == [0]
    assert cost <= 40 + 7 * 20


def test_tasks_count_by_their_weights() -> None:
    """Task b is all that the second is worse at, and it hardly counts."""
    light = Objectives(tasks={"a": 1000.0, "b": 1.0})
    scores = {"a/": (0.0, 0.1), "b/": (1.0, 0.0)}
    for objectives, is_out in ((light, False), (Objectives(tasks={"a": 1.0, "b": 1000.0}), True)):
        one = Race(scorer=Scorer(objectives, [*items(20, "a"), *items(20, "b")]), n=2, seed=1)
        assert one.stops == (20, 40)
        met = {i: {item: scores[item[:2]][i] for item in one.order[:20]} for i in (0, 1)}
        assert (1 not in one.still_in(met, 20)) == is_out


def test_a_finalist_with_all_items_stays() -> None:
    one = race(20, 2)
    complete = dict.fromkeys(one.order, 0.0)
    ahead = dict.fromkeys(one.order[:10], 1.0)
    assert one.still_in({0: complete, 1: ahead}, 10) == [0, 1]
    assert one.still_in({0: dict(list(complete.items())[:10]), 1: ahead}, 10) == [1]


def simulated(
    rng: np.random.Generator, spread: float, centre: float, n: int, n_test: int, *, graded: bool
) -> tuple[Matrix, NDArray[np.float64], NDArray[np.float64]]:
    """Answers of eight finalists to validation, their true means, and how each does on other items."""
    ability = centre + spread * rng.standard_normal(8)

    def answers(size: int) -> Matrix:
        chance = 1 / (1 + np.exp(rng.normal(0, 2, size)[None, :] - ability[:, None]))
        if graded:
            return rng.binomial(4, chance) / 4
        return (rng.random(chance.shape) < chance).astype(float)

    return answers(n), ability, answers(n_test).mean(axis=1)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize(("spread", "centre"), [(0.0, 0.0), (0.3, 1.0), (1.0, 0.0), (2.0, 1.0)])
def test_the_best_is_seldom_out_and_predictions_hold_their_level(
    spread: float, centre: float, graded: bool
) -> None:
    rng = np.random.default_rng(7)
    one, inside, lost, runs = race(40, 8), 0, 0, 200
    for _ in range(runs):
        scores, ability, test = simulated(rng, spread, centre, 40, 100, graded=graded)
        alive, _ = finish(one, scores)
        winner = max(alive, key=lambda i: scores[i].mean())
        prediction = predict_winner([scores[alive].tolist()], alive.index(winner), [100])
        inside += prediction.low <= test[winner] <= prediction.high
        lost += int(np.argmax(ability)) not in alive
    assert inside / runs >= 0.92
    assert lost / runs <= ALPHA + 2 * np.sqrt(ALPHA * 0.95 / runs)
