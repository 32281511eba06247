"""The starting model of the control `trained`, and advice for tasks of different sizes."""

from __future__ import annotations

from pathlib import Path

from kingyo.core.types import Evaluation, Item, ItemScore, Split, Trial
from kingyo.merging.recipe import Recipe, Source
from kingyo.runs.adapters import best_parent
from kingyo.search.evolution import BASELINES, Objectives, objectives_as_facts, stored_objectives
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.store import RunStore

SPLITS: dict[Split, tuple[Item, ...]] = {
    split: tuple(
        Item(id=f"{task}/{split}{n}", prompt="?", answer="!", task=task)
        for task, size in (("many", 9), ("few", 3))
        for n in range(size)
    )
    for split in ("fit", "validation", "test")
}


def begun(folder: Path, known: dict[str, tuple[int, int]]) -> RunStore:
    """A run of two tasks that weigh the same: baseline -> how many items of each it solves."""
    store = RunStore.create(folder)
    facts = {
        "name": "r",
        "status": "running",
        **objectives_as_facts(Objectives(tasks={"many": 1.0, "few": 1.0})),
    }
    store.begin(facts, SPLITS)
    store.add_search(BASELINES, {})
    for name, (many, few) in known.items():
        add(store, BASELINES, name, {"many": many, "few": few})
    return store


def add(store: RunStore, search: str, name: str | None, solved: dict[str, int]) -> None:
    number = len(store.trials(search))
    weight = float(len(store.trials()))
    recipe = Recipe(merge_method="linear", sources=(Source(model="m", parameters={"weight": weight}),))
    trial = store.add_trials(search, 0, [new_trial(Trial(number=number, genome=()), recipe, name)])[-1]
    item_scores = [
        ItemScore(item.id, float(int(item.id.removeprefix(f"{item.task}/fit")) < solved[item.task]), "?")
        for item in SPLITS["fit"]
    ]
    store.record(trial.id, "fit", Evaluation(scores=tuple(item_scores)))


def test_the_best_parent_is_the_best_by_the_weights_of_the_tasks(tmp_path: Path) -> None:
    """By items b has more right, 7 of 12 and not 6; by tasks a is ahead, by (3/9 + 3/3) / 2 and 7/18."""
    with begun(tmp_path / "run", {"base": (0, 0), "a": (3, 3), "b": (7, 0), "uniform": (9, 3)}) as store:
        assert best_parent(store, ("base", "a", "b"), stored_objectives(store)).name == "a"
