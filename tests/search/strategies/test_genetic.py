"""The flow of the genetic algorithm and of NSGA-II, their operators, and the fronts that NSGA-II finds."""

import statistics
from collections.abc import Sequence
from math import comb
from random import Random

import pytest

from kingyo.core.types import Axis, Genome, Outcome, Strategy, Trial
from kingyo.search.strategies import build
from kingyo.search.strategies.genetic import (
    GeneticAlgorithm,
    Nsga2,
    Selection,
    pick_pair,
    polynomial_mutation,
    roulette,
    simulated_binary_crossover,
    tournament,
    uniform_crossover,
)
from kingyo.testing.strategies import MIXED_AXES, StrategyContract, failed, scored
from tests.search.strategies.problems import (
    Objectives,
    floats,
    hypervolume,
    judged,
    sphere,
    work,
    work_on_several,
)

Settings = GeneticAlgorithm.Settings


def generation(ga: GeneticAlgorithm, scores: list[float | None]) -> list[Trial]:
    trials = ga.ask(len(scores))
    ga.tell([failed(t) if s is None else scored(t, s) for t, s in zip(trials, scores, strict=True)])
    return trials


def test_crossover_takes_each_gene_from_either_parent_equally_often() -> None:
    rng, ones, twos = Random(0), (1.0,) * 20, (2.0,) * 20
    children = [uniform_crossover(ones, twos, rng) for _ in range(1000)]
    for place in range(20):
        assert 440 < sum(child[place] == 1.0 for child in children) < 560
    shares = [child.count(1.0) for child in children]
    assert max(shares) < 20 and min(shares) > 0


def test_first_population_has_no_parents_and_children_have_one_or_two() -> None:
    ga = GeneticAlgorithm(floats(5), 0, Settings(population=10))
    log = [trial for trial, _ in work(ga, sphere, 400)]
    assert all(trial.parents == () for trial in log[:10])
    assert all(len(trial.parents) in (1, 2) for trial in log[10:])
    pairs = sum(len(trial.parents) == 2 for trial in log[10:])
    assert 0.84 < pairs / 390 < 0.96  # crossover rate 0.9


def test_parents_come_from_the_last_generation_and_the_elites() -> None:
    ga = GeneticAlgorithm(floats(4), 0, Settings(population=6, elites=2))
    generation(ga, [0.1, 0.9, 0.2, 0.8, 0.3, 0.4])
    second = generation(ga, [0.0] * 6)
    assert {parent for trial in second for parent in trial.parents} <= set(range(6))
    third = ga.ask(60)
    assert {parent for trial in third for parent in trial.parents} == {1, 3, *range(6, 12)}


def test_failures_have_no_children() -> None:
    ga = GeneticAlgorithm(floats(4), 0, Settings(population=6, elites=0))
    generation(ga, [None, -5.0, None, -6.0, None, None])
    assert {parent for trial in ga.ask(60) for parent in trial.parents} == {1, 3}


def test_after_a_generation_of_failures_its_parents_try_again() -> None:
    ga = GeneticAlgorithm(floats(4), 0, Settings(population=4, elites=0))
    generation(ga, [None] * 4)
    assert [trial.parents for trial in generation(ga, [0.1, 0.2, 0.3, 0.4])] == [()] * 4
    generation(ga, [None] * 4)
    parents = {parent for trial in ga.ask(40) for parent in trial.parents}
    assert parents and parents <= {4, 5, 6, 7}


def test_a_generation_ends_with_enough_outcomes() -> None:
    ga = GeneticAlgorithm(floats(4), 0, Settings(population=4))
    first = ga.ask(4)
    ga.tell([scored(trial, 0.5) for trial in first[:3]])
    spare = ga.ask(2)
    assert [trial.parents for trial in spare] == [(), ()]
    ga.tell([scored(spare[1], 0.5)])
    assert {parent for trial in ga.ask(40) for parent in trial.parents} == {0, 1, 2, 5}


@pytest.mark.parametrize(("rate", "expected"), [(None, 0.1), (0.5, 0.5)])
def test_mutation_rate(rate: float | None, expected: float) -> None:
    settings = Settings(population=10, mutation_rate=rate, crossover_rate=0)
    log = [trial for trial, _ in work(GeneticAlgorithm(floats(10), 0, settings), sphere, 400)]
    changed = sum(
        gene != old
        for trial in log[10:]
        for gene, old in zip(trial.genome, log[trial.parents[0]].genome, strict=True)
    )
    # A mutant that no gene would set apart gets one mutation more.
    untouched = (1 - expected) ** 10
    assert changed / 390 == pytest.approx(10 * expected + untouched, rel=0.15)


def close(select: Selection, scores: Sequence[float], expected: Sequence[float]) -> bool:
    """Compare frequencies in 20,000 draws, with more than four standard deviations of tolerance."""
    rng = Random(0)
    samples = [select(scores, rng) for _ in range(20_000)]
    found = [samples.count(index) / len(samples) for index in range(len(scores))]
    return found == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(
    ("select", "scores", "expected"),
    [
        (roulette, (1, 2, 3, 4), (0.1, 0.2, 0.3, 0.4)),
        (roulette, (0, 0, 0, 0), (0.25, 0.25, 0.25, 0.25)),
        (roulette, (-3, -1, 1), (0, 1 / 3, 2 / 3)),
        (tournament(2), (1, 1, 1), (1 / 3, 1 / 3, 1 / 3)),
    ],
)
def test_selections(select: Selection, scores: Sequence[float], expected: Sequence[float]) -> None:
    assert close(select, scores, expected)


@pytest.mark.parametrize("size", [1, 3, 9])
def test_tournament(size: int) -> None:
    """The i-th worst of N wins when the other k - 1 are drawn from the i - 1 below it."""
    scores = (0.4, -1, 0.9, 0.5, 7)
    k = min(size, 5)
    assert close(
        tournament(size), scores, [comb(sorted(scores).index(score), k - 1) / comb(5, k) for score in scores]
    )


@pytest.mark.parametrize("select", [roulette, tournament(3)])
def test_a_pair_is_two_different_candidates(select: Selection) -> None:
    rng = Random(0)
    pairs = [pick_pair((0, 0, 5, 0), select, rng) for _ in range(500)]
    assert all(one != two and {one, two} <= {0, 1, 2, 3} for one, two in pairs)
    assert {two for _, two in pairs} >= {0, 1, 3}


# ---- NSGA-II


class TestNsga2WithTwoObjectives(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("nsga2", axes, seed, {"population": 6, "crossover_rate": 0.5})

    def evaluate(self, trial: Trial) -> Outcome:
        score = self.score(trial.genome)
        return failed(trial) if trial.number % 7 == 3 else judged(trial, (score, 1 - score**2))

    # These two tell scores without objectives, which is another number of objectives than before.
    def test_several_objectives_are_taken(self) -> None: ...

    def test_known_points_are_learned(self) -> None: ...


def zdt(power: float) -> Objectives:
    """ZDT1 (power 1/2) and ZDT2 (power 2) of Zitzler, Deb and Thiele 2000, larger better."""

    def objectives(genome: Genome) -> tuple[float, ...]:
        first, *rest = genome
        g = 1 + 9 * sum(rest) / len(rest)
        return -first, -g * (1 - (first / g) ** power)

    return objectives


@pytest.mark.parametrize(("power", "exact", "budget"), [(0.5, 2 / 3, 2500), (2.0, 1 / 3, 5000)])
def test_zdt(power: float, exact: float, budget: int) -> None:
    """The front of the optimum dominates 2/3 (1/3) of the unit square; random points hardly reach it."""
    axes, objectives = floats(8), zdt(power)
    found, control = (
        hypervolume(work_on_several(build(name, axes, 0, {}), objectives, budget), -1.0)
        for name in ("nsga2", "random")
    )
    assert found > 0.9 * exact > control


def test_failures_have_no_children_and_parents_are_the_best_of_all() -> None:
    strategy = Nsga2(floats(3), 0, Nsga2.Settings(population=4))
    first = strategy.ask(4)
    strategy.tell(
        [
            judged(first[0], (2, 0)),
            failed(first[1]),
            judged(first[2], (0, 2)),
            judged(first[3], (-1, -1)),
        ]
    )
    second = strategy.ask(4)
    assert {parent for trial in second for parent in trial.parents} <= {0, 2, 3}
    strategy.tell([judged(second[0], (1.5, 1)), *map(failed, second[1:])])
    # The parents of old stay until better ones are born; 3, the worst, wins against nobody.
    assert {parent for trial in strategy.ask(80) for parent in trial.parents} == {0, 2, 4}


def test_known_points_join_the_first_parents_without_a_name() -> None:
    strategy = Nsga2(floats(3), 0, Nsga2.Settings(population=4))
    known = (0.7, 0.7, 0.7)
    strategy.warm_start([scored(Trial(number=-1, genome=known), 100.0)])
    first = strategy.ask(4)
    assert all(trial.parents == () for trial in first)
    strategy.tell([scored(trial, 0.0) for trial in first])
    children = strategy.ask(60)
    assert all(parent >= 0 for trial in children for parent in trial.parents)
    assert any(sum(gene == 0.7 for gene in trial.genome) >= 2 for trial in children)
    assert known not in [trial.genome for trial in children]


def test_crossover_keeps_the_middle_and_the_bounds() -> None:
    """Away from the bounds SBX is symmetric: the children have the mean of the parents."""
    rng, axes = Random(0), floats(1, low=-1000, high=1000)
    for _ in range(300):
        (a,), (b,) = simulated_binary_crossover(axes, (1.0,), (2.0,), 20.0, rng)
        assert a + b == pytest.approx(3.0, abs=1e-6)
    for _ in range(300):
        for (gene,) in simulated_binary_crossover(floats(1), (0.0,), (1.0,), 2.0, rng):
            assert 0 <= gene <= 1


def test_a_larger_index_keeps_children_nearer() -> None:
    def spread(eta: float) -> float:
        rng, axis = Random(0), floats(1)[0]
        return statistics.mean(abs(polynomial_mutation(axis, 0.5, eta, rng) - 0.5) for _ in range(2000))

    # E|δ| of polynomial mutation is about 1 / (η + 2).
    assert spread(20.0) == pytest.approx(1 / 22, rel=0.1)
    assert spread(5.0) == pytest.approx(1 / 7, rel=0.1)


def test_a_mutation_changes_every_kind_of_gene() -> None:
    rng = Random(0)
    for axis in MIXED_AXES:
        for _ in range(200):
            value = axis.low if axis.kind != "float" else axis.first
            gene = polynomial_mutation(axis, float(value), 20.0, rng)
            assert gene != value and axis.low <= gene <= axis.high
            assert axis.kind == "float" or gene.is_integer()
