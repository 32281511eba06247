"""CycleQD: an archive per objective, with the other objectives as the axes of its grid.

    start      known points, or else random ones
    cell       keeps the trial with the most of the archive's objective
    child      two members, picked by elite sampling: a mix, a step along singular directions, a small step

Kuroki et al. 2024, Agent Skill Acquisition for Large Language Models via CycleQD, arXiv:2410.14735; archives
of cells: Mouret and Clune 2015, Illuminating Search Spaces by Mapping Elites, arXiv:1504.04909. What is in an
archive depends on the set of offered trials, not on their order, so outcomes are added at the next ask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies import STRATEGIES, genes
from kingyo.search.strategies.base import BaseStrategy, NotNegative, Positive, Share, Size, Whole, require

Matrix = NDArray[np.float64]
MIN_SUM = 0.1  # of the mixing coefficients, which are divided by their sum


@dataclass(frozen=True, kw_only=True)
class GridAxis:
    """One axis of a grid: ``cells`` intervals of equal width from ``low`` to ``high``."""

    low: float
    high: float
    cells: int

    def cell(self, value: float) -> int:
        """Return the interval that contains a value; values outside go to the outer intervals."""
        index = (value - self.low) / (self.high - self.low) * self.cells
        # rounded, because scores such as 29 of 50 often lie exactly on an end
        return math.floor(round(min(max(index, 0.0), self.cells - 1.0), 9))


class Archive:
    """The best trial of each cell by one objective (its index); the others are the axes of the grid.

    A trial that was scored on some items only holds a cell until a trial with all scores falls into it, so
    that a lucky draw of items displaces no measured trial. Of equal trials the earlier stays.
    """

    def __init__(self, axis: GridAxis, objective: int) -> None:
        self._axis, self._objective = axis, objective
        self._cells: dict[tuple[int, ...], tuple[tuple[bool, float, int], Outcome]] = {}

    def offer(self, trial: Outcome) -> None:
        f, k = trial.values, self._objective
        cell = tuple(self._axis.cell(value) for i, value in enumerate(f) if i != k)
        rank = not trial.is_partial, f[k], -trial.number
        if cell not in self._cells or self._cells[cell][0] < rank:
            self._cells[cell] = rank, trial

    @property
    def members(self) -> tuple[Outcome, ...]:
        return tuple(self._cells[cell][1] for cell in sorted(self._cells))


class CycleQd(BaseStrategy):
    """CycleQD for several objectives and axes of every kind.

    The paper fills the archives with one expert per task; here they begin with known points if there are any,
    else with random trials. With one objective its archive has a single cell.

    **Mutation.** The paper adds the singular components of task vectors to the child, each times a random
    number. Here a genome contains coefficients of task vectors (``singular_bands`` scales components), and
    the decomposed matrix is members × float genes of the archive, centred: a step is the sum of its singular
    directions, each times its singular value / √n, ``singular_step`` and a standard normal number. A small
    Gaussian step, which the paper does not have, keeps the search going where all members are alike.

    **Constants.** Elite sampling has the factors of the paper. ``cells``, ``sigma`` and the steps are chosen
    for a few hundred trials; the published code has 15 cells per axis, σ = 0.01 and w_max = 0.1.

    A trial has two parents; fewer if the archive has one member or a parent is a known point.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of CycleQD.

        Attributes:
            population: trials per generation.
            initial: random trials before the first child; default: population, or 0 if points are known.
            cells: cells per axis of the grid.
            low: lower end of each objective in the grid.
            high: upper end of each objective in the grid.
            alpha_low: elite sampling: factor of the worst member at an objective.
            alpha_high: elite sampling: factor of the best member at an objective.
            sigma: standard deviation of mixing coefficients around 1, at most 1.
            singular_step: step along singular directions, in standard deviations of the archive.
            mutation_step: standard deviation of the Gaussian step, as a fraction of the axis' range.
        """

        population: Size = 20
        initial: Whole | None = None
        cells: Annotated[int, Field(ge=1)] = 10
        low: float = 0.0
        high: float = 1.0
        alpha_low: Positive = 0.5
        alpha_high: Positive = 0.8
        sigma: Share = 0.03
        singular_step: NotNegative = 1.0
        mutation_step: NotNegative = 0.02

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        require("high", settings.high, f"more than low, {settings.low}", holds=settings.low < settings.high)
        low, high = settings.alpha_low, settings.alpha_high
        require("alpha_high", high, f"{low} (alpha_low) or more", holds=high >= low)
        super().__init__(axes, seed, settings.population)
        self._settings = settings
        self._rng = Random(seed)
        self._known: tuple[Outcome, ...] = ()
        self._archives: tuple[Archive, ...] = ()  # one per objective
        self._roots: dict[int, Matrix] = {}  # of the archives' members, until the next ask
        self._mutation_rate = genes.mutation_rate(self._axes)

    def ask(self, n: int) -> list[Trial]:
        self._roots.clear()
        for outcome in self._history.take_all():
            if outcome.score is not None:
                self._prepare(len(outcome.values))
                for archive in self._archives:
                    archive.offer(outcome)
        return [self._propose() for _ in range(n)]

    def warm_start(self, known: Sequence[Outcome]) -> None:
        self._known = tuple(outcome for outcome in known if outcome.failure is None)
        if self._known:
            self._prepare(max(len(outcome.values) for outcome in self._known))

    def _prepare(self, n_objectives: int) -> None:
        if n_objectives == len(self._archives):
            return
        axis = GridAxis(low=self._settings.low, high=self._settings.high, cells=self._settings.cells)
        self._archives = tuple(Archive(axis, objective) for objective in range(n_objectives))
        for outcome in self._known:
            for archive in self._archives if len(outcome.values) == n_objectives else ():
                archive.offer(outcome)

    def _propose(self) -> Trial:
        initial = self._settings.initial
        if initial is None:
            initial = 0 if self._known else self._settings.population
        child = self._child() if self._history.count >= initial else None
        genome, parents = child or (genes.random_point(self._axes, self._rng), ())
        mutate = genes.mutation(self._axes, genes.RENEWAL_STEP, self._rng)
        return self._ask_new(genome, mutate, self._rng, [parent.number for parent in parents])

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
        return tuple(map(self._mutated, self._axes, genome)), parents

    def _mutated(self, axis: Axis, gene: float) -> float:
        step = self._settings.mutation_step
        if axis.kind == "float":
            return genes.clipped(axis, gene + step * (axis.high - axis.low) * self._rng.gauss(0.0, 1.0))
        is_mutated = self._rng.random() < self._mutation_rate
        return genes.mutate_gene(axis, gene, step, self._rng) if is_mutated else gene

    def _parents(self, members: Sequence[Outcome]) -> tuple[Outcome, ...]:
        objectives = [member.values for member in members]
        weights = elite_weights(objectives, self._settings.alpha_low, self._settings.alpha_high)
        one = self._rng.choices(range(len(members)), weights)[0]
        if len(members) == 1:
            return (members[one],)
        weights[one] = 0.0
        return members[one], self._rng.choices(members, weights)[0]


def elite_weights(objectives: Sequence[Sequence[float]], low: float, high: float) -> list[float]:
    """Return the unnormalised probability of each member to become a parent (elite sampling).

        γ_j = Π_k [α_low + (f_jk − min_k) / (max_k − min_k) · (α_high − α_low)]

    over all objectives k, with minima and maxima over the members. An objective that is equal for all members
    gives all of them the factor α_high.
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

    All float genes share the coefficients. Other genes come from ``one`` with the probability of its share.
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

    U diag(s) Vᵀ is the decomposition of the centred genomes in the unit box. The root does not depend on the
    basis that LAPACK chooses for equal singular values.
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
