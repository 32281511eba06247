"""CycleQD: quality diversity with each objective as the quality in turn.

    archives   one per objective k: the quality is f_k, the axes of the grid are the other objectives
    cycle      generation g takes parents from archive g mod K; each outcome is offered to all archives
    parents    elite sampling: members good at all objectives, relative to the archive
    child      linear combination of two parents, then a step along singular directions

Kuroki, Nakamura, Akiba and Tang 2024, Agent Skill Acquisition for Large Language Models via CycleQD,
arXiv:2410.14735 (ICLR 2025).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

import numpy as np
from numpy.typing import NDArray

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies import STRATEGIES, genes
from kingyo.search.strategies.checks import NotNegative, Positive, Share, require
from kingyo.search.strategies.map_elites import Illumination, IlluminationSettings

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
        """Pick two different members without replacement, or the only one."""
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
    """Add w · root · z to the float genes, with z standard normal."""
    z = np.array([rng.gauss(0.0, 1.0) for _ in range(len(root))])
    moves = iter((w * (root @ z)).tolist())
    return tuple(
        genes.clipped(axis, gene + next(moves) * (axis.high - axis.low)) if axis.kind == "float" else gene
        for axis, gene in zip(axes, genome, strict=True)
    )


STRATEGIES.register("cycleqd")(CycleQd)
