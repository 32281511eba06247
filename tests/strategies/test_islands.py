"""Islands keep the contract, send their best around the ring, and record parents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from kingyo.errors import KingyoError
from kingyo.strategies import build
from kingyo.testing.strategies import FLOAT_AXES, StrategyContract, failed, scored
from kingyo.types import AcceptsMigrants, Axis, Genome, InformedStrategy, Outcome, Strategy, Trial
from tests.strategies.problems import best, floats, hypervolume, sphere, work

SMALL = {"strategy": "ga", "settings": {"population": 4}, "islands": 3, "migration_every": 1}


class TestIslandsOfGa(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("islands", axes, seed, SMALL)


class TestIslandsOfNsga2(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        options = {"strategy": "nsga2", "settings": {"population": 3}, "migration_every": 2, "migrants": 2}
        return build("islands", axes, seed, options)


class TestIslandsOfCmaEs(StrategyContract):
    axes = FLOAT_AXES

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("islands", axes, seed, {"strategy": "cma-es", "islands": 2, "migrants": 0})


class TestIslandsOfAGrid(StrategyContract):
    axes = FLOAT_AXES
    exhaustible = True

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        settings = {"points": 2, "batch": 3}
        options = {"strategy": "grid", "settings": settings, "islands": 2, "migrants": 0}
        return build("islands", axes, seed, options)


def islands(options: Mapping[str, object] = SMALL, seed: int = 0) -> Strategy:
    return build("islands", floats(4), seed, options)


def test_islands_start_at_different_points_and_take_turns() -> None:
    trials = islands().ask(12)
    assert len({trial.genome for trial in trials}) == 12
    parts, at_once = islands(), islands()
    assert [*parts.ask(5), *parts.ask(7)] == trials == at_once.ask(12)


def test_without_migrants_families_stay_at_home() -> None:
    log = [trial for trial, _ in work(islands({**SMALL, "migrants": 0}), sphere, 240)]
    assert all(parent % 3 == trial.number % 3 for trial in log for parent in trial.parents)


def test_migrants_come_from_the_island_before_and_are_named_as_parents() -> None:
    log = work(islands(), sphere, 240)
    edges = {(parent % 3, trial.number % 3) for trial, _ in log for parent in trial.parents}
    assert edges == {(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0)}
    for trial, _ in log:
        for parent in trial.parents:
            assert parent < trial.number


def test_the_best_of_an_island_migrates_once() -> None:
    strategy = islands({**SMALL, "islands": 2, "settings": {"population": 2, "elites": 0}})
    trials = strategy.ask(4)  # 0 and 2 live on the first island
    strategy.tell([scored(trial, score) for trial, score in zip(trials, (1, 8, 9, 3), strict=True)])
    children = strategy.ask(80)
    visiting = {p for trial in children for p in trial.parents if p % 2 != trial.number % 2}
    assert visiting == {1, 2}
    strategy.tell([scored(trial, 0.0) for trial in children[:4]])
    late = {p for t in strategy.ask(80) for p in t.parents if p % 2 != t.number % 2}
    assert not late & {1, 2}


def test_failures_do_not_travel() -> None:
    strategy = islands({**SMALL, "migrants": 3})
    trials = strategy.ask(12)
    strategy.tell([failed(t) if t.number % 3 == 0 else scored(t, 1.0) for t in trials])
    assert not {p for t in strategy.ask(90) for p in t.parents} & {0, 3, 6, 9}


def test_a_different_number_of_objectives_is_refused_and_leaves_no_trace() -> None:
    strategy, twin = islands(), islands()
    trials, _ = strategy.ask(12), twin.ask(12)
    fine = [scored(trial, 0.5) for trial in trials]
    two = Outcome(trial=trials[-1], scores=fine[-1].scores, objectives=(1.0, 2.0))
    with pytest.raises(KingyoError, match="expected 1 objectives"):
        strategy.tell([*fine[:-1], two])
    strategy.tell(fine)
    twin.tell(fine)
    assert strategy.ask(12) == twin.ask(12)


def test_known_points_and_migrants_have_different_numbers() -> None:
    strategy = islands()
    assert isinstance(strategy, InformedStrategy)
    known = [scored(Trial(number=-1 - i, genome=(0.7, 0.7, 0.7, 0.1 * i)), 5.0) for i in range(3)]
    strategy.warm_start(known)
    log = [trial for trial, _ in work(strategy, sphere, 240)]
    assert all(0 <= parent < trial.number for trial in log for parent in trial.parents)
    assert not {trial.genome for trial in log} & {each.trial.genome for each in known}
    assert sum(sum(gene == 0.7 for gene in trial.genome) >= 2 for trial in log) > 20


def test_which_strategies_accept_migrants() -> None:
    for name, accepts in {"ga": True, "nsga2": True, "random": False, "cma-es": False}.items():
        assert isinstance(build(name, FLOAT_AXES, 0, {}), AcceptsMigrants) == accepts


def test_islands_of_nsga2_find_a_front() -> None:
    def objectives(genome: Genome) -> tuple[float, ...]:
        rest = sum((gene - 0.5) ** 2 for gene in genome[1:])
        return -(genome[0] ** 2) - rest, -((genome[0] - 1) ** 2) - rest

    strategy = build("islands", floats(6), 0, {"strategy": "nsga2", "settings": {"population": 20}})
    points: list[tuple[float, ...]] = []
    while len(points) < 1600:
        outcomes = [scored(trial, 0.5) for trial in strategy.ask(strategy.batch)]
        strategy.tell([replace(each, objectives=objectives(each.trial.genome)) for each in outcomes])
        points += [objectives(each.trial.genome) for each in outcomes]
    assert hypervolume(points, -1.0) > 0.79  # the exact one is 5/6


def trap(genome: Genome) -> float:
    """Deceptive traps of four bits each (Deb and Goldberg 1993): every bit gained leads away."""
    blocks = [sum(genome[i : i + 4]) for i in range(0, len(genome), 4)]
    return sum(4 if ones == 4 else 3 - ones for ones in blocks)


@pytest.mark.slow
def test_islands_solve_a_deceptive_problem_more_often_than_one_population() -> None:
    axes = [Axis(name=f"b{i}", low=0, high=1, kind="binary") for i in range(16)]
    apart = {"settings": {"population": 10}, "islands": 4}
    together = {"population": 40}
    solved = [
        sum(best(name, axes, trap, 2000, seed, options) == 16 for seed in range(40))
        for name, options in (("islands", apart), ("ga", together))
    ]
    assert solved[0] > solved[1], solved
