"""Every strategy of the package keeps the contract, and the contract finds strategies that do not."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kingyo.core.types import Axis, Outcome, Strategy, Trial
from kingyo.search.strategies import STRATEGIES, build
from kingyo.search.strategies.random_and_grid import RandomSearch
from kingyo.testing.strategies import FLOAT_AXES, StrategyContract
from tests.search.strategies.variants import VariantContract


class TestGeneticAlgorithm(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("ga", axes, seed, {"population": 8})


class TestGeneticAlgorithmRoulette(VariantContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        options = {"population": 6, "selection": "roulette", "elites": 0}
        return build("ga", axes, seed, options)


class TestRandomSearch(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("random", axes, seed, {})


class TestGridSearch(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("grid", axes, seed, {"points": 6})


class TestGridSearchThatEnds(VariantContract):
    axes = FLOAT_AXES
    exhaustible = True

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("grid", axes, seed, {"points": 3, "batch": 20})


def test_every_registered_strategy_is_under_contract() -> None:
    for path in Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"tests.search.strategies.{path.stem}")
    strategy_classes = {type(each().make(each.axes, 0)) for each in _contracts(StrategyContract)}
    assert [name for name in STRATEGIES.names() if STRATEGIES.get(name) not in strategy_classes] == []


def _contracts(parent: type[StrategyContract]) -> list[type[StrategyContract]]:
    """The subclasses, and theirs, that say how their strategy is made."""
    below = [each for child in parent.__subclasses__() for each in (child, *_contracts(child))]
    return [each for each in below if each.make is not StrategyContract.make]


# ---- strategies that break a promise


class Sound:
    """Random search that others spoil: each subclass breaks one promise."""

    def __init__(self, axes: Sequence[Axis], seed: int) -> None:
        self.axes = axes
        self.inner = RandomSearch(axes, seed, RandomSearch.Settings(batch=6))
        self.open = 0

    @property
    def batch(self) -> int:
        return self.inner.batch

    def ask(self, n: int) -> list[Trial]:
        return self.inner.ask(n)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.inner.tell(outcomes)

    def draw(self) -> None:
        self.inner._rng.random()  # pyright: ignore[reportPrivateUsage]


class OutOfBounds(Sound):
    def ask(self, n: int) -> list[Trial]:
        trials = super().ask(n)
        return [Trial(number=t.number, genome=(t.genome[0] + 9, *t.genome[1:])) for t in trials]


class CountsFromOne(Sound):
    def ask(self, n: int) -> list[Trial]:
        return [Trial(number=t.number + 1, genome=t.genome) for t in super().ask(n)]


class OwnParent(Sound):
    def ask(self, n: int) -> list[Trial]:
        return [Trial(number=t.number, genome=t.genome, parents=(t.number,)) for t in super().ask(n)]


class GlobalRandom(Sound):
    def ask(self, n: int) -> list[Trial]:
        return [Trial(number=t.number, genome=(random.random(), *t.genome[1:])) for t in super().ask(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        pass


class Hasty(Sound):
    """Draws if the first outcome of a tell is a good one."""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        super().tell(outcomes)
        if outcomes and (outcomes[0].score or 0) > 0.8:
            self.draw()


class CountsOutcomes(Sound):
    def tell(self, outcomes: Sequence[Outcome]) -> None:
        super().tell(outcomes)
        for _ in outcomes:
            self.draw()


class Waits(Sound):
    def ask(self, n: int) -> list[Trial]:
        trials = super().ask(n if self.open < self.batch else 0)
        self.open += len(trials)
        return trials


class BelievesAll(Sound):
    def tell(self, outcomes: Sequence[Outcome]) -> None:
        pass


class HalfTold(Sound):
    """Learns the outcomes before the wrong one, then raises."""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            super().tell([outcome])
            self.draw()


class FailsOnFailure(Sound):
    def tell(self, outcomes: Sequence[Outcome]) -> None:
        super().tell(outcomes)
        if outcomes:
            max(o.score for o in outcomes if o.score is not None)


def broken_promises(make: Callable[[Sequence[Axis], int], Strategy]) -> set[str]:
    """Names of the contract's tests that this strategy fails."""

    class Contract(StrategyContract):
        def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
            return make(axes, seed)

    broken: set[str] = set()
    for name in dir(Contract):
        if name.startswith("test_"):
            try:
                getattr(Contract(), name)()
            except (AssertionError, ValueError):
                broken.add(name)
    return broken


@pytest.mark.parametrize(
    ("strategy", "promises"),
    [
        (OutOfBounds, {"test_genomes_respect_bounds_and_kinds"}),
        (CountsFromOne, {"test_numbers_count_on_from_zero"}),
        (OwnParent, {"test_parents_are_earlier_trials"}),
        (GlobalRandom, {"test_replay_asks_the_same"}),
        (Hasty, {"test_order_of_tells_does_not_matter"}),
        (CountsOutcomes, {"test_repeated_and_empty_tells_are_ignored"}),
        (Waits, {"test_asks_do_not_wait_for_tells"}),
        (BelievesAll, {"test_wrong_outcomes_are_refused"}),
        (HalfTold, {"test_wrong_outcomes_are_refused"}),
        (FailsOnFailure, {"test_failures_do_not_stop_it"}),
    ],
)
def test_the_contract_finds(strategy: Callable[[Sequence[Axis], int], Strategy], promises: set[str]) -> None:
    assert promises <= broken_promises(strategy)


def test_the_contract_accepts_a_valid_strategy() -> None:
    assert broken_promises(Sound) == set()
