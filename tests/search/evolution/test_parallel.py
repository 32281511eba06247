"""Runs on several workers: with fakes in any order of finishing, the same end as with one worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from kingyo.search.evolution.screens import ScreenSettings
from kingyo.search.runners import LocalRunner
from kingyo.store import RunStore
from tests.fake_runs import Model, Shuffled, begun, facts, journey, weights

SCREENS = {
    "all": ScreenSettings(),
    "some": ScreenSettings(items=4),
}


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("strategy", ["ga", "cma-es"])
def test_the_order_of_completion_changes_nothing(tmp_path: Path, strategy: str, screen: str) -> None:
    ends: list[tuple[object, ...]] = []
    for seed in range(3):
        model = Model()
        runner = LocalRunner(model) if seed == 0 else Shuffled(model, seed)
        with begun(tmp_path / f"{seed}") as store:
            journey(store, runner, strategy=strategy, screen=SCREENS[screen]).run()
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
