"""Baselines race on validation, too: one that is clearly behind the best of them meets some of it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from kingyo.merging.recipe import Recipe
from kingyo.search.evolution import BASELINES, Limits, fixed
from kingyo.search.strategies import build
from kingyo.store import RunStore
from kingyo.views.results.summary import summarize
from kingyo.views.statements import dropped_baselines
from tests.screened_runs import AXES, N_ITEMS, Model, begun, journey, weights

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
