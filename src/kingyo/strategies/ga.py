"""Genetic algorithm: selection, crossover, mutation and elitism (Holland 1975; Goldberg 1989).

    first population   random, or children of known points
    parents            the elites (best so far) and the last complete generation
    child              two selected parents, uniform crossover, mutation

Elites are not proposed again; they stay among the parents with the scores they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from kingyo.strategies import STRATEGIES, genes, selection
from kingyo.strategies.checks import check_search, require, require_size
from kingyo.strategies.generations import Generations
from kingyo.strategies.history import Observation
from kingyo.types import Axis, Genome


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A trial, known point or migrant with a score."""

    number: int
    genome: Genome
    score: float


class GeneticAlgorithm(Generations):
    """Genetic algorithm for axes of every kind.

    A trial has two parents after crossover, one after mutation alone, and none in the first population. A
    child that repeats an earlier genome is mutated, one random gene at a time, until it is new (at most 20
    times). Failed trials do not become parents.

    Args:
        axes: the search space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: invalid axes or settings.

    Example:
        >>> axes = [Axis(name="weight/math", low=0.0, high=1.0), Axis(name="weight/code", low=0.0, high=1.0)]
        >>> strategy = GeneticAlgorithm(axes, seed=0, settings=GeneticAlgorithm.Settings(population=4))
        >>> [trial.number for trial in strategy.ask(2)]
        [0, 1]
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of the genetic algorithm."""

        population: int = field(default=20, metadata={"doc": "trials per generation"})
        elites: int = field(
            default=2, metadata={"doc": "number of best trials so far that stay among the parents"}
        )
        selection: Literal["tournament", "roulette", "rank"] = field(
            default="tournament",
            metadata={"doc": "selection of parents; roulette needs scores with a meaningful zero"},
        )
        tournament_size: int = field(default=3, metadata={"doc": "candidates per tournament"})
        crossover_rate: float = field(
            default=0.9, metadata={"doc": "share of children with two parents; the others are mutants of one"}
        )
        mutation_rate: float | None = field(
            default=None, metadata={"doc": "probability per gene; default 1 / number of genes, at least 0.01"}
        )
        mutation_step: float = field(
            default=0.1,
            metadata={"doc": "standard deviation of a mutation, as a fraction of the axis' range"},
        )
        include: Literal["none", "start"] = field(
            default="none",
            metadata={"doc": "start: the first trial is the start, or the middle, of every axis"},
        )
        from_known: float = field(
            default=0.0,
            metadata={"doc": "probability that a member of the first population is a child of known points"},
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        checked, rate = check_search(axes, seed), settings.mutation_rate
        _check_settings(settings)
        rate = genes.mutation_rate(checked) if rate is None else rate
        super().__init__(checked, seed, settings.population, rate)
        self._settings = settings
        self._elites: list[Parent] = []
        self._parents: list[Parent] = []
        self._select = {
            "roulette": selection.roulette,
            "rank": selection.rank,
            "tournament": selection.tournament(settings.tournament_size),
        }[settings.selection]

    def _turn(self, generation: Sequence[Observation]) -> None:
        """Make the elites, the generation and the migrants the new parents."""
        scored = _scored([*self._migrants, *generation])
        self._migrants = []
        ranked = sorted([*self._elites, *scored], key=lambda parent: (-parent.score, parent.number))
        self._elites = ranked[: self._settings.elites]
        older = [elite for elite in self._elites if elite not in scored]
        # If all trials failed and there are no elites, keep the previous parents.
        self._parents = [*older, *scored] or self._parents

    def _newcomer(self) -> Genome:
        if self._history.count == 0 and self._settings.include == "start":
            return genes.first_point(self._axes)
        return super()._newcomer()

    def _child(self) -> tuple[Genome, tuple[int, ...]] | None:
        if not self._parents and not self._begins_with_known():
            return None
        parents = self._parents or _scored(self._migrants)
        scores = [parent.score for parent in parents]
        if len(scores) < 2 or self._rng.random() >= self._settings.crossover_rate:
            parent = parents[self._select(scores, self._rng)]
            return self._mutated(parent.genome), (parent.number,)
        one, two = selection.pick_pair(scores, self._select, self._rng)
        a, b = parents[one], parents[two]
        return self._mutated(uniform_crossover(a.genome, b.genome, self._rng)), (a.number, b.number)

    def _begins_with_known(self) -> bool:
        share = self._settings.from_known
        return share > 0 and bool(_scored(self._migrants)) and self._rng.random() < share

    def _mutate(self, index: int, gene: float) -> float:
        return genes.mutate_gene(self._axes[index], gene, self._settings.mutation_step, self._rng)


def _scored(observations: Sequence[Observation]) -> list[Parent]:
    return [
        Parent(number=observation.number, genome=observation.genome, score=observation.score)
        for observation in observations
        if observation.score is not None
    ]


def uniform_crossover(one: Genome, two: Genome, rng: Random) -> Genome:
    """Uniform crossover: take each gene from either parent with equal probability (Syswerda 1989)."""
    return tuple(a if rng.random() < 0.5 else b for a, b in zip(one, two, strict=True))


def _check_settings(settings: GeneticAlgorithm.Settings) -> None:
    size, elites = settings.population, settings.elites
    require_size("population", size, 2)
    require("elites", elites, f"0 to the population of {size}", holds=0 <= elites <= size)
    require("tournament_size", settings.tournament_size, "1 or more", holds=settings.tournament_size >= 1)
    require("mutation_step", settings.mutation_step, "more than 0", holds=settings.mutation_step > 0)
    rates = {
        "crossover_rate": settings.crossover_rate,
        "mutation_rate": settings.mutation_rate,
        "from_known": settings.from_known,
    }
    for name, rate in rates.items():
        require(name, rate, "0 to 1", holds=rate is None or 0 <= rate <= 1)


STRATEGIES.register("ga")(GeneticAlgorithm)
