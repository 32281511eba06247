"""Every strategy of the package keeps the contract, and the contract finds strategies that do not."""

import random
from collections.abc import Sequence

import pytest

from kingyo.core.types import Axis, Outcome, Strategy, Trial
from kingyo.search.strategies import STRATEGIES, build
from kingyo.search.strategies.random_and_grid import RandomSearch
from kingyo.testing.strategies import FLOAT_AXES, MIXED_AXES, StrategyContract
from tests.search.strategies.problems import LAYERED

Options = dict[str, object]
GP: Options = {"batch": 4, "initial": 3, "pool": 40, "memory": 30}
MADE: dict[str, tuple[Options, tuple[Axis, ...]]] = {
    "ga": ({"population": 8}, MIXED_AXES),
    "nsga2": ({"population": 8}, MIXED_AXES),
    "cycleqd": ({"population": 4}, MIXED_AXES),
    "m2n2": ({}, MIXED_AXES),
    "random": ({}, MIXED_AXES),
    "grid": ({"points": 6}, MIXED_AXES),
    "cma-es": ({}, FLOAT_AXES),
    "sep-cma-es": ({}, FLOAT_AXES),
    "mixed-cma-es": ({}, MIXED_AXES),
    "item-gp": ({**GP, "initial": 5, "pool": 60}, MIXED_AXES),
    "coarse-to-fine": ({"settings": GP, "per_gene": 2}, LAYERED),
}
"""Strategy -> its options and axes here; ``memetic`` has a class in its file."""
ONE_INT = Axis(name="layers", low=-3, high=40, kind="int", start=40)
VARIANTS: list[tuple[str, Options, tuple[Axis, ...]]] = [
    ("ga", {"population": 6, "selection": "roulette", "elites": 0}, MIXED_AXES),
    ("nsga2", {"population": 5, "eta_c": 2, "eta_m": 5, "mutation_rate": 0.3}, FLOAT_AXES),
    ("cycleqd", {"population": 5, "cells": 3}, MIXED_AXES[2:]),
    ("m2n2", {"population": 5, "batch": 6, "initial": 2}, FLOAT_AXES),
    ("m2n2", {"population": 4, "batch": 8, "mutation_rate": 0.5, "flip_rate": 0.3, "alpha": 0.0}, MIXED_AXES),
    ("m2n2", {"population": 2, "initial": 0}, MIXED_AXES[2:3]),
    ("cma-es", {"x0": 0.0, "sigma": 0.5, "warm_start": False}, FLOAT_AXES[:1]),
    ("sep-cma-es", {"x0": 1.0, "sigma": 0.5}, FLOAT_AXES[:1]),
    ("mixed-cma-es", {"x0": 0.0, "sigma": 0.5, "population": 5}, MIXED_AXES),
    ("mixed-cma-es", {}, FLOAT_AXES),
    ("mixed-cma-es", {"warm_start": False}, MIXED_AXES[3:]),
    ("mixed-cma-es", {}, (ONE_INT,)),
    ("item-gp", {"batch": 3, "initial": 1, "pool": 60}, FLOAT_AXES),
    (
        "coarse-to-fine",
        {"strategy": "ga", "settings": {"population": 6}, "per_gene": 1},
        (*LAYERED[:5], *MIXED_AXES),
    ),
]
PROMISES = [name for name in vars(StrategyContract) if name.startswith("test_")]
VARIED = (
    "test_genomes_respect_bounds_and_kinds",
    "test_parents_are_earlier_trials",
    "test_replay_asks_the_same",
    "test_order_of_tells_does_not_matter",
    "test_failures_do_not_stop_it",
    "test_known_points_are_learned",
)
"""The promises that depend on settings and axes."""


def contract_of(name: str, options: Options, axes: tuple[Axis, ...]) -> StrategyContract:
    class Made(StrategyContract):
        def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
            return build(name, axes, seed, options)

    made = Made()
    made.axes = axes
    return made


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("name", MADE)
def test_a_strategy_keeps_its_promises(name: str, promise: str) -> None:
    getattr(contract_of(name, *MADE[name]), promise)()


@pytest.mark.parametrize("promise", VARIED)
@pytest.mark.parametrize(("name", "options", "axes"), VARIANTS)
def test_other_settings_and_axes_keep_them(
    name: str, options: Options, axes: tuple[Axis, ...], promise: str
) -> None:
    getattr(contract_of(name, options, axes), promise)()


class TestGridSearchThatEnds(StrategyContract):
    axes = FLOAT_AXES
    exhaustible = True

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("grid", axes, seed, {"points": 3, "batch": 20})


def test_every_registered_strategy_is_under_contract() -> None:
    assert set(STRATEGIES.names()) == {*MADE, "memetic"}


# ---- strategies that break a promise


class OutOfBounds(RandomSearch):
    def ask(self, n: int) -> list[Trial]:
        trials = super().ask(n)
        return [Trial(number=t.number, genome=(t.genome[0] + 9, *t.genome[1:])) for t in trials]


class GlobalRandom(RandomSearch):
    def ask(self, n: int) -> list[Trial]:
        return [Trial(number=t.number, genome=(random.random(), *t.genome[1:])) for t in super().ask(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        pass


class Hasty(RandomSearch):
    """Draws if the first outcome of a tell is a good one."""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        super().tell(outcomes)
        if outcomes and (outcomes[0].score or 0) > 0.8:
            self._rng.random()


class Waits(RandomSearch):
    open = 0

    def ask(self, n: int) -> list[Trial]:
        trials = super().ask(n if self.open < self.batch else 0)
        self.open += len(trials)
        return trials


class BelievesAll(RandomSearch):
    def tell(self, outcomes: Sequence[Outcome]) -> None:
        pass


@pytest.mark.parametrize(
    ("strategy", "promise"),
    [
        (OutOfBounds, "test_genomes_respect_bounds_and_kinds"),
        (GlobalRandom, "test_replay_asks_the_same"),
        (Hasty, "test_order_of_tells_does_not_matter"),
        (Waits, "test_asks_do_not_wait_for_tells"),
        (BelievesAll, "test_wrong_outcomes_are_refused"),
    ],
)
def test_the_contract_finds(strategy: type[RandomSearch], promise: str) -> None:
    class Contract(StrategyContract):
        def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
            return strategy(axes, seed, RandomSearch.Settings(batch=6))

    with pytest.raises((AssertionError, ValueError)):
        getattr(Contract(), promise)()
