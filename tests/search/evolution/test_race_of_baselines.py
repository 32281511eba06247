"""Baselines race on validation, too: one that is clearly behind the best of them meets some of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kingyo.core.types import Axis, Evaluation, Genome, Item, ItemScore, Split
from kingyo.merging.recipe import Recipe, Source
from kingyo.search.evolution import BASELINES, MAIN, Journey, Limits, Search, fixed
from kingyo.search.runners import LocalRunner
from kingyo.search.strategies import build
from kingyo.store import RunStore
from kingyo.views.results.summary import summarize
from kingyo.views.statements import dropped_baselines

AXES = (Axis(name="weight/a", low=0, high=1),)
N = 40
SPLITS: dict[Split, tuple[Item, ...]] = {
    split: tuple(Item(id=f"{split}{n}", prompt=f"{split} {n}", answer="") for n in range(N))
    for split in ("fit", "validation", "test")
}
SOLVES = {"base": 0, "a": 30, "uniform": 33}


def recipe(name: str, weight: float = 1.0) -> Recipe:
    return Recipe(merge_method="linear", sources=(Source(model=name, parameters={"weight": weight}),))


class Line:
    """Recipes of one weight; none of them is as good as the uniform merge."""

    axes = AXES

    def decode(self, genome: Genome) -> Recipe:
        return recipe("bred", genome[0])


class Model:
    """Solves as many of the first items of a split as its name says; may be stopped."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: Counter[tuple[str, Split]] = Counter()
        self.left = stop_after

    def __call__(self, recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left = None if self.left is None else self.left - 1
        name = str(recipe.sources[0].model)
        self.asked[name, split] += len(items)
        solved = {item.id for item in SPLITS[split][: SOLVES.get(name, 20)]}
        return Evaluation(scores=tuple(ItemScore(item, float(item in solved), "") for item in items))


def run(folder: Path, model: Model) -> RunStore:
    store = RunStore.open(folder) if folder.exists() else RunStore.create(folder)
    if store.fact("status") is None:
        store.begin({"status": "running"}, SPLITS)
    main = Search(name=MAIN, space=Line(), strategy=build("random", AXES, 0, {}), limits=Limits(candidates=4))
    baselines = {name: recipe(name) for name in SOLVES}
    journey = Journey(
        store=store, runner=LocalRunner(model), baselines=baselines, stages=[fixed(main)], finalists=2
    )
    try:
        journey.run()
    except KeyboardInterrupt:
        store.close()
        raise
    return store


def test_a_baseline_clearly_behind_is_scored_on_part_of_validation(tmp_path: Path) -> None:
    model = Model()
    with run(tmp_path / "run", model) as store:
        met = {name: model.asked[name, "validation"] for name in SOLVES}
        assert met == {"base": 20, "a": N, "uniform": N}
        assert {model.asked[name, "test"] for name in SOLVES} == {N}, "the evidence is whole"
        summary = summarize(store)
        best = summary.best
        assert (
            dropped_baselines(summary)
            == "Dropped on validation, as clearly behind: base after 20 of 40 items."
        )
        assert best is not None
        assert (best.trial.search, best.name) == (BASELINES, "uniform")


def test_a_stopped_race_of_baselines_resumes(tmp_path: Path) -> None:
    """Stopped before each step in turn, the same scores are made, each once."""
    model = Model()
    with run(tmp_path / "whole", model) as store:
        expected = [(each.trial, each.n, each.mean) for each in store.summaries("validation")]
    calls = 0
    for calls in range(1, 100):
        first, second = Model(stop_after=calls), Model()
        folder = tmp_path / str(calls)
        try:
            run(folder, first).close()
            break
        except KeyboardInterrupt:
            with RunStore.read(folder) as store:
                best = summarize(store).best
                assert best is None or best.name == "uniform", "nothing else is told on the way"
        with run(folder, second) as store:
            summary = [(each.trial, each.n, each.mean) for each in store.summaries("validation")]
        assert summary == expected
        assert first.asked + second.asked == model.asked
    assert calls > 12
