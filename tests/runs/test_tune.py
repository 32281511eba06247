"""Rates of tuning, what it refuses, and which kinds of models can be tuned."""

from pathlib import Path

import pytest

from kingyo.core.types import Evaluation, Item, ItemScore, Trial
from kingyo.merging.recipe import Recipe, Source
from kingyo.runs.adapters import AdapterSetting, Training, best_parent
from kingyo.runs.tune import Kept, relative_rates
from kingyo.search.evolution import BASELINES, Objectives
from kingyo.search.evolution.trial_recipes import new_trial
from tests.fake_runs import begun


def kept(bred: list[float], tuned: list[float], limit: float) -> Kept:
    rows = {str(n): dict(zip("abcd", scores, strict=True)) for n, scores in enumerate((bred, tuned))}
    return Kept(file="other.yaml", limit=limit, items="", groups=dict.fromkeys("abcd", ""), scores=rows)


@pytest.mark.parametrize(
    ("tuned", "limit", "lost"),
    [([1, 1, 1, 0], 25, None), ([1, 1, 1, 0], 24, "25.0 points"), ([1, 1, 1, 1], 0, None)],
)
def test_what_loses_more_than_the_limit_is_refused(
    tuned: list[float], limit: float, lost: str | None
) -> None:
    reason = kept([1, 1, 1, 1], tuned, limit).refusal(1)
    assert (reason is None) == (lost is None)
    assert lost is None or (reason is not None and lost in reason and "n = 4" in reason)


def test_the_usual_rate_is_tried_only_with_many_items() -> None:
    assert relative_rates(99) == (0.3, 0.1) and relative_rates(100) == (0.3, 0.1, 1.0)


@pytest.mark.parametrize(("start", "numbers"), [(None, [1, 0]), (7, [1, 2])])
def test_candidates_name_their_adapters(start: int | None, numbers: list[int]) -> None:
    """Of tuning, candidate 0 is the model itself; candidates of the control may share the first adapters."""
    settings = tuple(AdapterSetting(answers="found", learning_rate=rate) for rate in (0.1, 0.2))
    training = Training(
        parent="a", reference="a", items=1, examples=1, steps=1, last=1, settings=settings, start=start
    )
    assert [training.number_of(candidate) for candidate in (1, 2)] == numbers


# ---- the starting model of the control `trained`


ITEMS = tuple(
    Item(id=f"{task}{n}", prompt="?", answer="!", task=task)
    for task, size in (("many", 9), ("few", 3))
    for n in range(size)
)
SOLVED = {"base": (0, 0), "a": (3, 3), "b": (7, 0), "uniform": (9, 3)}
"""Baseline -> how many items of each task it solves."""


def test_the_best_parent_is_the_best_by_the_weights_of_the_tasks(tmp_path: Path) -> None:
    """By items b has more right, 7 of 12 and not 6; by tasks a is ahead, by (3/9 + 3/3) / 2 and 7/18."""
    with begun(tmp_path / "run", {"fit": ITEMS, "validation": (), "test": ()}) as store:
        store.add_search(BASELINES, {})
        for number, (name, (many, few)) in enumerate(SOLVED.items()):
            recipe = Recipe(merge_method="linear", sources=(Source(model=name),))
            trial = new_trial(Trial(number=number, genome=()), recipe, name)
            stored = store.add_trials(BASELINES, 0, [trial])[-1]
            rows = [*[1.0] * many, *[0.0] * (9 - many), *[1.0] * few, *[0.0] * (3 - few)]
            scores = tuple(ItemScore(item.id, row, "?") for item, row in zip(ITEMS, rows, strict=True))
            store.record(stored.id, "fit", Evaluation(scores=scores))
        objectives = Objectives(tasks={"many": 1.0, "few": 1.0})
        assert best_parent(store, ("base", "a", "b"), objectives).name == "a"
