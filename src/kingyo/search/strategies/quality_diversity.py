"""MAP-Elites: keep the best trial of each cell of a grid, and use all of them as parents.

    start      random points, unless some points are known
    grid       objectives, or some of the genes
    cell       keeps the trial of the highest quality
    child      two uniformly picked members: a step along the line between them, and a small Gaussian step

The content of an archive depends on the set of offered trials, not on their order, so outcomes are added at
the next ask. Mouret and Clune 2015, Illuminating Search Spaces by Mapping Elites, arXiv:1504.04909. The
variation operator is Iso+LineDD (Vassiliades and Mouret 2018, Discovering the Elite Hypervolume by Leveraging
Interspecies Correlation, eq. 1). ``Illumination`` is what CycleQD shares.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.errors import unknown_name_error
from kingyo.search.strategies import STRATEGIES, genes
from kingyo.search.strategies.base import BaseStrategy, Count, NotNegative, Positive, Share, Size, require

NOVELTY_ATTEMPTS = 100
"""Most mutations of a repeated child. More than in other strategies: elites stay until they are beaten, so
many of their neighbours were proposed before. In a space of 256 points one child in sixteen needed more than
20.
"""
DEFAULT_GENES = 2


@dataclass(frozen=True, kw_only=True)
class GridAxis:
    """One axis of a grid: ``cells`` intervals of equal width from ``low`` to ``high``."""

    low: float
    high: float
    cells: int

    def cell(self, value: float) -> int:
        """Return the index of the interval that contains a value; outside values go to the end intervals.

        An interval contains its lower end. Scores often lie exactly on one (29 of 50), so the index is
        rounded to 9 decimals before the floor: floating-point error must not move such a score one cell down.
        """
        index = (value - self.low) / (self.high - self.low) * self.cells
        return math.floor(round(min(max(index, 0.0), self.cells - 1.0), 9))


class Archive:
    """The best trial of each cell of a grid.

    A trial that was scored on some items only holds a cell until a trial with all scores falls into it, so
    that a lucky draw of items displaces no measured trial. Of equal trials the earlier stays.

    Args:
        axes: axes of the grid; an empty sequence makes a single cell.
        quality: index of the objective that a cell maximises; None: the score.
        genes: indices of the genes that are the axes; None: the other objectives are.
    """

    def __init__(
        self, axes: Sequence[GridAxis], quality: int | None = None, genes: Sequence[int] | None = None
    ) -> None:
        self._axes, self._quality, self._genes = tuple(axes), quality, genes
        self._cells: dict[tuple[int, ...], tuple[tuple[bool, float, int], Outcome]] = {}

    def offer(self, trial: Outcome) -> None:
        f, k = trial.values, self._quality
        if self._genes is None:
            behaviour = [value for i, value in enumerate(f) if i != k]
        else:
            behaviour = [trial.genome[i] for i in self._genes]
        cell = tuple(axis.cell(value) for axis, value in zip(self._axes, behaviour, strict=True))
        quality = (trial.score or 0.0) if k is None else f[k]
        rank = not trial.is_partial, quality, -trial.number
        if cell not in self._cells or self._cells[cell][0] < rank:
            self._cells[cell] = rank, trial

    @property
    def members(self) -> tuple[Outcome, ...]:
        return tuple(self._cells[cell][1] for cell in sorted(self._cells))


@dataclass(frozen=True, kw_only=True)
class IlluminationSettings:
    """Options that quality-diversity strategies share.

    Attributes:
        population: trials per generation.
        initial: random trials before the first child; default: population, or 0 if points are known.
        cells: cells per axis of the grid.
        low: lower end of each objective in the grid.
        high: upper end of each objective in the grid.
        behaviour: axes of the grid: the other objectives or genes; auto: genes if there is one objective.
        genes: axes of a grid of genes, by name; default: the first two.
    """

    population: Size = 20
    initial: Count | None = None
    cells: Annotated[int, Field(ge=1)] = 10
    low: float = 0.0
    high: float = 1.0
    behaviour: Literal["auto", "objectives", "genes"] = "auto"
    genes: tuple[str, ...] = ()


class Illumination(BaseStrategy, ABC):
    """Search that keeps the best trial of each cell of an archive.

    All outcomes of a search have the same number of objectives; known points with another number are ignored.
    Failures enter no archive.
    """

    def __init__(self, axes: Sequence[Axis], seed: int, settings: IlluminationSettings) -> None:
        low, high = settings.low, settings.high
        require("high", high, f"more than low, {low}", holds=low < high)
        super().__init__(axes, seed, settings.population)
        self._genes = _axis_indices(self._axes, settings.genes)
        self._options = settings
        self._rng = Random(seed)
        self._known: tuple[Outcome, ...] = ()
        self._n_objectives = 0  # of the archives
        self._archives: tuple[Archive, ...] = ()
        self._mutation_rate = genes.mutation_rate(self._axes)

    def ask(self, n: int) -> list[Trial]:
        for outcome in self._history.take_all():
            if outcome.score is not None:
                self._prepare(len(outcome.values))
                for archive in self._archives:
                    archive.offer(outcome)
        return [self._propose() for _ in range(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.failure is None:
                self._check_objectives(len(outcome.objectives) or 1)
        super().tell(outcomes)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        self._known = tuple(outcome for outcome in known if outcome.failure is None)
        if self._known:
            objectives = max(len(outcome.values) for outcome in self._known)
            self._check_objectives(objectives)
            self._prepare(objectives)

    @abstractmethod
    def _qualities(self, objectives: int) -> Sequence[int | None]:
        """Return the ``quality`` of each archive, for outcomes with this number of objectives."""

    @abstractmethod
    def _child(self) -> tuple[Genome, tuple[Outcome, ...]] | None:
        """Return a child and its parents; None if the archives are empty."""

    def _check_objectives(self, objectives: int) -> None:
        require(
            "behaviour",
            f"{self._options.behaviour} with {objectives} objective",
            "two objectives or more as axes of the grid",
            holds=self._options.behaviour != "objectives" or objectives > 1,
            remedy="Score several tasks, or set search.settings.behaviour: genes.",
        )

    def _prepare(self, objectives: int) -> None:
        if objectives == self._n_objectives:
            return
        self._n_objectives = objectives
        options, qualities = self._options, self._qualities(objectives)
        if options.behaviour == "genes" or objectives < 2:
            axes = [_gene_axis(self._axes[index], options.cells) for index in self._genes]
            self._archives = tuple(Archive(axes, quality, self._genes) for quality in qualities)
        else:
            axis = GridAxis(low=options.low, high=options.high, cells=options.cells)
            n = objectives - (qualities[0] is not None)
            self._archives = tuple(Archive([axis] * n, quality) for quality in qualities)
        for outcome in self._known:
            for archive in self._archives if len(outcome.values) == objectives else ():
                archive.offer(outcome)

    def _mutated(self, genome: Genome, step: float) -> Genome:
        """Add a Gaussian step to each float gene, and mutate other genes at the mutation rate."""
        return tuple(
            genes.clipped(axis, gene + step * (axis.high - axis.low) * self._rng.gauss(0.0, 1.0))
            if axis.kind == "float"
            else (
                genes.mutate_gene(axis, gene, step, self._rng)
                if self._rng.random() < self._mutation_rate
                else gene
            )
            for axis, gene in zip(self._axes, genome, strict=True)
        )

    def _propose(self) -> Trial:
        initial = self._options.initial
        if initial is None:
            initial = 0 if self._known else self._options.population
        child = self._child() if self._history.count >= initial else None
        genome, parents = child or (genes.random_point(self._axes, self._rng), ())
        mutate = genes.mutation(self._axes, genes.RENEWAL_STEP, self._rng)
        numbers = [parent.number for parent in parents]
        return self._ask_new(genome, mutate, self._rng, numbers, attempts=NOVELTY_ATTEMPTS)


def _gene_axis(axis: Axis, cells: int) -> GridAxis:
    if axis.kind == "float":
        return GridAxis(low=axis.low, high=axis.high, cells=cells)
    values = int(axis.high - axis.low) + 1  # further cells would always be empty
    return GridAxis(low=axis.low - 0.5, high=axis.high + 0.5, cells=min(cells, values))


def _axis_indices(axes: Sequence[Axis], names: Sequence[str]) -> tuple[int, ...]:
    known = [axis.name for axis in axes]
    for name in names:
        if name not in known:
            raise unknown_name_error("genes: axis", name, known)
    require("genes", list(names), "different axes", holds=len(set(names)) == len(names))
    return tuple(known.index(name) for name in names) or tuple(range(len(axes)))[:DEFAULT_GENES]


class MapElites(Illumination):
    """MAP-Elites for axes of every kind.

    By default the quality is the score and the axes of the grid are the objectives. With the setting
    ``quality`` it is one objective, and the axes are the others. With one objective the axes are genes (see
    ``behaviour``).

    A trial has two parents, or one if both picks are the same member or one is a known point; none if it is
    random or both are known points. The step sizes are chosen for kingyo (Vassiliades and Mouret: 0.2 along
    the line, 0.01 isotropic).
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(IlluminationSettings):
        """Options of MAP-Elites.

        Attributes:
            quality: index of the objective that each cell maximises; default: the score.
            line_step: standard deviation of the step along the line, in distances of the parents.
            mutation_step: standard deviation of the Gaussian step, as a fraction of the axis' range.
        """

        cells: Annotated[int, Field(ge=1)] = 5
        quality: Count | None = None
        line_step: NotNegative = 0.5
        mutation_step: Positive = 0.1

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, settings)
        self._settings = settings

    def _check_objectives(self, objectives: int) -> None:
        super()._check_objectives(objectives)
        quality, expected = self._settings.quality, f"less than {objectives}, the number of objectives"
        require("quality", quality, expected, holds=quality is None or quality < objectives)

    def _qualities(self, objectives: int) -> Sequence[int | None]:  # noqa: ARG002
        return (self._settings.quality,)

    def _child(self) -> tuple[Genome, tuple[Outcome, ...]] | None:
        members = self._archives[0].members if self._archives else ()
        if not members:
            return None
        one, two = self._rng.choice(members), self._rng.choice(members)
        genome = line_step(self._axes, one.genome, two.genome, self._settings.line_step, self._rng)
        return self._mutated(genome, self._settings.mutation_step), (one, two)


def line_step(axes: Sequence[Axis], one: Genome, two: Genome, spread: float, rng: Random) -> Genome:
    """Step from a parent along the line to another: the directional part of Iso+LineDD.

        child = one + σ₂ (two − one) N(0, 1)

    Genes that are not floats come from either parent with equal probability.
    """
    along = spread * rng.gauss(0.0, 1.0)
    return tuple(
        genes.clipped(axis, a + along * (b - a)) if axis.kind == "float" else (a if rng.random() < 0.5 else b)
        for axis, a, b in zip(axes, one, two, strict=True)
    )


STRATEGIES.register("map-elites")(MapElites)


MIN_SUM = 0.1  # of the mixing coefficients, which are divided by their sum

Matrix = NDArray[np.float64]


class CycleQd(Illumination):
    """CycleQD for several objectives and axes of every kind.

    A generation is ``population`` asks. Crossover and singular steps change float genes only. The paper fills
    the archives with one expert per task; here they begin with known points if there are any, else with
    random trials. With one objective there is one archive over genes (see the setting ``behaviour``).

    **Mutation.** The paper decomposes the task vectors of each weight matrix and adds their singular
    components to the child, each times a random number from 0 to w_max, so a child may leave the linear span
    of the experts. Here a genome contains coefficients of task vectors, so children of a linear merge stay in
    that span. (The merge method ``singular_bands`` scales the components of a matrix separately.) The
    decomposed matrix is members × float genes of the archive, centred: a step is the sum of its singular
    directions, each times its singular value / √n, ``singular_step`` and a standard normal number. A small
    Gaussian step (``mutation_step``), which the paper does not have, keeps the search going where all members
    are alike along a direction.

    **Constants.** Elite sampling has the factors of the paper. ``cells``, ``sigma`` and the steps are chosen
    for a few hundred trials; the published code has 15 cells per axis, σ = 0.01 and w_max = 0.1.

    A trial has two parents; fewer if the archive has one member or a parent is a known point; none if it is
    random.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(IlluminationSettings):
        """Options of CycleQD.

        Attributes:
            alpha_low: elite sampling: factor of the worst member at an objective.
            alpha_high: elite sampling: factor of the best member at an objective.
            sigma: standard deviation of mixing coefficients around 1, at most 1.
            singular_step: step along singular directions, in standard deviations of the archive.
            mutation_step: standard deviation of the Gaussian step, as a fraction of the axis' range.
        """

        alpha_low: Positive = 0.5
        alpha_high: Positive = 0.8
        sigma: Share = 0.03
        singular_step: NotNegative = 1.0
        mutation_step: NotNegative = 0.02

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, settings)
        low, high = settings.alpha_low, settings.alpha_high
        require("alpha_high", high, f"{low} (alpha_low) or more", holds=high >= low)
        self._settings = settings
        self._roots: dict[int, Matrix] = {}  # of the archives' members, until the next ask

    def ask(self, n: int) -> list[Trial]:
        self._roots.clear()
        return super().ask(n)

    def _qualities(self, objectives: int) -> Sequence[int | None]:
        return range(objectives)

    def _child(self) -> tuple[Genome, tuple[Outcome, ...]] | None:
        k = self._history.count // self._settings.population % max(1, len(self._archives))
        members = self._archives[k].members if self._archives else ()
        if not members:
            return None
        parents, settings = self._parents(members), self._settings
        genome = parents[0].genome
        if len(parents) == 2:
            genome = linear_mix(self._axes, genome, parents[1].genome, settings.sigma, self._rng)
        if k not in self._roots:
            self._roots[k] = singular_root(self._axes, [member.genome for member in members])
        genome = singular_step(self._axes, genome, self._roots[k], settings.singular_step, self._rng)
        return self._mutated(genome, settings.mutation_step), parents

    def _parents(self, members: Sequence[Outcome]) -> tuple[Outcome, ...]:
        objectives = [member.values for member in members]
        weights = elite_weights(objectives, self._settings.alpha_low, self._settings.alpha_high)
        cumulative = list(accumulate(weights))
        one = _index(cumulative, self._rng.random() * cumulative[-1])
        if len(cumulative) == 1:
            return (members[one],)
        before = cumulative[one - 1] if one else 0.0
        weight = cumulative[one] - before
        point = self._rng.random() * (cumulative[-1] - weight)
        two = _index(cumulative, point if point < before else point + cumulative[one] - before)
        if two == one:  # by rounding
            two = one - 1 if one else 1
        return members[one], members[two]


def _index(cumulative: Sequence[float], point: float) -> int:
    """Return the index of the weight that contains a point of the cumulative sum, the last at most."""
    return min(bisect_right(cumulative, point), len(cumulative) - 1)


def elite_weights(objectives: Sequence[Sequence[float]], low: float, high: float) -> list[float]:
    """Return the unnormalised probability of each member to become a parent (elite sampling).

        γ_j = Π_k [α_low + (f_jk − min_k) / (max_k − min_k) · (α_high − α_low)]

    over all objectives k, with minima and maxima over the members. An objective that is equal for all members
    gives all of them the factor α_high. (The published code multiplies the fraction by α_high, so its best
    member has 1.3.)
    """
    weights = [1.0] * len(objectives)
    for column in zip(*objectives, strict=True):
        worst, best = min(column), max(column)
        for j, f in enumerate(column):
            fraction = (f - worst) / (best - worst) if best > worst else 1.0
            weights[j] *= low + fraction * (high - low)
    return weights


def linear_mix(axes: Sequence[Axis], one: Genome, two: Genome, sigma: float, rng: Random) -> Genome:
    """Return a linear combination of two parents with random coefficients.

        child = ω₁ / (ω₁ + ω₂) · one + ω₂ / (ω₁ + ω₂) · two,    ω ~ N(1, σ²)

    All float genes share the coefficients, as all weights of a model do in the paper. Coefficients may be
    negative: the child then lies beyond a parent. Other genes come from ``one`` with the probability of its
    share, clipped to 0 to 1.
    """
    w1, w2 = rng.gauss(1.0, sigma), rng.gauss(1.0, sigma)
    while abs(w1 + w2) < MIN_SUM:  # redraw; for σ ≤ 1 at most one draw in thirty
        w1, w2 = rng.gauss(1.0, sigma), rng.gauss(1.0, sigma)
    share = w1 / (w1 + w2)
    return tuple(
        genes.clipped(axis, share * a + (1 - share) * b)
        if axis.kind == "float"
        else (a if rng.random() < share else b)
        for axis, a, b in zip(axes, one, two, strict=True)
    )


def singular_root(axes: Sequence[Axis], genomes: Sequence[Genome]) -> Matrix:
    """Return the square root of the covariance of float genes, V diag(s / √n) Vᵀ, shape (floats, floats).

    U diag(s) Vᵀ is the decomposition of the centred genomes in the unit box. The root times a standard normal
    vector z is Σᵢ (s_i / √n) (v_i · z) v_i: a step along each singular direction, in standard deviations of
    the genomes. It does not depend on the basis that LAPACK chooses for equal singular values.
    """
    floats = [place for place, axis in enumerate(axes) if axis.kind == "float"]
    if not floats:
        return np.zeros((0, 0))
    low = np.array([axes[place].low for place in floats])
    width = np.array([axes[place].high for place in floats]) - low
    X = (np.array(genomes, dtype=np.float64)[:, floats] - low) / width  # noqa: N806  (n × d)
    _, s, Vt = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)  # noqa: N806
    return np.asarray((Vt.T * (s / np.sqrt(len(genomes)))) @ Vt, dtype=np.float64)


def singular_step(axes: Sequence[Axis], genome: Genome, root: Matrix, w: float, rng: Random) -> Genome:
    z = np.array([rng.gauss(0.0, 1.0) for _ in range(len(root))])
    moves = iter((w * (root @ z)).tolist())
    return tuple(
        genes.clipped(axis, gene + next(moves) * (axis.high - axis.low)) if axis.kind == "float" else gene
        for axis, gene in zip(axes, genome, strict=True)
    )


STRATEGIES.register("cycleqd")(CycleQd)
