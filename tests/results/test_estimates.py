"""Results of a partly scored trial: an estimate with its interval, and the raw mean."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kingyo.cli.trials import print_trial, read_trial
from kingyo.evolution import BASELINES, MAIN, Objectives, objectives_as_facts
from kingyo.evolution.trial_recipes import new_trial, read_recipe
from kingyo.recipe import Recipe, Source
from kingyo.results.estimates import estimate, raw_means
from kingyo.results.model_result import read_model_result
from kingyo.results.summarize import summarize
from kingyo.store import RunStore
from kingyo.types import Evaluation, Item, ItemScore, Trial
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
    items = tuple(Item(id=f"i{n:02}", prompt=f"{n}", answer="!") for n in range(80))
    with RunStore.create(tmp_path / "run") as store:
        store.begin({"name": "r", "status": "running", **objectives_as_facts(Objectives())}, {"fit": items})
        for search, names in ((BASELINES, ("a", "b")), (MAIN, (None,) * 9)):
            store.add_search(search, {})
            for number, name in enumerate(names):
                weight = {"weight": float(len(store.trials()))}
                recipe = Recipe(merge_method="linear", sources=(Source(model="m", parameters=weight),))
                new = new_trial(Trial(number=number, genome=()), recipe, name)
                trial = store.add_trials(search, 0, [new])[-1]
                met = range(80) if name else (*range(0, 40)[:24], *range(40, 48))
                scores = (ItemScore(f"i{n:02}", float((n < 40) == (name != "b")), "?") for n in met)
                store.record(trial.id, "fit", Evaluation(scores=tuple(scores)))
        estimates = [estimate(store, trial) for trial in store.trials(MAIN)]
    assert all(each is not None and abs(each.score.score - 0.5) < 0.05 for each in estimates)


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
        f"fit: {each.in_percent('%')}, estimated for all 24 items from all trials" in capsys.readouterr().out
    )


def test_full_scores_need_no_estimate(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(), rule="none").run()
        assert [estimate(store, trial) for trial in store.trials(MAIN)] == [None] * len(store.trials(MAIN))
        assert summarize(store).estimates == {}


def test_the_summary_has_what_was_measured_beside_the_estimate(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model()).run()
        raw, summary = raw_means(store, MAIN), summarize(store)
    winner = summary.to_json()["winner"]
    assert isinstance(winner, dict) and summary.winner is not None
    assert winner["estimate"]["raw"] == {"score": pytest.approx(raw[summary.winner.trial.id]), "n": 8}
