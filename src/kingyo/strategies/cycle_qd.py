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
from dataclasses import dataclass, field
from itertools import accumulate

from kingyo.strategies import STRATEGIES, variation
from kingyo.strategies.archive import Archive, Elite
from kingyo.strategies.checks import require
from kingyo.strategies.illumination import Illumination, IlluminationSettings, with_quality
from kingyo.types import Axis, Genome


@dataclass(frozen=True, kw_only=True)
class _Pool:
    """Members of one archive with their cumulative weights and the root of their covariance."""

    members: tuple[Elite, ...]
    cumulative: tuple[float, ...]
    root: variation.Matrix


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

    Args:
        axes: the search space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: invalid axes or settings.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(IlluminationSettings):
        """Options of CycleQD."""

        alpha_low: float = field(
            default=0.5, metadata={"doc": "elite sampling: factor of the worst member at an objective"}
        )
        alpha_high: float = field(
            default=0.8, metadata={"doc": "elite sampling: factor of the best member at an objective"}
        )
        sigma: float = field(
            default=0.03, metadata={"doc": "standard deviation of mixing coefficients around 1, at most 1"}
        )
        singular_step: float = field(
            default=1.0,
            metadata={"doc": "step along singular directions, in standard deviations of the archive"},
        )
        mutation_step: float = field(
            default=0.02,
            metadata={"doc": "standard deviation of the Gaussian step, as a fraction of the axis' range"},
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, settings)
        _check_settings(settings)
        self._settings = settings
        self._pools: dict[int, _Pool] = {}

    def _make_archives(self, objectives: int) -> tuple[Archive, ...]:
        self._pools = {}
        by_genes = self._by_genes(objectives)
        return tuple(
            Archive(self._gene_axes() if by_genes else self._objective_axes(objectives - 1))
            for _ in range(objectives)
        )

    def _offer(self, elite: Elite) -> None:
        f = elite.objectives
        for k, archive in enumerate(self._archives):
            if self._by_genes(len(f)):
                behaviour = tuple(elite.genome[index] for index in self._genes)
            else:
                behaviour = (*f[:k], *f[k + 1 :])
            if archive.offer(behaviour, with_quality(elite, f[k])):
                self._pools.pop(k, None)

    def _child(self) -> tuple[Genome, tuple[Elite, ...]] | None:
        pool = self._pool()
        if pool is None:
            return None
        settings, rng = self._settings, self._rng
        parents = self._parents(pool)
        genome = parents[0].genome
        if len(parents) == 2:
            genome = variation.linear_mix(self._axes, genome, parents[1].genome, settings.sigma, rng)
        genome = variation.singular_step(self._axes, genome, pool.root, settings.singular_step, rng)
        genome = variation.mutate_all(self._axes, genome, settings.mutation_step, self._mutation_rate, rng)
        return genome, parents

    def _pool(self) -> _Pool | None:
        """Return the pool of the archive whose turn it is; None if it is empty."""
        if not self._archives:
            return None
        k = self._history.count // self._settings.population % len(self._archives)
        if k not in self._pools:
            members = self._archives[k].members
            if not members:
                return None
            weights = elite_weights(
                [member.objectives for member in members], self._settings.alpha_low, self._settings.alpha_high
            )
            root = variation.singular_root(self._axes, [member.genome for member in members])
            self._pools[k] = _Pool(members=members, cumulative=tuple(accumulate(weights)), root=root)
        return self._pools[k]

    def _parents(self, pool: _Pool) -> tuple[Elite, ...]:
        """Pick two different members without replacement, or the only one."""
        cumulative = pool.cumulative
        one = _index(cumulative, self._rng.random() * cumulative[-1])
        if len(cumulative) == 1:
            return (pool.members[one],)
        before = cumulative[one - 1] if one else 0.0
        weight = cumulative[one] - before
        point = self._rng.random() * (cumulative[-1] - weight)
        two = _index(cumulative, point if point < before else point + cumulative[one] - before)
        if two == one:  # by rounding
            two = one - 1 if one else 1
        return pool.members[one], pool.members[two]


def _index(cumulative: Sequence[float], point: float) -> int:
    """Return the index of the weight that contains a point of the cumulative sum, the last at most."""
    return min(bisect_right(cumulative, point), len(cumulative) - 1)


def elite_weights(objectives: Sequence[Sequence[float]], low: float, high: float) -> list[float]:
    """Return the unnormalised probability of each member to become a parent (elite sampling).

        γ_j = Π_k [α_low + (f_jk − min_k) / (max_k − min_k) · (α_high − α_low)]

    over all objectives k, with minima and maxima over the members. An objective that is equal for all members
    gives all of them the factor α_high. (The published code multiplies the fraction by α_high, so its best
    member has 1.3.)

    Args:
        objectives: [members][objectives].
        low: α_low.
        high: α_high.
    """
    weights = [1.0] * len(objectives)
    for column in zip(*objectives, strict=True):
        worst, best = min(column), max(column)
        for j, f in enumerate(column):
            fraction = (f - worst) / (best - worst) if best > worst else 1.0
            weights[j] *= low + fraction * (high - low)
    return weights


def _check_settings(settings: CycleQd.Settings) -> None:
    low, high, sigma = settings.alpha_low, settings.alpha_high, settings.sigma
    require("alpha_low", low, "more than 0", holds=low > 0)
    require("alpha_high", high, f"{low} (alpha_low) or more", holds=high >= low)
    require("sigma", sigma, "0 to 1", holds=0 <= sigma <= 1)
    require("singular_step", settings.singular_step, "0 or more", holds=settings.singular_step >= 0)
    require("mutation_step", settings.mutation_step, "0 or more", holds=settings.mutation_step >= 0)


STRATEGIES.register("cycleqd")(CycleQd)
