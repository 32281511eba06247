"""The loop where candidates are scored in rounds, on some of the items: resuming, costs, estimates, events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.evolve import BASELINES, MAIN, Event, Limits
from kingyo.recipe import Recipe
from kingyo.store import RunStore
from kingyo.types import Evaluation, Genome, Outcome, Trial
from tests.screened_runs import (
    BASELINE_RECIPES,
    BUDGET,
    RULES,
    STRATEGIES,
    Fails,
    Model,
    begun,
    chance,
    facts,
    journey,
    solves,
    weights,
)

NAMED = {recipe.hash for recipe in BASELINE_RECIPES.values()}


def some_fail(recipe: Recipe, before: int) -> bool:
    """One recipe in four fails at once."""
    return recipe.hash not in NAMED and int(recipe.hash[:8], 16) % 4 == 0


def some_fail_later(recipe: Recipe, before: int) -> bool:
    """One recipe in two fails, but only when it is asked a second time."""
    return recipe.hash not in NAMED and int(recipe.hash[:8], 16) % 2 == 0 and before > 0


def nobody_fails(recipe: Recipe, before: int) -> bool:
    return False


def ends_the_same(folder: Path, strategy: str, rule: str, fails: Fails, *, every: int) -> None:
    whole = Model(fails)
    with begun(folder / "whole") as store:
        journey(store, whole, strategy, rule).run()
        wanted = facts(store)
    for stop_after in range(every // 2, len(whole.asked), every):
        first = Model(fails, stop_after=stop_after)
        with begun(folder / f"stopped-{stop_after}") as store, pytest.raises(KeyboardInterrupt):
            journey(store, first, strategy, rule).run()
        second = Model(fails, before=first)
        with RunStore.open(folder / f"stopped-{stop_after}") as store:
            journey(store, second, strategy, rule).run()
            assert facts(store) == wanted
        assert second.calls == whole.calls
        assert second.scored == whole.scored


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_interrupted_it_ends_the_same(tmp_path: Path, strategy: str, rule: str) -> None:
    ends_the_same(tmp_path, strategy, rule, nobody_fails, every=40)


@pytest.mark.parametrize("fails", [some_fail, some_fail_later])
@pytest.mark.parametrize("rule", ["some", "racing", "halving", "some halved"])
@pytest.mark.parametrize("strategy", ["item-gp", "ga", "coarse-to-fine"])
def test_with_failures_too(tmp_path: Path, strategy: str, rule: str, fails: Fails) -> None:
    ends_the_same(tmp_path, strategy, rule, fails, every=25)


@pytest.mark.parametrize("fails", [nobody_fails, some_fail, some_fail_later])
def test_at_many_steps_too(tmp_path: Path, fails: Fails) -> None:
    ends_the_same(tmp_path, "ga", "halving", fails, every=4)
