"""Strategies with states, and that the contract finds states that are not whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from kingyo.strategies import build
from kingyo.testing.restoring import expect_restored
from kingyo.testing.strategies import MIXED_AXES, StrategyContract
from kingyo.types import Axis, Outcome, Resumable, Strategy, Trial
from tests.screened_runs import AXES as TIED_AXES

SMALL_GP: dict[str, object] = {"batch": 3, "initial": 4, "pool": 60, "memory": 20}
MADE: dict[str, dict[str, object]] = {
    "item-gp": SMALL_GP,
    "m2n2": {"population": 6, "batch": 2},
    "tpe": {"batch": 4, "startup": 5, "memory": 26},
    "coarse-to-fine": {"settings": SMALL_GP, "per_gene": 3.0},
    "islands": {"strategy": "item-gp", "settings": SMALL_GP, "islands": 2, "migrants": 0},
}


@pytest.mark.parametrize("name", MADE)
def test_it_has_a_state_before_its_first_ask_and_later(name: str) -> None:
    strategy = build(name, MIXED_AXES, 0, MADE[name])
    assert isinstance(strategy, Resumable)
    assert strategy.state() is not None
    strategy.ask(5)
    assert strategy.state() is not None


class TestCoarseToFineInItsStages(StrategyContract):
    """On axes that are tied at first; the searches of the contract reach the last stage."""

    axes = TIED_AXES

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("coarse-to-fine", axes, seed, MADE["coarse-to-fine"])


class TestIslandsOfAProcess(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("islands", axes, seed, MADE["islands"])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("coarse-to-fine", {"strategy": "ga"}),
        ("islands", {"strategy": "ga"}),
        ("islands", {"strategy": "cma-es", "migrants": 0}),
    ],
)
def test_a_wrapper_of_one_without_states_has_none(name: str, settings: dict[str, object]) -> None:
    strategy = build(name, TIED_AXES, 0, settings)
    strategy.ask(5)
    assert isinstance(strategy, Resumable)
    assert strategy.state() is None


class Spoiled:
    """An item-gp whose state is spoiled: each subclass leaves something out, or does too much."""

    def __init__(self) -> None:
        self.inner = build("item-gp", MIXED_AXES, 2, SMALL_GP)
        assert isinstance(self.inner, Resumable)
        self._inner: Resumable = self.inner

    @property
    def batch(self) -> int:
        return self.inner.batch

    def ask(self, n: int) -> list[Trial]:
        return self.inner.ask(n)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.inner.tell(outcomes)

    def state(self) -> Mapping[str, object] | None:
        return self._inner.state()

    def restore(
        self, state: Mapping[str, object], trials: Sequence[Trial], outcomes: Sequence[Outcome]
    ) -> None:
        self._inner.restore(state, trials, outcomes)


class ForgetsFresh(Spoiled):
    """What was told since the last ask is lost."""

    def state(self) -> Mapping[str, object] | None:
        return {**(super().state() or {}), "fresh": []}


class ForgetsShape(Spoiled):
    def restore(
        self, state: Mapping[str, object], trials: Sequence[Trial], outcomes: Sequence[Outcome]
    ) -> None:
        super().restore({**state, "shaped": 0}, trials, outcomes)


class AsksOnTheWay(Spoiled):
    def state(self) -> Mapping[str, object] | None:
        self.inner.ask(1)
        return super().state()


class NoJson(Spoiled):
    def state(self) -> Mapping[str, object] | None:
        return {**(super().state() or {}), "more": {1, 2}}


@pytest.mark.parametrize("make", [ForgetsFresh, ForgetsShape, AsksOnTheWay, NoJson])
def test_the_contract_finds(make: Callable[[], Strategy]) -> None:
    with pytest.raises((AssertionError, TypeError)):
        expect_restored(make, StrategyContractOnMixed().evaluate)


def test_the_contract_has_no_complaint_about_the_whole_one() -> None:
    expect_restored(Spoiled, StrategyContractOnMixed().evaluate)


class StrategyContractOnMixed(StrategyContract):
    """For its scores alone."""
