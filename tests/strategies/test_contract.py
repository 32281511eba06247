"""Every strategy of the package keeps the contract, and the contract finds strategies that do not."""

from __future__ import annotations

import importlib
import itertools
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kingyo.strategies import STRATEGIES, build
from kingyo.strategies.random_search import RandomSearch
from kingyo.testing.strategies import FLOAT_AXES, MIXED_AXES, StrategyContract
from kingyo.types import Axis, Genome, Outcome, Strategy, Trial


class TestGeneticAlgorithm(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("ga", axes, seed, {"population": 8})


class TestGeneticAlgorithmRoulette(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("ga", axes, seed, {"population": 6, "selection": "roulette", "include": "start"})


class TestGeneticAlgorithmRankWithoutElites(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("ga", axes, seed, {"population": 5, "selection": "rank", "elites": 0})


class TestCmaEs(StrategyContract):
    axes = FLOAT_AXES

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("cma-es", axes, seed, {})


class TestCmaEsOnOneAxis(StrategyContract):
    axes = FLOAT_AXES[:1]

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("cma-es", axes, seed, {"x0": 0.0, "sigma": 0.5})


class TestRandomSearch(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("random", axes, seed, {})


class TestGridSearch(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("grid", axes, seed, {"points": 6})


class TestGridSearchThatEnds(StrategyContract):
    axes = FLOAT_AXES
    exhaustible = True

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("grid", axes, seed, {"points": 3, "batch": 20})


def test_every_registered_strategy_is_under_contract() -> None:
    for path in Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"tests.strategies.{path.stem}")
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
        self.chance = random.Random(seed)

    @property
    def batch(self) -> int:
        return self.inner.batch

    def ask(self, n: int) -> list[Trial]:
        return self.inner.ask(n)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.inner.tell(outcomes)


class Changed(Sound):
    """Asks for changed trials, and translates them back when told."""

    def __init__(self, axes: Sequence[Axis], seed: int) -> None:
        super().__init__(axes, seed)
        self.asked: dict[int, tuple[Trial, Trial]] = {}

    def change(self, trial: Trial) -> Trial:
        raise NotImplementedError

    def ask(self, n: int) -> list[Trial]:
        pairs = [(self.change(trial), trial) for trial in self.inner.ask(n)]
        self.asked |= {shown.number: (shown, trial) for shown, trial in pairs}
        return [shown for shown, _ in pairs]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        known = [o for o in outcomes if self.asked.get(o.trial.number, (None,))[0] == o.trial]
        if len(known) < len(outcomes):
            raise ValueError("unknown trial")
        inner = [
            Outcome(trial=self.asked[o.trial.number][1], scores=o.scores, failure=o.failure) for o in outcomes
        ]
        self.inner.tell(inner)


def with_genome(trial: Trial, genome: Genome) -> Trial:
    return Trial(number=trial.number, genome=genome, parents=trial.parents)


class OutOfBounds(Changed):
    def change(self, trial: Trial) -> Trial:
        return with_genome(trial, (trial.genome[0] + 0.5, *trial.genome[1:]))


class NotWhole(Changed):
    def change(self, trial: Trial) -> Trial:
        return with_genome(trial, (*trial.genome[:-1], trial.genome[-1] * 0.9))


class CountsFromOne(Changed):
    def change(self, trial: Trial) -> Trial:
        return Trial(number=trial.number + 1, genome=trial.genome)


class OwnParent(Changed):
    def change(self, trial: Trial) -> Trial:
        return Trial(number=trial.number, genome=trial.genome, parents=(trial.number,))


class GlobalRandom(Changed):
    def change(self, trial: Trial) -> Trial:
        return with_genome(trial, (random.random(), *trial.genome[1:]))


class Hasty(Sound):
    """Draws once more whenever a later outcome in the list is better than an earlier one."""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.inner.tell(outcomes)
        known = [o.score for o in outcomes if o.score is not None]
        for _ in range(sum(b > a for a, b in itertools.pairwise(known))):
            self.inner._rng.random()  # pyright: ignore[reportPrivateUsage]


class CountsRepeats(Sound):
    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.inner.tell(outcomes)
        for _ in outcomes:
            self.inner._rng.random()  # pyright: ignore[reportPrivateUsage]


class CountsTells(Sound):
    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.inner.tell(outcomes)
        self.inner._rng.random()  # pyright: ignore[reportPrivateUsage]


class Waits(Sound):
    def __init__(self, axes: Sequence[Axis], seed: int) -> None:
        super().__init__(axes, seed)
        self.open = 0

    def ask(self, n: int) -> list[Trial]:
        trials = self.inner.ask(n if self.open < self.batch else 0)
        self.open += len(trials)
        return trials

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.inner.tell(outcomes)
        self.open -= len(outcomes)


class BelievesAll(Sound):
    def tell(self, outcomes: Sequence[Outcome]) -> None:
        pass


class HalfTold(Sound):
    """Learns the outcomes before the wrong one, then raises."""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self.inner.tell([outcome])
            self.inner._rng.random()  # pyright: ignore[reportPrivateUsage]


class FailsOnFailure(Sound):
    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.inner.tell(outcomes)
        scores = [o.score for o in outcomes if o.score is not None]
        if outcomes:
            max(scores)


class SortsTheCallersList(Sound):
    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.inner.tell(outcomes)
        if isinstance(outcomes, list):
            outcomes.sort(key=lambda o: o.trial.number)


class ReadsAxesLate(Sound):
    def ask(self, n: int) -> list[Trial]:
        return self.inner.ask(n if self.axes else 0)


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
    ("strategy", "promise"),
    [
        (OutOfBounds, "test_genomes_respect_bounds_and_kinds"),
        (NotWhole, "test_genomes_respect_bounds_and_kinds"),
        (CountsFromOne, "test_numbers_count_on_from_zero"),
        (OwnParent, "test_parents_are_earlier_trials"),
        (GlobalRandom, "test_replay_asks_the_same"),
        (GlobalRandom, "test_global_random_state_is_neither_used_nor_changed"),
        (Hasty, "test_order_of_tells_does_not_matter"),
        (CountsRepeats, "test_repeated_tell_is_ignored"),
        (CountsTells, "test_empty_tell_is_ignored"),
        (Waits, "test_asks_do_not_wait_for_tells"),
        (BelievesAll, "test_unknown_trial_is_refused"),
        (BelievesAll, "test_other_genome_is_refused"),
        (BelievesAll, "test_contradicting_tell_is_refused"),
        (BelievesAll, "test_not_a_number_is_refused"),
        (HalfTold, "test_unknown_trial_is_refused"),
        (FailsOnFailure, "test_failures_do_not_stop_it"),
        (SortsTheCallersList, "test_arguments_are_left_alone"),
        (ReadsAxesLate, "test_arguments_are_left_alone"),
    ],
)
def test_the_contract_finds(strategy: Callable[[Sequence[Axis], int], Strategy], promise: str) -> None:
    assert promise in broken_promises(strategy)


def test_the_contract_accepts_a_valid_strategy() -> None:
    assert broken_promises(Sound) == set()


def test_the_default_score_is_best_at_a_third() -> None:
    contract = StrategyContract()
    best = tuple(axis.low + (axis.high - axis.low) / 3 for axis in MIXED_AXES)
    assert math.isclose(contract.score(best), 1.0)
