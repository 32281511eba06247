"""NSGA-II: multi-objective genetic algorithm.

    parents     the best of parents and children, by front, then by crowding distance  (μ + λ)
    child       two winners of tournaments by the same order; SBX, then polynomial mutation

Deb, Pratap, Agarwal and Meyarivan 2002, A fast and elitist multiobjective genetic algorithm: NSGA-II. With
one objective, fronts are ranks of scores and it is an elitist genetic algorithm.
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
    """NSGA-II for axes of every kind.

    A trial has two parents after crossover, one after mutation alone, and none in the first population. A
    child that repeats an earlier genome is mutated, one random gene at a time, until it is new (at most 20
    times). Failed trials do not become parents.

    Args:
        axes: the search space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: invalid axes or settings.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of NSGA-II, with the defaults of the paper except for the population (100 there)."""

        population: int = field(default=40, metadata={"doc": "trials per generation, and number of parents"})
        crossover_rate: float = field(
            default=0.9, metadata={"doc": "share of children with two parents; the others are mutants of one"}
        )
        eta_c: float = field(
            default=20.0,
            metadata={"doc": "distribution index of the crossover; larger: children nearer to parents"},
        )
        mutation_rate: float | None = field(
            default=None, metadata={"doc": "probability per gene; default 1 / number of genes"}
        )
        eta_m: float = field(
            default=20.0, metadata={"doc": "distribution index of the mutation; larger: smaller steps"}
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        checked, rate = check_search(axes, seed), settings.mutation_rate
        _check_settings(settings)
        super().__init__(checked, seed, settings.population, 1 / len(checked) if rate is None else rate)
        self._settings = settings
        self._n_objectives: int | None = None
        self._parents: list[Observation] = []  # best first
        self._fitness: list[float] = []  # one per parent; larger is better in the crowded-comparison order
        self._second_child: tuple[Genome, tuple[int, ...]] | None = None

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Record how trials ended; the parents change at the next ask."""
        n_objectives = count_objectives(outcomes, self._n_objectives)
        super().tell(outcomes)
        self._n_objectives = n_objectives

    def inject(self, outcomes: Sequence[Outcome]) -> None:
        """Add migrants, which compete for a place among the parents at the next generation."""
        n_objectives = count_objectives(outcomes, self._n_objectives)
        super().inject(outcomes)
        self._n_objectives = n_objectives

    def _turn(self, generation: Sequence[Observation]) -> None:
        """Keep the best of parents, children and migrants as parents (section III-C)."""
        children = [observation for observation in generation if observation.score is not None]
        pool = [*self._migrants, *self._parents, *children]
        pool.sort(key=lambda observation: -observation.number)  # younger first: ties drift on a plateau
        if not pool:
            return
        order, classes = pareto.best_first([observation.objectives for observation in pool])
        kept = order[: self._settings.population]
        self._migrants, self._second_child = [], None
        self._parents = [pool[index] for index in kept]
        self._fitness = [-float(classes[index]) for index in kept]

    def _child(self) -> tuple[Genome, tuple[int, ...]] | None:
        if not self._parents:
            return None
        if self._second_child is not None:
            child, self._second_child = self._second_child, None
            return child
        if len(self._parents) < 2 or self._rng.random() >= self._settings.crossover_rate:
            parent = self._parents[TOURNAMENT(self._fitness, self._rng)]
            return self._mutated(parent.genome), (parent.number,)
        one, two = selection.pick_pair(self._fitness, TOURNAMENT, self._rng)
        a, b = self._parents[one], self._parents[two]
        first, second = sbx.simulated_binary_crossover(
            self._axes, a.genome, b.genome, self._settings.eta_c, self._rng
        )
        self._second_child = self._mutated(second), (a.number, b.number)
        return self._mutated(first), (a.number, b.number)

    def _mutate(self, index: int, gene: float) -> float:
        return sbx.polynomial_mutation(self._axes[index], gene, self._settings.eta_m, self._rng)


def _check_settings(settings: Nsga2.Settings) -> None:
    require_size("population", settings.population, 2)
    rates = {"crossover_rate": settings.crossover_rate, "mutation_rate": settings.mutation_rate}
    for name, rate in rates.items():
        require(name, rate, "0 to 1", holds=rate is None or 0 <= rate <= 1)
    for name, eta in {"eta_c": settings.eta_c, "eta_m": settings.eta_m}.items():
        require(name, eta, "0 or more", holds=eta >= 0)


STRATEGIES.register("nsga2")(Nsga2)
