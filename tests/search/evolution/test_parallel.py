"""Runs on several workers, which finish in any order: with generations the end is that of one worker."""

from pathlib import Path

import pytest

from kingyo.search.evolution import MAIN
from kingyo.search.evolution.screens import ScreenSettings
from kingyo.search.runners import LocalRunner
from kingyo.store import RunStore
from tests.fake_runs import Model, Shuffled, begun, facts, journey, weights
from tests.slow import slow


@pytest.mark.parametrize("items", [None, 4])
@pytest.mark.parametrize("strategy", ["ga", "cma-es"])
def test_the_order_of_completion_changes_nothing(tmp_path: Path, strategy: str, items: int | None) -> None:
    ends: list[tuple[object, ...]] = []
    for seed in range(3):
        model = Model()
        runner = LocalRunner(model) if seed == 0 else Shuffled(model, seed)
        with begun(tmp_path / f"{seed}") as store:
            journey(store, runner, strategy=strategy, screen=ScreenSettings(items=items)).run()
            outcomes = [store.outcomes(name) for name in store.searches()]
            ends.append((facts(store), outcomes, model.asked))
    assert ends[1:] == ends[:1] * 2


@pytest.mark.parametrize("broken", [None, weights(1, 1).hash])
def test_twins_of_one_generation_are_not_run_twice(tmp_path: Path, broken: str | None) -> None:
    """Unless the first of them failed: then each is tried, as by one worker."""
    ends: list[tuple[object, ...]] = []
    for name in ("several", "one"):
        model = Model(fails=lambda recipe: recipe.hash == broken)
        runner = Shuffled(model, 2) if name == "several" else LocalRunner(model)
        with begun(tmp_path / name) as store:
            journey(store, runner, strategy="random", rounded=True).run()
            ends.append((facts(store), model.asked))
        twice = {recipe for (recipe, _), times in model.asked.items() if times > 1}
        assert twice == ({broken} if broken else set())
    assert ends[0] == ends[1]


def test_an_interrupt_with_several_in_flight_does_not_change_the_result(tmp_path: Path) -> None:
    model = Model()
    with begun(tmp_path / "whole") as store:
        journey(store, LocalRunner(model)).run()
        expected = facts(store)
    for stop_after in range(0, model.asked.total(), 9):
        with begun(tmp_path / f"{stop_after}") as store, pytest.raises(KeyboardInterrupt):
            journey(store, Shuffled(Model(stop_after=stop_after), stop_after)).run()
        with RunStore.open(tmp_path / f"{stop_after}") as store:
            journey(store, Shuffled(Model(), 7)).run()
            assert facts(store) == expected


# ---- without generations: outcomes arrive as candidates finish


STRATEGIES = ["ga", "cma-es", "random"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_budget_is_kept_and_all_workers_work(tmp_path: Path, strategy: str) -> None:
    runner = Shuffled(Model(), 1)
    with begun(tmp_path / "run") as store:
        journey(store, runner, strategy=strategy, is_asynchronous=True).run()
        trials = store.trials(MAIN)
        assert len(trials) == len(store.outcomes(MAIN)) == 30
        assert [each.batch for each in trials] == list(range(30))
        assert [each.told for each in trials[:3]] == [0, 0, 0]
        assert all(number - 2 <= each.told <= number for number, each in enumerate(trials))
        outcomes = [*store.outcomes(MAIN)]
        assert outcomes != sorted(outcomes)
        assert store.status() == "finished"


@pytest.mark.parametrize("strategy", [*STRATEGIES[:2], *slow(*STRATEGIES[2:])])
def test_one_worker_gives_the_same_result_after_any_stop(tmp_path: Path, strategy: str) -> None:
    model = Model()
    with begun(tmp_path / "whole") as store:
        journey(store, LocalRunner(model), strategy=strategy, is_asynchronous=True).run()
        expected = facts(store)
    for stop_after in range(2, model.asked.total(), 11):
        with begun(tmp_path / f"{stop_after}") as store, pytest.raises(KeyboardInterrupt):
            journey(store, Model(stop_after=stop_after), strategy=strategy, is_asynchronous=True).run()
        with RunStore.open(tmp_path / f"{stop_after}") as store:
            journey(store, Model(), strategy=strategy, is_asynchronous=True).run()
            assert facts(store) == expected


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("items", [None, *slow(4)])
def test_stopped_with_several_in_flight_it_repeats_the_log(
    tmp_path: Path, strategy: str, items: int | None
) -> None:
    screen = ScreenSettings(items=items)
    for stop_after in (4, 9, 17, 28):
        first, second = Model(stop_after=stop_after), Model()
        folder = tmp_path / f"{stop_after}"
        with begun(folder) as store:
            with pytest.raises(KeyboardInterrupt):
                runner = Shuffled(first, stop_after)
                journey(store, runner, strategy=strategy, screen=screen, is_asynchronous=True).run()
            asked, outcomes = store.trials(MAIN), [*store.outcomes(MAIN).items()]
        with RunStore.open(folder) as store:
            runner = Shuffled(second, 5)
            journey(store, runner, strategy=strategy, screen=screen, is_asynchronous=True).run()
            assert store.trials(MAIN)[: len(asked)] == asked
            assert [*store.outcomes(MAIN).items()][: len(outcomes)] == outcomes
            assert len(store.outcomes(MAIN)) == 30
        if items is None:
            assert set((first.asked + second.asked).values()) == {1}
