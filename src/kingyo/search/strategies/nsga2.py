"""NSGA-II: multi-objective genetic algorithm.

    parents     the best of parents and children, by front, then by crowding distance  (μ + λ)
    child       two winners of tournaments by the same order; SBX, then polynomial mutation

Deb, Pratap, Agarwal and Meyarivan 2002, A fast and elitist multiobjective genetic algorithm: NSGA-II. With
one objective, fronts are ranks of scores and it is an elitist genetic algorithm.

Simulated binary crossover (SBX; Deb and Agrawal 1995) and polynomial mutation (Deb and Goyal 1996) are the
bounded forms of the authors' program: children stay within the bounds, and near a bound the spread on its
side shrinks. Integers are rounded; binary and categorical genes are exchanged or changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from kingyo.core.types import Axis, Genome, Outcome
from kingyo.search.strategies import STRATEGIES, genes, pareto
from kingyo.search.strategies.checks import NotNegative, Population, Share
from kingyo.search.strategies.ga import Generations, pick_pair, tournament

TOURNAMENT = tournament(2)
MIN_DISTANCE = 1e-14
"""Parents closer than this, as a fraction of the range, are copied."""


class Nsga2(Generations):
    """NSGA-II for axes of every kind.

    A trial has two parents after crossover, one after mutation alone, and none in the first population.
    Failed trials do not become parents.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of NSGA-II, with the defaults of the paper except for the population (100 there).

        Attributes:
            population: trials per generation, and number of parents.
            crossover_rate: share of children with two parents; the others are mutants of one.
            eta_c: distribution index of the crossover; larger: children nearer to parents.
            mutation_rate: probability per gene; default 1 / number of genes.
            eta_m: distribution index of the mutation; larger: smaller steps.
        """

        population: Population = 40
        crossover_rate: Share = 0.9
        eta_c: NotNegative = 20.0
        mutation_rate: Share | None = None
        eta_m: NotNegative = 20.0

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        rate = 1 / len(axes) if settings.mutation_rate is None else settings.mutation_rate
        super().__init__(axes, seed, settings.population, rate)
        self._settings = settings
        self._parents: list[Outcome] = []  # best first
        self._fitness: list[float] = []  # one per parent; larger is better in the crowded-comparison order
        self._second_child: tuple[Genome, tuple[int, ...]] | None = None

    def _turn(self, generation: Sequence[Outcome]) -> None:
        """Keep the best of parents, children and known points as parents (section III-C)."""
        pool = [*self._known, *self._parents, *generation]
        pool.sort(key=lambda outcome: -outcome.number)  # younger first: ties drift on a plateau
        if not pool:
            return
        order, classes = pareto.best_first([outcome.values for outcome in pool])
        kept = order[: self._settings.population]
        self._known, self._second_child = [], None
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
        one, two = pick_pair(self._fitness, TOURNAMENT, self._rng)
        a, b = self._parents[one], self._parents[two]
        first, second = simulated_binary_crossover(
            self._axes, a.genome, b.genome, self._settings.eta_c, self._rng
        )
        self._second_child = self._mutated(second), (a.number, b.number)
        return self._mutated(first), (a.number, b.number)

    def _mutate(self, index: int, gene: float) -> float:
        return polynomial_mutation(self._axes[index], gene, self._settings.eta_m, self._rng)


def simulated_binary_crossover(
    axes: Sequence[Axis], one: Genome, two: Genome, eta: float, rng: Random
) -> tuple[Genome, Genome]:
    """Return two children; each gene is crossed with probability 1/2, else copied."""
    pairs = [
        _cross_gene(axis, a, b, eta, rng) if rng.random() < 0.5 else (a, b)
        for axis, a, b in zip(axes, one, two, strict=True)
    ]
    return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)


def _cross_gene(axis: Axis, a: float, b: float, eta: float, rng: Random) -> tuple[float, float]:
    if axis.kind in ("binary", "categorical"):
        return b, a
    if abs(a - b) <= MIN_DISTANCE * (axis.high - axis.low):
        return a, b
    small, large = min(a, b), max(a, b)
    u = rng.random()
    middle, half = (small + large) / 2, (large - small) / 2
    children = [
        _rounded(axis, middle - half * _spread((small - axis.low) / half, eta, u)),
        _rounded(axis, middle + half * _spread((axis.high - large) / half, eta, u)),
    ]
    if rng.random() < 0.5:  # assign the genes to the children at random
        children.reverse()
    return children[0], children[1]


def _spread(room: float, eta: float, u: float) -> float:
    """Return β_q, the distance of a child from the middle in half distances of the parents.

    ``room`` is the distance from the parent to the bound on its side, in the same unit.
    """
    beta = 1 + room
    alpha = 2 - beta ** -(eta + 1)
    if u <= 1 / alpha:
        return (u * alpha) ** (1 / (eta + 1))
    return (1 / (2 - u * alpha)) ** (1 / (eta + 1))


def polynomial_mutation(axis: Axis, value: float, eta: float, rng: Random) -> float:
    """Mutate one gene with distribution index η_m.

    An integer moves by at least 1, a binary gene flips, a categorical gene takes another category.
    """
    if axis.kind in ("binary", "categorical"):
        return genes.mutate_gene(axis, value, 0.0, rng)
    width = axis.high - axis.low
    delta = width * _shift((value - axis.low) / width, (axis.high - value) / width, eta, rng.random())
    if axis.kind == "float":
        return _rounded(axis, value + delta)
    return genes.reflect(value + genes.whole_step(delta), axis)


def _shift(below: float, above: float, eta: float, u: float) -> float:
    """Return δ_q, the step as a fraction of the range; so are the distances to the bounds."""
    if u < 0.5:
        return (2 * u + (1 - 2 * u) * (1 - below) ** (eta + 1)) ** (1 / (eta + 1)) - 1
    return 1 - (2 * (1 - u) + (2 * u - 1) * (1 - above) ** (eta + 1)) ** (1 / (eta + 1))


def _rounded(axis: Axis, value: float) -> float:
    value = value if axis.kind == "float" else math.floor(value + 0.5)
    return float(min(axis.high, max(axis.low, value)))


STRATEGIES.register("nsga2")(Nsga2)
