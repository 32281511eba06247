"""The textbook genetic algorithm: select, cross, mutate, next generation, with elitism.

    population  random in the bounds, or children of what is known; evaluated by whoever asks
    parents     the elites (best ever told) + the last complete generation
    child       two selected parents; each gene from either with equal probability; few genes mutated

Holland 1975; Goldberg 1989. A generation is complete when ``population`` outcomes are in, whichever trials
they belong to; before that, asks go on from the parents of the generation before (or at random, at the
beginning). Elites are not asked again: they stay among the parents with the score they have.
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
    """A trial, or a point from elsewhere, that may have children."""

    number: int
    genome: Genome
    score: float


class GeneticAlgorithm(Generations):
    """The textbook genetic algorithm, for axes of every kind.

    A trial has two parents after crossover, one when it is only a mutant, none in the first population.
    A child that repeats an earlier genome would cost an evaluation and teach nothing: it is mutated on, one
    random gene at a time, until it is new (20 attempts; a small space may be used up).
    Failures have no children.

    Args:
        axes: the space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: axes or settings that make no sense, each named.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of the genetic algorithm."""

        population: int = field(default=20, metadata={"doc": "trials per generation"})
        elites: int = field(
            default=2, metadata={"doc": "how many of the best ever told stay among the parents"}
        )
        selection: Literal["tournament", "roulette", "rank"] = field(
            default="tournament",
            metadata={"doc": "how parents are picked; roulette needs scores with a meaningful zero"},
        )
        tournament_size: int = field(default=3, metadata={"doc": "how many compete in one tournament"})
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
            metadata={"doc": "start: the first trial is the start (or middle) of every axis"},
        )
        from_known: float = field(
            default=0.0,
            metadata={
                "doc": "chance of each of the first population to be a child of what is known before it"
            },
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
        """Next generation: its members, migrants and the best ever are the parents from now on."""
        born = _scored([*self._migrants, *generation])
        self._migrants = []
        ranked = sorted([*self._elites, *born], key=lambda parent: (-parent.score, parent.number))
        self._elites = ranked[: self._settings.elites]
        older = [elite for elite in self._elites if elite not in born]
        # When all of a generation failed and nothing is kept, its parents try again.
        self._parents = [*older, *born] or self._parents

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
        return self._mutated(cross(a.genome, b.genome, self._rng)), (a.number, b.number)

    def _begins_with_known(self) -> bool:
        share = self._settings.from_known
        return share > 0 and bool(_scored(self._migrants)) and self._rng.random() < share

    def _mutate(self, place: int, gene: float) -> float:
        return genes.mutate_gene(self._axes[place], gene, self._settings.mutation_step, self._rng)


def _scored(observations: Sequence[Observation]) -> list[Parent]:
    return [
        Parent(number=each.number, genome=each.genome, score=each.score)
        for each in observations
        if each.score is not None
    ]


def cross(one: Genome, two: Genome, rng: Random) -> Genome:
    """Uniform crossover: each gene from either parent with equal probability (Syswerda 1989)."""
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
