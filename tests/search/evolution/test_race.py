"""The race for validation: who is out and when, how often the best is, and what predictions are worth."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kingyo.core.types import Item
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution import BASELINES, Limits, fixed
from kingyo.search.evolution.objectives import Objectives
from kingyo.search.evolution.race import ALPHA, Race
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.strategies import build
from kingyo.stats.prediction import predict_winner
from kingyo.store import RunStore
from kingyo.views.results.summary import summarize
from kingyo.views.statements import dropped_baselines
from tests.screened_runs import AXES, N_ITEMS, Model, begun, journey, weights
from tests.slow import slow

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


@pytest.mark.parametrize("graded", [False, *slow(True)])
@pytest.mark.parametrize(("spread", "centre"), [(0.3, 1.0), *slow((0.0, 0.0), (1.0, 0.0), (2.0, 1.0))])
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


# ---- baselines race on validation, too: one that is clearly behind the best of them meets some of it


BASE, A, UNIFORM = weights(0, 0, 0, 0), weights(1, 1, 0, 0), weights(0.5, 0.5, 0.5, 0.5)
SOLVES = {BASE.hash: 0, A.hash: 15, UNIFORM.hash: 17}
N = N_ITEMS["validation"]


def first_items(recipe: Recipe, item: str) -> float:
    """Whether an item is among the first of its split, of which a bred model solves ten."""
    return float(int(re.sub(r"\D", "", item)) < SOLVES.get(recipe.hash, 10))


def run(folder: Path, model: Model) -> Model:
    """Begin a run or continue it, until it ends or is stopped."""
    with RunStore.open(folder) if folder.exists() else begun(folder) as store:
        search_run = journey(store, model, build("random", AXES, 0, {}), "none", limits=Limits(candidates=4))
        stages = [fixed(replace(search_run.first[0], known={}))]
        baselines = {"base": BASE, "a": A, "uniform": UNIFORM}
        replace(search_run, stages=stages, baselines=baselines, finalists=2).run()
    return model


def met(model: Model, recipe: Recipe) -> Counter[str]:
    """How many items of each split a recipe met."""
    items = [item for name, item in model.scored.elements() if name == recipe.hash]
    return Counter(item.rstrip("0123456789") for item in items)


def test_a_baseline_clearly_behind_is_scored_on_part_of_validation(tmp_path: Path) -> None:
    model = run(tmp_path / "run", Model(solves=first_items))
    assert [met(model, each)["validation"] for each in (BASE, A, UNIFORM)] == [N // 2, N, N]
    assert {met(model, each)["test"] for each in (BASE, A, UNIFORM)} == {N_ITEMS["test"]}, "it is whole"
    with RunStore.read(tmp_path / "run") as store:
        summary = summarize(store)
    assert dropped_baselines(summary) == (
        f"Dropped on validation, as clearly behind: base after {N // 2} of {N} items."
    )
    assert summary.best is not None
    assert (summary.best.trial.search, summary.best.name) == (BASELINES, "uniform")


def test_a_stopped_race_of_baselines_resumes(tmp_path: Path) -> None:
    """Stopped before each step in turn, the same scores are made, each once."""
    model = run(tmp_path / "whole", Model(solves=first_items))
    with RunStore.read(tmp_path / "whole") as store:
        expected = [(each.trial, each.n, each.mean) for each in store.summaries("validation")]
    assert len(model.asked) > 12
    for stop_after in range(1, len(model.asked)):
        folder = tmp_path / str(stop_after)
        first = Model(solves=first_items, stop_after=stop_after)
        with pytest.raises(KeyboardInterrupt):
            run(folder, first)
        with RunStore.read(folder) as store:
            best = summarize(store).best
            assert best is None or best.name == "uniform", "nothing else is told on the way"
        second = run(folder, Model(solves=first_items))
        with RunStore.read(folder) as store:
            assert [(each.trial, each.n, each.mean) for each in store.summaries("validation")] == expected
        assert first.scored + second.scored == model.scored
