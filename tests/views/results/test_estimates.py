"""Results of a partly scored trial: an estimate with its interval, and the raw mean."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from kingyo.cli.tables import print_trial
from kingyo.core.types import Evaluation, Item, ItemScore, Trial
from kingyo.merging.recipe import Recipe, Source
from kingyo.search.evolution import BASELINES, MAIN, Objectives, objectives_as_facts
from kingyo.search.evolution.trial_recipes import new_trial, read_recipe
from kingyo.store import RunStore
from kingyo.views.results.model_result import estimate, raw_means, read_model_result
from kingyo.views.results.summary import summarize
from kingyo.views.results.trial_details import read_trial
from kingyo.views.results.trials import SHARES
from kingyo.views.statements import estimated_on_fit
from tests.screened_runs import SPLITS, Model, begun, chance, journey, solves

Score = Callable[[Recipe, str], float]


def graded(recipe: Recipe, item: str) -> float:
    """Partial credit: near the true score of the recipe, on some items always half of it."""
    noise = zlib.crc32(f"{recipe.hash}/{item}".encode()) / 2**32 - 0.5
    easy = 0.5 + 0.5 * (zlib.crc32(item.encode()) % 2)
    return min(1.0, max(0.0, easy * chance(recipe) + 0.2 * noise))


@pytest.mark.parametrize(("score", "most"), [(solves, 0.13), (graded, 0.04)])
def test_estimates_are_near_the_means_on_all_items(tmp_path: Path, score: Score, most: float) -> None:
    """The root mean square error is below that of the raw means, and the intervals hold."""
    with begun(tmp_path / "run") as store:
        journey(store, Model(solves=score)).run()
        trials, raw = store.trials(MAIN), raw_means(store, MAIN)
        estimates = [estimate(store, trial) for trial in trials]
        believed = [each for each in estimates if each is not None]
        assert len(believed) == len(trials) >= 30
        for trial, each in zip(trials, believed, strict=True):
            assert each.raw == pytest.approx(raw[trial.id]) and each.score.n == 8
        recipes = [read_recipe(trial) for trial in trials]
    truth = np.array([[score(one, item.id) for item in SPLITS["fit"]] for one in recipes]).mean(axis=1)
    gaps = np.array([each.score.score for each in believed]) - truth
    plain = np.array([each.raw for each in believed]) - truth
    assert np.sqrt((gaps**2).mean()) < min(most, np.sqrt((plain**2).mean()))
    inside = [each.score.low <= mean <= each.score.high for each, mean in zip(believed, truth, strict=True)]
    assert np.mean(inside) >= 0.85


def test_items_that_baselines_tell_apart_are_estimated_apart(tmp_path: Path) -> None:
    """Each of two parents solves one half of 80 items; trials are like the first, and met more of its own."""
    first = {n: float(n < 40) for n in range(80)}
    met = (*range(24), *range(40, 48))
    parents = {"a": first, "b": {n: 1 - score for n, score in first.items()}}
    with stored(tmp_path, 80, parents, [{n: first[n] for n in met}] * 9) as store:
        estimates = [estimate(store, trial) for trial in store.trials(MAIN)]
    assert all(each is not None and abs(each.score.score - 0.5) < 0.05 for each in estimates)


def test_a_parent_is_estimated_from_its_own_items(tmp_path: Path) -> None:
    """One of two parents solves some of the items that both met."""
    chance = np.random.default_rng(0)
    inside = []
    for seed in range(40):
        solved, met = chance.random(200) < 0.15, chance.permutation(200)[:64]
        parents = {name: {int(n): float(solved[n] and name == "a") for n in met} for name in "ab"}
        with stored(tmp_path / str(seed), 200, parents, []) as store:
            one, other = (estimate(store, trial) for trial in store.trials(BASELINES))
        assert one is not None and one.score.score == one.raw == solved[met].mean()
        assert other is not None and other.score.score == 0 and 0.01 < other.score.high < 0.1
        inside.append(one.score.low <= solved.mean() <= one.score.high)
    assert np.mean(inside) >= 0.9


def stored(
    folder: Path,
    n: int,
    parents: Mapping[str, Mapping[int, float]],
    trials: Sequence[Mapping[int, float]],
    groups: Callable[[int], str] = lambda _: "",
) -> RunStore:
    """Return a run of n items with the scores of parents and trials by number of the item."""
    items = tuple(Item(id=f"i{i:03}", prompt=f"{i}", answer="!", group=groups(i)) for i in range(n))
    store = RunStore.create(folder / "run")
    store.begin({"name": "r", "status": "running", **objectives_as_facts(Objectives())}, {"fit": items})
    for search, rows in ((BASELINES, [*parents.items()]), (MAIN, [(None, row) for row in trials])):
        store.add_search(search, {})
        for number, (name, row) in enumerate(rows):
            weight = {"weight": float(len(store.trials()))}
            recipe = Recipe(merge_method="linear", sources=(Source(model="m", parameters=weight),))
            new = new_trial(Trial(number=number, genome=()), recipe, name)
            trial = store.add_trials(search, 0, [new])[-1]
            scores = (ItemScore(f"i{i:03}", score, "?") for i, score in row.items())
            store.record(trial.id, "fit", Evaluation(scores=tuple(scores)))
    return store


def test_an_estimate_names_the_groups_that_were_scored(tmp_path: Path) -> None:
    row = {n: float(n < 6) for n in range(10)}
    with stored(tmp_path, 40, {"a": row}, [row] * 3, lambda n: f"prompt {n // 4}") as store:
        estimates = [estimate(store, trial) for trial in store.trials()]
    for each in estimates:
        assert each is not None and each.score.items == "10 items of 3 prompts"
        assert each.to_json()["raw"] == {"score": 0.6, "n": 10, "groups": 3}


@pytest.mark.parametrize("value", [0.0, 0.05, 1.0])
def test_equal_scores_leave_uncertainty_about_unscored_items(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(solves=lambda _, __: value)).run()
        trial = store.trials(MAIN)[0]
        estimates, measured = estimate(store, trial), read_model_result(store, "it", trial).fit
        print_trial(read_trial(store, "0"))
    assert estimates is not None and measured is not None
    each, share = estimates.score, 1 - 8 / 24
    assert each.score == pytest.approx(value) and each.n == 8
    assert each.low == pytest.approx(value - share * (value - measured.low))
    assert each.high == pytest.approx(value + share * (measured.high - value))
    assert each.high - each.low > 0.2
    assert (
        f"fit: {SHARES.bounded(each)}, estimated for all 24 items from all trials" in capsys.readouterr().out
    )


def test_full_scores_need_no_estimate(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(), rule="none").run()
        assert [estimate(store, trial) for trial in store.trials(MAIN)] == [None] * len(store.trials(MAIN))
        assert all(each.estimate is None for each in summarize(store).models)


def test_the_summary_has_what_was_measured_beside_the_estimate(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model()).run()
        raw, summary = raw_means(store, MAIN), summarize(store)
    winner = summary.to_json()["winner"]
    assert isinstance(winner, dict) and summary.winner is not None
    assert winner["estimate"]["raw"] == {"score": pytest.approx(raw[summary.winner.trial.id]), "n": 8}


def test_many_baselines_are_counted_not_named(tmp_path: Path) -> None:
    """From seven on."""
    parents = {name: dict.fromkeys(range(8), 0.5) for name in "abcdefg"}
    with stored(tmp_path / "seven", 24, parents, []) as store:
        told = estimated_on_fit(summarize(store))
    assert told == "≈ estimated for all 24 items of fit; measured: 7 baselines on 8 items each."
    parents.pop("g")
    with stored(tmp_path / "six", 24, parents, []) as store:
        told = estimated_on_fit(summarize(store))
    assert told is not None and "a 50.0% on 8 items, b 50.0% on 8 items, " in told
