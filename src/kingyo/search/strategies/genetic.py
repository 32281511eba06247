"""Genetic algorithm (Holland 1975; Goldberg 1989) and NSGA-II, its form for several objectives."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies import STRATEGIES, genes, pareto
from kingyo.search.strategies.base import (
    BaseStrategy,
    NotNegative,
    Population,
    Positive,
    Share,
    Size,
    require,
)

Selection = Callable[[Sequence[float], Random], int]
"""Takes scores (finite, larger is better) and a random source, and returns an index."""


def tournament(size: int) -> Selection:
    """Return a selection that picks the best of ``size`` different candidates (Goldberg and Deb 1991)."""

    def pick(scores: Sequence[float], rng: Random) -> int:
        sample = rng.sample(range(len(scores)), min(size, len(scores)))
        return max(sample, key=lambda index: scores[index])

    return pick


def pick_pair(scores: Sequence[float], select: Selection, rng: Random) -> tuple[int, int]:
    one = select(scores, rng)
    two = select([*scores[:one], *scores[one + 1 :]], rng)
    return one, two + (two >= one)


class Generations(BaseStrategy, ABC):
    """Search in generations, for axes of every kind.

    A generation is complete when ``population`` outcomes are in, of whichever trials; until then, asks use
    the current parents, or random genomes if there are none. A trial has two parents after crossover, one
    after mutation alone, and none in the first population. Failed trials do not become parents.
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
        points = sorted(known, key=lambda outcome: -outcome.number)
        self._known = [outcome for outcome in points if outcome.score is not None]
        self._seen.update(outcome.genome for outcome in self._known)

    @abstractmethod
    def _turn(self, generation: Sequence[Outcome]) -> None: ...

    @abstractmethod
    def _child(self) -> tuple[Genome, tuple[int, ...]] | None:
        """Return a child and the numbers of its parents; None if there are no parents."""

    @abstractmethod
    def _mutate(self, index: int, gene: float) -> float: ...

    def _propose(self) -> Trial:
        genome, parents = self._child() or (genes.random_point(self._axes, self._rng), ())
        return self._ask_new(genome, self._mutate, self._rng, parents)

    def _mutated(self, genome: Genome) -> Genome:
        return tuple(
            self._mutate(index, gene) if self._rng.random() < self._mutation_rate else gene
            for index, gene in enumerate(genome)
        )


class GeneticAlgorithm(Generations):
    """Genetic algorithm for axes of every kind.

        first population   random, or children of known points
        parents            the elites (best so far) and the last complete generation
        child              two selected parents, uniform crossover, mutation

    Elites are not proposed again.
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
            from_known: probability that a member of the first population is a child of known points.
        """

        population: Population = 20
        elites: int = 2
        selection: Literal["tournament", "roulette"] = "tournament"
        tournament_size: Size = 3
        crossover_rate: Share = 0.9
        mutation_rate: Share | None = None
        mutation_step: Positive = 0.1
        from_known: Share = 0.0

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        rate = settings.mutation_rate
        size, elites = settings.population, settings.elites
        require("elites", elites, f"0 to the population of {size}", holds=0 <= elites <= size)
        super().__init__(axes, seed, size, genes.mutation_rate(axes) if rate is None else rate)
        self._settings = settings
        self._elites: list[Outcome] = []
        self._parents: list[Outcome] = []
        is_roulette = settings.selection == "roulette"
        self._select = roulette if is_roulette else tournament(settings.tournament_size)

    def _turn(self, generation: Sequence[Outcome]) -> None:
        new = [*self._known, *generation]
        self._known = []
        ranked = sorted([*self._elites, *new], key=lambda parent: (-(parent.score or 0.0), parent.number))
        self._elites = ranked[: self._settings.elites]
        older = [elite for elite in self._elites if elite not in new]
        # If all trials failed and there are no elites, keep the previous parents.
        self._parents = [*older, *new] or self._parents

    def _child(self) -> tuple[Genome, tuple[int, ...]] | None:
        if not self._parents:
            share = self._settings.from_known
            if not share or not self._known or self._rng.random() >= share:
                return None
        parents = self._parents or self._known
        scores = [parent.score or 0.0 for parent in parents]
        if len(scores) < 2 or self._rng.random() >= self._settings.crossover_rate:
            parent = parents[self._select(scores, self._rng)]
            return self._mutated(parent.genome), (parent.number,)
        one, two = pick_pair(scores, self._select, self._rng)
        a, b = parents[one], parents[two]
        return self._mutated(uniform_crossover(a.genome, b.genome, self._rng)), (a.number, b.number)

    def _mutate(self, index: int, gene: float) -> float:
        return genes.mutate_gene(self._axes[index], gene, self._settings.mutation_step, self._rng)


def uniform_crossover(one: Genome, two: Genome, rng: Random) -> Genome:
    return tuple(a if rng.random() < 0.5 else b for a, b in zip(one, two, strict=True))


def roulette(scores: Sequence[float], rng: Random) -> int:
    """Sample with probability proportional to the score; if one is negative, to the distance to the worst."""
    shift = min(0.0, *scores)
    weights = [score - shift for score in scores]
    return rng.choices(range(len(weights)), weights)[0] if any(weights) else rng.randrange(len(weights))


STRATEGIES.register("ga")(GeneticAlgorithm)


TOURNAMENT = tournament(2)
MIN_DISTANCE = 1e-14  # parents closer than this, as a fraction of the range, are copied


class Nsga2(Generations):
    """NSGA-II for axes of every kind.

        parents     the best of parents and children, by front, then by crowding distance  (μ + λ)
        child       two winners of tournaments by the same order; SBX, then polynomial mutation

    Deb, Pratap, Agarwal and Meyarivan 2002, A fast and elitist multiobjective genetic algorithm: NSGA-II.
    With one objective, fronts are ranks of scores. Simulated binary crossover (SBX; Deb and Agrawal 1995) and
    polynomial mutation (Deb and Goyal 1996) are the bounded forms of the authors' program: near a bound the
    spread on its side shrinks. Integers are rounded; binary and categorical genes are exchanged or changed.
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
    """Return β_q, the distance of a child from the middle, from that of a parent to the bound on its side."""
    beta = 1 + room
    alpha = 2 - beta ** -(eta + 1)
    if u <= 1 / alpha:
        return (u * alpha) ** (1 / (eta + 1))
    return (1 / (2 - u * alpha)) ** (1 / (eta + 1))


def polynomial_mutation(axis: Axis, value: float, eta: float, rng: Random) -> float:
    """Mutate one gene with distribution index η_m; see ``genes.mutate_gene`` for those that are no floats."""
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
