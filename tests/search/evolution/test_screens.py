"""The loop where candidates are scored on some of the items: resuming, costs, estimates, events."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kingyo.core.types import Trial
from kingyo.errors import KingyoError
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution import BASELINES, MAIN, Event, fixed
from kingyo.search.evolution.screens import Screen, ScreenSettings, estimate_means
from kingyo.search.strategies import build
from kingyo.stats.irt import Responses, sigmoid
from kingyo.store import RunStore, StoredTrial
from tests.fake_runs import facts
from tests.screened_runs import (
    AXES,
    BUDGET,
    NAMED,
    RULES,
    STRATEGIES,
    Fails,
    Listed,
    Model,
    begun,
    journey,
    some_fail,
)
from tests.slow import slow
from tests.stores import edited

OFTEN = ("item-gp", "cma-es", "coarse-to-fine")


def some_fail_later(recipe: Recipe, before: int) -> bool:
    """One recipe in two fails, but only when it is asked a second time."""
    return recipe.hash not in NAMED and int(recipe.hash[:8], 16) % 2 == 0 and before > 0


def no_failures(recipe: Recipe, before: int) -> bool:
    return False


def ends_the_same(folder: Path, strategy: str, rule: str, fails: Fails, *, every: int) -> None:
    model = Model(fails)
    with begun(folder / "whole") as store:
        journey(store, model, strategy, rule).run()
        expected = facts(store)
    for stop_after in range(every // 2, len(model.asked), every):
        first = Model(fails, stop_after=stop_after)
        with begun(folder / f"stopped-{stop_after}") as store, pytest.raises(KeyboardInterrupt):
            journey(store, first, strategy, rule).run()
        second = Model(fails, before=first)
        with RunStore.open(folder / f"stopped-{stop_after}") as store:
            journey(store, second, strategy, rule).run()
            assert facts(store) == expected
        assert second.calls == model.calls
        assert second.scored == model.scored


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("strategy", [*OFTEN, *slow(*sorted(STRATEGIES.keys() - OFTEN))])
def test_interrupted_it_ends_the_same(tmp_path: Path, strategy: str, rule: str) -> None:
    ends_the_same(tmp_path, strategy, rule, no_failures, every=40)


@pytest.mark.parametrize("fails", [some_fail, *slow(some_fail_later)])
@pytest.mark.parametrize("strategy", ["item-gp", "ga", "coarse-to-fine"])
def test_with_failures_too(tmp_path: Path, strategy: str, fails: Fails) -> None:
    ends_the_same(tmp_path, strategy, "some", fails, every=25)


@pytest.mark.parametrize("fails", [no_failures, some_fail, some_fail_later])
@pytest.mark.parametrize("rule", RULES)
def test_no_item_of_a_recipe_is_run_twice_and_no_budget_is_exceeded(
    tmp_path: Path, rule: str, fails: Fails
) -> None:
    for strategy in ("item-gp", "ga"):
        model = Model(fails)
        with begun(tmp_path / strategy) as store:
            journey(store, model, strategy, rule).run()
            costs = {name: spent(store, name) for name in (MAIN, "random")}
            trials = {name: len(store.trials(name)) for name in (MAIN, "random")}
        assert set(model.scored.values()) == {1}
        assert costs["random"] <= costs[MAIN] <= (BUDGET.item_evaluations or 0)
        assert trials["random"] <= trials[MAIN]
        assert costs[MAIN] > (BUDGET.item_evaluations or 0) / 2


def spent(store: RunStore, search: str) -> int:
    """Items that were tried for a search on fit, failures too."""
    return sum(items for items, _ in store.costs(search, "fit").values())


@pytest.mark.parametrize(
    ("screen", "n"),
    [
        (ScreenSettings(), 24),
        (ScreenSettings(items=8), 24),
        (ScreenSettings(items=5), 20),
        (ScreenSettings(items=1), 4),
    ],
)
def test_baselines_are_scored_on_four_times_the_items_of_a_candidate(
    tmp_path: Path, screen: ScreenSettings, n: int
) -> None:
    with begun(tmp_path / "run") as store:
        search_run = journey(store, Model(), "ga", "some")
        replace(
            search_run, stages=[fixed(*[replace(each, screen=screen) for each in search_run.first])]
        ).run()
        rows = [each for each in store.summaries("fit") if each.search == BASELINES]
        assert [each.n for each in rows] == [n] * 3
        assert len({tuple(row) for row in store.scores(BASELINES, "fit").values()}) == 1


GOOD, FAIR, LUCKY = (0.7, 0.5, 0.2, 0.3), (0.6, 0.5, 0.2, 0.3), (0.1, 0.9, 0.9, 0.9)


def test_events_tell_of_each_trial_once_and_a_replay_repeats_them_as_replayed(tmp_path: Path) -> None:
    events: list[Event] = []
    again: list[Event] = []
    with begun(tmp_path / "run") as store:
        journey(store, Model(some_fail), "ga", notify=events.append).run()
        trials = store.trials(MAIN)
        values = [each.value for each in store.outcomes(MAIN).values()]
    assert trials_of(events) == trials
    assert [each.done for each in of(events, "told")] == list(range(1, len(trials) + 1))
    assert [each.value for each in of(events, "told")] == values
    assert of(events, "more") == []
    assert not any(each.replayed for each in events)
    kinds = [each.kind for each in events if each.search == MAIN and each.split == "fit"]
    assert kinds[0] == "phase" and kinds.count("phase") == 1 and kinds[-1] == "told"
    with RunStore.open(tmp_path / "run") as store:
        journey(store, Model(stop_after=0), "ga", notify=again.append).run()
    assert [each.value for each in of(again, "told")] == values
    assert trials_of(again) == trials
    assert all(each.replayed for each in of(again, "ended"))


def of(events: Sequence[Event], *kinds: str) -> list[Event]:
    return [each for each in events if each.kind in kinds and each.search == MAIN and each.split == "fit"]


def trials_of(events: Sequence[Event]) -> list[StoredTrial]:
    """The trials that ended, in the order of asking; copies end first."""
    return sorted((each.trial for each in of(events, "ended") if each.trial), key=lambda trial: trial.id)


@pytest.mark.parametrize("changed", ["log", "settings"])
def test_a_strategy_that_asks_for_other_trials_is_found(tmp_path: Path, changed: str) -> None:
    with begun(tmp_path / "run") as store, pytest.raises(KeyboardInterrupt):
        journey(store, Model(stop_after=25), "item-gp").run()
    if changed == "log":
        with edited(tmp_path / "run") as database:
            database.execute("UPDATE trials SET genome = '[0, 0, 0, 0]' WHERE search = 'main' AND number = 7")
    settings = {**STRATEGIES["item-gp"], **({"pool": 90} if changed == "settings" else {})}
    with RunStore.open(tmp_path / "run") as store, pytest.raises(KingyoError, match="ask for the stored"):
        journey(store, Model(), build("item-gp", AXES, 3, settings)).run()


class Odd(Listed):
    """Proposes well once, then something impossible."""

    def __init__(self, then: Sequence[Trial]) -> None:
        super().__init__([GOOD, FAIR, LUCKY, (0.0, 0.0, 0.0, 0.0)])
        self._then = list(then)

    def ask(self, n: int) -> list[Trial]:
        return super().ask(n) if self._count == 0 else self._then


def at(number: int, *genome: float) -> Trial:
    return Trial(number=number, genome=genome)


@pytest.mark.parametrize(
    ("then", "says"),
    [
        ([at(4, float("nan"), 0, 0, 0)], r"trial 4 of Odd.*a number from 0 to 1 on axis weight/a/0.0.*nan"),
        ([at(4, 0, 0, 0, float("inf"))], "a number from 0 to 1 on axis weight/b/1.0; received inf"),
        ([at(4, 0, -0.001, 0, 0)], "received -0.001"),
        ([at(4, 0, 0, 0)], "expected 4 genes; received 3"),
        ([at(4)], "expected 4 genes; received 0"),
        ([at(4, 0, 0, 0, 0, 0)], "expected 4 genes; received 5"),
        ([at(4, 0, 0, 0, 0), at(5, 2, 0, 0, 0)], "trial 5 of Odd"),
        ([at(3, 0, 0, 0, 0)], "number 4"),
        ([at(4, 0, 0, 0, 0), at(4, 0, 0, 0, 1)], "number 5"),
        ([at(number, 0, 0, 0, number / 99) for number in range(4, 40)], "at most 4 trials; received 36"),
    ],
)
def test_an_invalid_proposal_ends_the_run_with_an_error(
    tmp_path: Path, then: Sequence[Trial], says: str
) -> None:
    with begun(tmp_path / "run") as store:
        with pytest.raises(KingyoError, match=says):
            journey(store, Model(), Odd(then), "some").run()
        assert len(store.trials(MAIN)) == len(store.outcomes(MAIN)) == 4
    with RunStore.open(tmp_path / "run") as store:
        mended = Listed([GOOD, FAIR, LUCKY, (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 0.0, 0.1)])
        journey(store, Model(), mended, "some").run()
        assert store.status() == "finished"
        assert len(store.trials(MAIN)) == 5


def size(recipe: Recipe) -> float:
    """How much is added to a base."""
    return sum(float(source.parameters["weight"]) for source in recipe.sources)  # type: ignore[arg-type]


def small_changes_fail(recipe: Recipe, item: str) -> float:
    """Candidates with small changes miss one item of twelve."""
    return float(size(recipe) > 2.0 or not item.endswith("7"))


@pytest.mark.parametrize(
    ("solves", "simplest"),
    [
        pytest.param(lambda recipe, item: 1.0, lambda recipe: True, id="of all"),
        pytest.param(small_changes_fail, lambda recipe: size(recipe) > 2.0, id="of those that solve all"),
    ],
)
@pytest.mark.parametrize(("rule", "finalists"), [("none", 1), ("none", 8), ("some", 8)])
def test_ties_on_fit_go_to_the_smallest_change(
    tmp_path: Path,
    solves: Callable[[Recipe, str], float],
    simplest: Callable[[Recipe], bool],
    rule: str,
    finalists: int,
) -> None:
    with begun(tmp_path / "run") as store:
        search_run = journey(store, Model(solves=solves), build("random", AXES, 3, {}), rule)
        searches = [replace(search, simplicity=lambda recipe: -size(recipe)) for search in search_run.first]
        replace(search_run, stages=[fixed(*searches)], finalists=finalists).run()
        winner = store.winner(MAIN)
        recipes = [Recipe.from_dict(json.loads(trial.recipe)) for trial in store.trials(MAIN)]
    assert winner is not None
    assert size(Recipe.from_dict(json.loads(winner.recipe))) == min(map(size, filter(simplest, recipes)))


# ---- the items of each generation, and estimates from some of them


ITEMS = [f"i{n}" for n in range(64)]


@pytest.mark.parametrize(("most", "n"), [(None, 64), (16, 16), (1000, 64)])
def test_a_generation_has_at_most_so_many_items_each_once(most: int | None, n: int) -> None:
    screen = Screen(ScreenSettings(items=most), 5)
    columns = screen.columns(Responses(ITEMS), 3)
    assert len(columns) == len(set(columns)) == n == screen.most_items(64)
    assert set(columns) <= set(range(64))


def history(n_trials: int = 60) -> Responses:
    """Items from very easy to very hard, for trials of ability about 0; the best about 1."""
    rng = np.random.default_rng(0)
    responses = Responses(ITEMS)
    for trial in range(n_trials):
        chance = sigmoid(rng.normal(0, 0.7) - np.linspace(-6, 6, 64))
        responses.add(-1 - trial, dict(zip(ITEMS, (rng.random(64) < chance).astype(float), strict=True)))
    return responses


def item_counts(settings: ScreenSettings, before: Responses, numbers: range = range(60)) -> np.ndarray:
    """How often each item is asked, over generations."""
    counts = np.zeros(64)
    for number in numbers:
        counts[list(Screen(settings, 1).columns(before, number))] += 1
    return counts / len(numbers)


def test_informative_items_are_neither_too_easy_nor_too_hard() -> None:
    items = item_counts(ScreenSettings(items=16), history())
    middle, ends = items[28:46].mean(), np.concatenate([items[:8], items[-8:]]).mean()
    assert middle > 4 * ends
    assert items.sum() == pytest.approx(16)
    assert (items > 0).mean() > 0.9, "every item has a chance"


def test_random_items_are_any() -> None:
    items = item_counts(ScreenSettings(items=16, choose="random"), history())
    assert abs(items[28:46].mean() - 0.25) < 0.06
    assert abs(np.concatenate([items[:8], items[-8:]]).mean() - 0.25) < 0.06


def test_items_in_turn_are_asked_equally_often() -> None:
    settings = ScreenSettings(items=16, choose="in turn")
    assert (item_counts(settings, history(), range(3, 7)) == 1 / 4).all()
    whole = Screen(settings, 1, [range(40), range(40, 64)])
    orders = [whole.columns(history(), number) for number in range(2)]
    assert {sum(item < 40 for item in order) for order in orders} == {10}
    assert not set(orders[0]) & set(orders[1])


def test_without_scores_informative_is_random() -> None:
    informative, random = (ScreenSettings(items=16, choose=choose) for choose in ("informative", "random"))
    orders = [Screen(each, 1).columns(Responses(ITEMS), 4) for each in (informative, random)]
    assert orders[0] == orders[1]


def test_generations_and_seeds_use_different_items() -> None:
    settings = ScreenSettings(items=16)
    orders = {
        tuple(Screen(settings, seed).columns(Responses(ITEMS), number))
        for seed in range(3)
        for number in range(5)
    }
    assert len(orders) == 15


def test_estimates_are_shrunken_towards_the_others() -> None:
    before = history()
    before.add(0, {ITEMS[31]: 1.0, ITEMS[32]: 1.0})
    before.add(1, dict.fromkeys(ITEMS, 1.0))
    lucky, perfect = estimate_means(before, [0, 1], range(len(ITEMS)))
    assert 0.4 < lucky < 0.75
    assert perfect == 1.0
