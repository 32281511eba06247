"""Genetic algorithm: selection, crossover, mutation and elitism (Holland 1975; Goldberg 1989).

    first population   random, or children of known points
    parents            the elites (best so far) and the last complete generation
    child              two selected parents, uniform crossover, mutation

Elites are not proposed again; they stay among the parents with the scores they have. ``Generations`` is what
NSGA-II shares.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies import STRATEGIES, genes
from kingyo.search.strategies.checks import Population, Positive, Share, Size, require
from kingyo.search.strategies.history import BaseStrategy

Selection = Callable[[Sequence[float], Random], int]
"""Takes scores (finite, larger is better) and a random source, and returns an index."""


def tournament(size: int) -> Selection:
    """Return a selection that draws ``size`` different candidates and picks the best of them.

    Ties go to the first one drawn. If there are fewer than ``size`` candidates, all take part. (Goldberg and
    Deb 1991.)
    """

    def pick(scores: Sequence[float], rng: Random) -> int:
        sample = rng.sample(range(len(scores)), min(size, len(scores)))
        return max(sample, key=lambda index: scores[index])

    return pick


def pick_pair(scores: Sequence[float], select: Selection, rng: Random) -> tuple[int, int]:
    """Select two different of two or more candidates; the second selection excludes the first candidate."""
    one = select(scores, rng)
    two = select([*scores[:one], *scores[one + 1 :]], rng)
    return one, two + (two >= one)


class Generations(BaseStrategy, ABC):
    """Search in generations, for axes of every kind.

    A generation is complete when ``population`` outcomes are in, of whichever trials; until then, asks use
    the current parents, or random genomes if there are none. A child that repeats an earlier genome is
    mutated, one random gene at a time, until it is new (at most 20 times).
    """

    def __init__(self, axes: Sequence[Axis], seed: int, population: int, mutation_rate: float) -> None:
        super().__init__(axes, seed, population)
        self._rng = Random(seed)
        self._mutation_rate = mutation_rate
        self._known: list[Outcome] = []  # until they become parents

    def ask(self, n: int) -> list[Trial]:
        while n and (generation := self._history.take(self._batch)):
            self._turn([outcome for outcome in generation if outcome.score is not None])
        return [self._propose() for _ in range(n)]

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Add known points, which become parents with the first complete generation."""
        self._history.expect_objectives(known)
        points = sorted(known, key=lambda outcome: -outcome.number)
        self._known = [outcome for outcome in points if outcome.score is not None]
        self._seen.update(outcome.genome for outcome in self._known)

    @abstractmethod
    def _turn(self, generation: Sequence[Outcome]) -> None:
        """Choose the parents from the known points and the trials of a generation that did not fail."""

    @abstractmethod
    def _child(self) -> tuple[Genome, tuple[int, ...]] | None:
        """Return a child and the numbers of its parents; None if there are no parents."""

    @abstractmethod
    def _mutate(self, index: int, gene: float) -> float:
        """Return the mutated gene of the axis with this index."""

    def _newcomer(self) -> Genome:
        return genes.random_point(self._axes, self._rng)

    def _propose(self) -> Trial:
        genome, parents = self._child() or (self._newcomer(), ())
        return self._ask_new(genome, self._mutate, self._rng, parents)

    def _mutated(self, genome: Genome) -> Genome:
        return tuple(
            self._mutate(index, gene) if self._rng.random() < self._mutation_rate else gene
            for index, gene in enumerate(genome)
        )


class GeneticAlgorithm(Generations):
    """Genetic algorithm for axes of every kind.

    A trial has two parents after crossover, one after mutation alone, and none in the first population.
    Failed trials do not become parents.

    Example:
        >>> axes = [Axis(name="weight/math", low=0.0, high=1.0), Axis(name="weight/code", low=0.0, high=1.0)]
        >>> strategy = GeneticAlgorithm(axes, seed=0, settings=GeneticAlgorithm.Settings(population=4))
        >>> [trial.number for trial in strategy.ask(2)]
        [0, 1]
    """

    handles_objectives: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of the genetic algorithm.

        Attributes:
            population: trials per generation.
            elites: number of best trials so far that stay among the parents.
            selection: selection of parents; roulette needs scores with a meaningful zero.
            tournament_size: candidates per tournament.
            crossover_rate: share of children with two parents; the others are mutants of one.
            mutation_rate: probability per gene; default 1 / number of genes, at least 0.01.
            mutation_step: standard deviation of a mutation, as a fraction of the axis' range.
            include: start: the first trial is the start, or the middle, of every axis.
            from_known: probability that a member of the first population is a child of known points.
        """

        population: Population = 20
        elites: int = 2
        selection: Literal["tournament", "roulette", "rank"] = "tournament"
        tournament_size: Size = 3
        crossover_rate: Share = 0.9
        mutation_rate: Share | None = None
        mutation_step: Positive = 0.1
        include: Literal["none", "start"] = "none"
        from_known: Share = 0.0

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        rate = settings.mutation_rate
        size, elites = settings.population, settings.elites
        require("elites", elites, f"0 to the population of {size}", holds=0 <= elites <= size)
        super().__init__(axes, seed, size, genes.mutation_rate(axes) if rate is None else rate)
        self._settings = settings
        self._elites: list[Outcome] = []
        self._parents: list[Outcome] = []
        self._select = {"roulette": roulette, "rank": rank}.get(
            settings.selection, tournament(settings.tournament_size)
        )

    def _turn(self, generation: Sequence[Outcome]) -> None:
        new = [*self._known, *generation]
        self._known = []
        ranked = sorted([*self._elites, *new], key=lambda parent: (-_score(parent), parent.number))
        self._elites = ranked[: self._settings.elites]
        older = [elite for elite in self._elites if elite not in new]
        # If all trials failed and there are no elites, keep the previous parents.
        self._parents = [*older, *new] or self._parents

    def _newcomer(self) -> Genome:
        if self._history.count == 0 and self._settings.include == "start":
            return genes.first_point(self._axes)
        return super()._newcomer()

    def _child(self) -> tuple[Genome, tuple[int, ...]] | None:
        if not self._parents:
            share = self._settings.from_known
            if not share or not self._known or self._rng.random() >= share:
                return None
        parents = self._parents or self._known
        scores = list(map(_score, parents))
        if len(scores) < 2 or self._rng.random() >= self._settings.crossover_rate:
            parent = parents[self._select(scores, self._rng)]
            return self._mutated(parent.genome), (parent.number,)
        one, two = pick_pair(scores, self._select, self._rng)
        a, b = parents[one], parents[two]
        return self._mutated(uniform_crossover(a.genome, b.genome, self._rng)), (a.number, b.number)

    def _mutate(self, index: int, gene: float) -> float:
        return genes.mutate_gene(self._axes[index], gene, self._settings.mutation_step, self._rng)


def _score(parent: Outcome) -> float:
    return parent.score or 0.0  # parents have a score


def uniform_crossover(one: Genome, two: Genome, rng: Random) -> Genome:
    """Uniform crossover: take each gene from either parent with equal probability (Syswerda 1989)."""
    return tuple(a if rng.random() < 0.5 else b for a, b in zip(one, two, strict=True))


def roulette(scores: Sequence[float], rng: Random) -> int:
    """Sample with probability proportional to the score.

    If a score is negative, all are shifted so that the worst is 0. If all weights are then 0, the choice is
    uniform.
    """
    shift = min(0.0, *scores)
    return _weighted_choice([score - shift for score in scores], rng)


def rank(scores: Sequence[float], rng: Random) -> int:
    """Sample with probability proportional to the rank, 1 for the worst to N for the best.

    Ties share the mean of their ranks. (Linear ranking, Baker 1985, with probability 0 below the worst.)
    """
    below = [sum(other < score for other in scores) for score in scores]
    equal = [sum(other == score for other in scores) for score in scores]
    return _weighted_choice([low + (ties + 1) / 2 for low, ties in zip(below, equal, strict=True)], rng)


def _weighted_choice(weights: Sequence[float], rng: Random) -> int:
    if not any(weights):
        return rng.randrange(len(weights))
    return rng.choices(range(len(weights)), weights)[0]


STRATEGIES.register("ga")(GeneticAlgorithm)
