"""NSGA-II: several objectives at once, towards the whole front of best compromises.

    parents     the best of parents and children together: by front, then where it is least crowded  (μ + λ)
    child       two winners of tournaments by the same order; SBX, then polynomial mutation

Deb, Pratap, Agarwal and Meyarivan 2002 (A fast and elitist multiobjective genetic algorithm: NSGA-II). As
in ``ga``, a generation is complete when ``population`` outcomes are in, whichever trials they belong to. With
one objective the fronts are the ranks of the scores: an elitist genetic algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kingyo.strategies import STRATEGIES, pareto, sbx, selection
from kingyo.strategies.checks import check_search, require, require_size
from kingyo.strategies.generations import Generations
from kingyo.strategies.history import Observation, count_objectives
from kingyo.types import Axis, Genome, Outcome

TOURNAMENT = selection.tournament(2)


class Nsga2(Generations):
    """NSGA-II, the genetic algorithm for several objectives, for axes of every kind.

    A trial has two parents after crossover, one when it is only a mutant, none in the first population. A
    child that repeats an earlier genome is mutated on, one random gene at a time, until it is new (20
    attempts; a small space may be used up). Failures have no children.

    Args:
        axes: the space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: axes or settings that make no sense, each named.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of NSGA-II; the defaults are the paper's but for the population, which was 100."""

        population: int = field(default=40, metadata={"doc": "trials per generation, and how many parents"})
        crossover_rate: float = field(
            default=0.9, metadata={"doc": "share of children with two parents; the others are mutants of one"}
        )
        eta_c: float = field(
            default=20.0, metadata={"doc": "index of the crossover; larger keeps children nearer to parents"}
        )
        mutation_rate: float | None = field(
            default=None, metadata={"doc": "probability per gene; default 1 / number of genes"}
        )
        eta_m: float = field(
            default=20.0, metadata={"doc": "index of the mutation; larger makes smaller steps"}
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        checked, rate = check_search(axes, seed), settings.mutation_rate
        _check_settings(settings)
        super().__init__(checked, seed, settings.population, 1 / len(checked) if rate is None else rate)
        self._settings = settings
        self._n_objectives: int | None = None
        self._parents: list[Observation] = []  # the best first
        self._fitness: list[float] = []  # of each parent: larger is better in the crowded-comparison order
        self._unborn: tuple[Genome, tuple[int, ...]] | None = None  # a pair's second child

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn how trials ended; a generation turns at the next ask."""
        n_objectives = count_objectives(outcomes, self._n_objectives)
        super().tell(outcomes)
        self._n_objectives = n_objectives

    def inject(self, outcomes: Sequence[Outcome]) -> None:
        """Take in what others measured: it competes for a place among the parents at the next generation."""
        n_objectives = count_objectives(outcomes, self._n_objectives)
        super().inject(outcomes)
        self._n_objectives = n_objectives

    def _turn(self, generation: Sequence[Observation]) -> None:
        """Keep the best of parents, children and migrants as parents (the paper, section III-C)."""
        born = [observation for observation in generation if observation.score is not None]
        # Among equals the younger stays, so that a population on a plateau moves on.
        pool = sorted([*self._migrants, *self._parents, *born], key=lambda observation: -observation.number)
        if not pool:
            return
        order, classes = pareto.best_first([observation.objectives for observation in pool])
        kept = order[: self._settings.population]
        self._migrants, self._unborn = [], None
        self._parents = [pool[index] for index in kept]
        self._fitness = [-float(classes[index]) for index in kept]

    def _child(self) -> tuple[Genome, tuple[int, ...]] | None:
        if not self._parents:
            return None
        if self._unborn is not None:
            child, self._unborn = self._unborn, None
            return child
        if len(self._parents) < 2 or self._rng.random() >= self._settings.crossover_rate:
            parent = self._parents[TOURNAMENT(self._fitness, self._rng)]
            return self._mutated(parent.genome), (parent.number,)
        one, two = selection.pick_pair(self._fitness, TOURNAMENT, self._rng)
        a, b = self._parents[one], self._parents[two]
        first, second = sbx.cross(self._axes, a.genome, b.genome, self._settings.eta_c, self._rng)
        self._unborn = self._mutated(second), (a.number, b.number)
        return self._mutated(first), (a.number, b.number)

    def _mutate(self, place: int, gene: float) -> float:
        return sbx.mutate(self._axes[place], gene, self._settings.eta_m, self._rng)


def _check_settings(settings: Nsga2.Settings) -> None:
    require_size("population", settings.population, 2)
    rates = {"crossover_rate": settings.crossover_rate, "mutation_rate": settings.mutation_rate}
    for name, rate in rates.items():
        require(name, rate, "0 to 1", holds=rate is None or 0 <= rate <= 1)
    for name, eta in {"eta_c": settings.eta_c, "eta_m": settings.eta_m}.items():
        require(name, eta, "0 or more", holds=eta >= 0)


STRATEGIES.register("nsga2")(Nsga2)
