"""NSGA-II keeps the contract and finds fronts; its operators and its flow, seen from outside."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from random import Random

import pytest

from kingyo.errors import KingyoError
from kingyo.strategies import build, sbx
from kingyo.strategies.nsga2 import Nsga2
from kingyo.strategies.pareto import front
from kingyo.testing.strategies import FLOAT_AXES, MIXED_AXES, StrategyContract, failed, scored
from kingyo.types import Axis, Genome, Outcome, Strategy, Trial
from tests.strategies.hypervolume import hypervolume
from tests.strategies.problems import Knapsack, best, floats, sphere, work

Settings = Nsga2.Settings
SEEDS = range(5)
Objectives = Callable[[Genome], tuple[float, ...]]


class TestNsga2(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("nsga2", axes, seed, {"population": 8})


class TestNsga2OnFloats(StrategyContract):
    axes = FLOAT_AXES

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("nsga2", axes, seed, {"population": 5, "eta_c": 2, "eta_m": 5, "mutation_rate": 0.3})


class TestNsga2WithTwoObjectives(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("nsga2", axes, seed, {"population": 6, "crossover_rate": 0.5})

    def evaluate(self, trial: Trial) -> Outcome:
        score = self.score(trial.genome)
        return failed(trial) if trial.number % 7 == 3 else outcome_with(trial, score, 1 - score**2)

    # These two tell scores without objectives, which is another number of objectives than before.
    def test_several_objectives_are_taken(self) -> None: ...

    def test_known_points_are_learned(self) -> None: ...


def outcome_with(trial: Trial, *objectives: float) -> Outcome:
    outcome = scored(trial, 0.5)
    return Outcome(trial=trial, scores=outcome.scores, objectives=objectives)


def run_search(
    strategy: Strategy, objectives: Objectives, budget: int
) -> list[tuple[Genome, tuple[float, ...]]]:
    log: list[tuple[Genome, tuple[float, ...]]] = []
    while len(log) < budget:
        trials = strategy.ask(min(strategy.batch, budget - len(log)))
        values = [objectives(trial.genome) for trial in trials]
        log += [(trial.genome, each) for trial, each in zip(trials, values, strict=True)]
        strategy.tell([outcome_with(trial, *each) for trial, each in zip(trials, values, strict=True)])
    return log


def zdt(power: float) -> Objectives:
    """ZDT1 (power 1/2) and ZDT2 (power 2) of Zitzler, Deb and Thiele 2000, larger better."""

    def objectives(genome: Genome) -> tuple[float, ...]:
        first, *rest = genome
        g = 1 + 9 * sum(rest) / len(rest)
        return -first, -g * (1 - (first / g) ** power)

    return objectives


def volume(log: Sequence[tuple[Genome, tuple[float, ...]]], reference: Sequence[float]) -> float:
    return hypervolume([objectives for _, objectives in log], reference)


@pytest.mark.parametrize(("power", "exact", "budget"), [(0.5, 2 / 3, 2500), (2.0, 1 / 3, 5000)])
@pytest.mark.parametrize("seed", range(3))
def test_zdt(power: float, exact: float, budget: int, seed: int) -> None:
    """The front of the optimum dominates 2/3 (1/3) of the unit square; random points hardly reach it."""
    axes, objectives, reference = floats(8), zdt(power), (-1.0, -1.0)
    front_volume = volume(run_search(build("nsga2", axes, seed, {}), objectives, budget), reference)
    control = volume(run_search(build("random", axes, seed, {}), objectives, budget), reference)
    assert front_volume > 0.9 * exact > control


def test_a_knapsack_of_two_values_against_its_exact_front() -> None:
    knapsack, other = Knapsack.random(12, seed=1), Knapsack.random(12, seed=2).values

    def objectives(genome: Genome) -> tuple[float, ...]:
        second = sum(gene * value for gene, value in zip(genome, other, strict=True))
        first = knapsack.score(genome)
        return (first, second) if first > 0 else (first, first)

    everything = [objectives(genome) for genome in itertools.product((0.0, 1.0), repeat=12)]
    exact = {everything[index] for index in front(everything)}
    assert len(exact) > 3
    shares: list[float] = []
    for seed in SEEDS:
        points = {each for _, each in run_search(build("nsga2", knapsack.axes, seed, {}), objectives, 1200)}
        shares.append(len(points & exact) / len(exact))
    assert statistics.mean(shares) > 0.9


@pytest.mark.parametrize("seed", SEEDS)
def test_one_objective(seed: int) -> None:
    """It degrades to an elitist genetic algorithm."""
    options = {"population": 20}
    best_score = best("nsga2", floats(6), sphere, 600, seed, options)
    assert best_score > -0.01 > best("random", floats(6), sphere, 600, seed)
    knapsack = Knapsack.random(16, 0)
    assert best("nsga2", knapsack.axes, knapsack.score, 2000, seed, options) == knapsack.optimum


def test_axes_of_every_kind() -> None:
    axes = (
        Axis(name="weight", low=0, high=1),
        Axis(name="layers", low=0, high=30, kind="int"),
        Axis(name="used", low=0, high=1, kind="binary"),
        Axis(name="method", low=0, high=4, kind="categorical", choices=tuple("abcde")),
    )

    def objectives(genome: Genome) -> tuple[float, ...]:
        weight, layers, used, method = genome
        lost = abs(layers - 17) / 30 + (1 - used) + (method != 2)
        return -(weight**2) - lost, -((weight - 1) ** 2) - lost

    for seed in SEEDS:
        log = run_search(build("nsga2", axes, seed, {}), objectives, 800)
        assert volume(log, (-1.0, -1.0)) > 0.8 > volume([], (-1.0, -1.0))  # the exact one is 5/6
        assert volume(log, (-1.0, -1.0)) > volume(
            run_search(build("random", axes, seed, {}), objectives, 800), (-1.0, -1.0)
        )


def test_failures_have_no_children_and_parents_are_the_best_of_all() -> None:
    strategy = Nsga2(floats(3), 0, Settings(population=4))
    first = strategy.ask(4)
    strategy.tell(
        [
            outcome_with(first[0], 2, 0),
            failed(first[1]),
            outcome_with(first[2], 0, 2),
            outcome_with(first[3], -1, -1),
        ]
    )
    second = strategy.ask(4)
    assert {parent for trial in second for parent in trial.parents} <= {0, 2, 3}
    strategy.tell([outcome_with(second[0], 1.5, 1), *map(failed, second[1:])])
    # The parents of old stay until better ones are born; 3, the worst, wins against nobody.
    assert {parent for trial in strategy.ask(80) for parent in trial.parents} == {0, 2, 4}


def test_a_different_number_of_objectives_is_refused_and_leaves_no_trace() -> None:
    strategy, twin = (Nsga2(floats(3), 0, Settings(population=4)) for _ in range(2))
    trials, _ = strategy.ask(4), twin.ask(4)
    fine = [outcome_with(trial, trial.number, -trial.number) for trial in trials]
    with pytest.raises(KingyoError, match="expected 2 objectives") as error:
        strategy.tell([*fine[:3], outcome_with(trials[3], 1, 2, 3)])
    assert error.value.received == "3"
    for each in (strategy, twin):
        each.tell(fine)
    assert strategy.ask(9) == twin.ask(9)
    with pytest.raises(KingyoError, match="received 1"):
        strategy.tell([scored(strategy.ask(1)[0], 0.5)])


def test_known_points_join_the_first_parents_without_a_name() -> None:
    strategy = Nsga2(floats(3), 0, Settings(population=4))
    known = (0.7, 0.7, 0.7)
    strategy.warm_start([scored(Trial(number=-1, genome=known), 100.0)])
    first = strategy.ask(4)
    assert all(trial.parents == () for trial in first)
    strategy.tell([scored(trial, 0.0) for trial in first])
    children = strategy.ask(60)
    assert all(parent >= 0 for trial in children for parent in trial.parents)
    assert any(sum(gene == 0.7 for gene in trial.genome) >= 2 for trial in children)
    assert known not in [trial.genome for trial in children]


def test_a_known_point_has_a_number_below_zero_and_all_genes() -> None:
    strategy = Nsga2(floats(3), 0, Settings())
    with pytest.raises(KingyoError, match="number below 0"):
        strategy.warm_start([scored(Trial(number=0, genome=(0.1, 0.2, 0.3)), 1.0)])
    with pytest.raises(KingyoError, match="expected 3 genes; received 2"):
        strategy.warm_start([scored(Trial(number=-1, genome=(0.1, 0.2)), 1.0)])


def test_a_migrant_is_the_parent_of_its_children_by_number() -> None:
    strategy = Nsga2(floats(3), 0, Settings(population=4))
    strategy.inject([scored(Trial(number=-7, genome=(0.7, 0.7, 0.7)), 100.0)])
    strategy.tell([scored(trial, 0.0) for trial in strategy.ask(4)])
    assert -7 in {parent for trial in strategy.ask(40) for parent in trial.parents}


def test_genomes_repeat_only_in_a_used_up_space() -> None:
    axes = tuple(Axis(name=f"b{i}", low=0, high=1, kind="binary") for i in range(8))
    log = work(Nsga2(axes, 0, Settings(population=10)), sum, 150)
    assert len({trial.genome for trial, _ in log}) == 150
    assert len(Nsga2(axes[:1], 0, Settings(population=2)).ask(10)) == 10


def test_small_asks_equal_one_large_ask() -> None:
    parts, at_once = (Nsga2(floats(3), 4, Settings(population=4)) for _ in range(2))
    for strategy in (parts, at_once):
        strategy.tell([outcome_with(trial, *trial.genome) for trial in strategy.ask(4)])
    assert [*parts.ask(3), *parts.ask(17)] == at_once.ask(20)


def test_crossover_keeps_the_middle_and_the_bounds() -> None:
    """Away from the bounds SBX is symmetric: the children have the mean of the parents."""
    rng, axes = Random(0), floats(1, low=-1000, high=1000)
    for _ in range(300):
        (a,), (b,) = sbx.simulated_binary_crossover(axes, (1.0,), (2.0,), 20.0, rng)
        assert a + b == pytest.approx(3.0, abs=1e-6)
    for _ in range(300):
        for (gene,) in sbx.simulated_binary_crossover(floats(1), (0.0,), (1.0,), 2.0, rng):
            assert 0 <= gene <= 1


def test_a_larger_index_keeps_children_nearer() -> None:
    def spread(eta: float) -> float:
        rng, axis = Random(0), floats(1)[0]
        return statistics.mean(abs(sbx.polynomial_mutation(axis, 0.5, eta, rng) - 0.5) for _ in range(2000))

    # E|δ| of polynomial mutation is about 1 / (η + 2).
    assert spread(20.0) == pytest.approx(1 / 22, rel=0.1)
    assert spread(5.0) == pytest.approx(1 / 7, rel=0.1)


def test_a_mutation_changes_every_kind_of_gene() -> None:
    rng = Random(0)
    for axis in MIXED_AXES:
        for _ in range(200):
            value = axis.low if axis.kind != "float" else axis.first
            gene = sbx.polynomial_mutation(axis, float(value), 20.0, rng)
            assert gene != value and axis.low <= gene <= axis.high
            assert axis.kind == "float" or gene.is_integer()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 1}, "population"),
        ({"crossover_rate": 1.1}, "crossover_rate"),
        ({"mutation_rate": -0.1}, "mutation_rate"),
        ({"eta_c": -1}, "eta_c"),
        ({"eta_m": -1}, "eta_m"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        build("nsga2", FLOAT_AXES, 0, options)
