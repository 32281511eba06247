"""The flow of the genetic algorithm, and the frequencies of its selections."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from random import Random

import pytest

from kingyo.core.types import Trial
from kingyo.search.strategies.genetic import (
    GeneticAlgorithm,
    Selection,
    pick_pair,
    roulette,
    tournament,
    uniform_crossover,
)
from kingyo.testing.strategies import failed, scored
from tests.search.strategies.problems import floats, sphere, work

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
