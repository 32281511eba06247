"""CycleQD: each task in turn is what to be good at, the others are what to differ in.

    archives   one per task k: its quality is f_k, the axes of its grid are the other objectives
    cycle      generation g breeds from archive g mod K; every outcome is offered to all archives
    parents    Elite sampling: good at all tasks, relative to the archive
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
    """What breeding needs of one archive, computed once per change of it."""

    members: tuple[Elite, ...]
    cumulative: tuple[float, ...]
    root: variation.Matrix


class CycleQd(Illumination):
    """CycleQD, for several objectives: each in turn is the quality, the others are what niches differ in.

    For axes of every kind; crossover and singular steps are for float axes. A generation is ``population``
    asks. In the paper the archives begin with the experts, one per task; here with the known points, if the
    search is given any, else with random trials. With one objective there is one archive, over genes (see the
    setting ``behaviour``).

    The mutation is the paper's in genome space only. There, task vectors are decomposed, weight matrix by
    weight matrix, and their singular components are added to the child, each times a random number from 0
    to w_max (in the published code: the components of the expert at the task in turn). So a child may leave
    the linear span of the experts, but not the subspaces of their singular vectors. Here a genome holds
    coefficients of task vectors: a child of a linear merge stays in their linear span. (The components of one
    weight matrix move apart where the genome says so: by the merge method ``singular_bands``.) What is
    decomposed instead is the matrix members × float genes of the archive, less its mean: a step is the sum
    of its singular directions, each times its singular value (over √n), ``singular_step`` and a normal
    number, as the sign of such a direction has no meaning. A small Gaussian step (``mutation_step``), which
    the paper has not, goes on where all members are alike along some direction.

    The factors of Elite sampling are the paper's. ``cells``, ``sigma`` and the steps are kingyo's own choice
    for some hundreds of trials; the published code has 15 cells per axis, σ = 0.01 and w_max = 0.1.

    A trial has two parents, fewer where an archive holds one member or a known point was one; none when it
    was drawn at random.

    Args:
        axes: the space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: axes or settings that make no sense, each named.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(IlluminationSettings):
        """Options of CycleQD."""

        alpha_low: float = field(
            default=0.5, metadata={"doc": "Elite sampling: factor of the worst member at a task"}
        )
        alpha_high: float = field(
            default=0.8, metadata={"doc": "Elite sampling: factor of the best member at a task"}
        )
        sigma: float = field(
            default=0.03, metadata={"doc": "deviation of the mixing coefficients around 1, at most 1"}
        )
        singular_step: float = field(
            default=1.0,
            metadata={
                "doc": "step along singular directions, in standard deviations of the archive along each"
            },
        )
        mutation_step: float = field(
            default=0.02, metadata={"doc": "deviation of the Gaussian step, as a fraction of the axis' range"}
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
            Archive(self._gene_sides() if by_genes else self._objective_sides(objectives - 1))
            for _ in range(objectives)
        )

    def _offer(self, elite: Elite) -> None:
        f = elite.objectives
        for k, archive in enumerate(self._archives):
            if self._by_genes(len(f)):
                behaviour = tuple(elite.genome[place] for place in self._genes)
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
        genome = variation.mutated(self._axes, genome, settings.mutation_step, self._mutation_rate, rng)
        return genome, parents

    def _pool(self) -> _Pool | None:
        """The members of the archive whose turn it is."""
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
        """Two different members, or the only one."""
        upto = pool.cumulative
        one = _place(upto, self._rng.random() * upto[-1])
        if len(upto) == 1:
            return (pool.members[one],)
        before = upto[one - 1] if one else 0.0
        dart = self._rng.random() * (upto[-1] - (upto[one] - before))
        beside = [index for index in (one - 1, one + 1) if 0 <= index < len(upto)]
        two = _place(upto, dart if dart < before else dart + upto[one] - before)
        return pool.members[one], pool.members[two if two != one else beside[0]]


def _place(cumulative: Sequence[float], dart: float) -> int:
    """Which share of a wheel a dart hits; rounding must not let it fly beyond the last."""
    return min(bisect_right(cumulative, dart), len(cumulative) - 1)


def elite_weights(objectives: Sequence[Sequence[float]], low: float, high: float) -> list[float]:
    """Elite sampling (CycleQD): how likely each member of an archive is a parent, unnormalised.

        γ_j = Π_k [α_low + (f_jk − min_k) / (max_k − min_k) · (α_high − α_low)]

    over the quality and all behaviours k, with the extremes over the archive's members. A task at which all
    members are alike tells them apart by nothing: its factor is α_high for all. (The published code
    multiplies the fraction by α_high itself, so its best member has 1.3.)
    """
    weights = [1.0] * len(objectives)
    for column in zip(*objectives, strict=True):
        worst, best = min(column), max(column)
        for j, f in enumerate(column):
            place = (f - worst) / (best - worst) if best > worst else 1.0
            weights[j] *= low + place * (high - low)
    return weights


def _check_settings(settings: CycleQd.Settings) -> None:
    low, high, sigma = settings.alpha_low, settings.alpha_high, settings.sigma
    require("alpha_low", low, "more than 0, so that everyone can be a parent", holds=low > 0)
    require("alpha_high", high, f"alpha_low, {low}, or more", holds=high >= low)
    require("sigma", sigma, "0 to 1", holds=0 <= sigma <= 1)
    require("singular_step", settings.singular_step, "0 or more", holds=settings.singular_step >= 0)
    require("mutation_step", settings.mutation_step, "0 or more", holds=settings.mutation_step >= 0)


STRATEGIES.register("cycleqd")(CycleQd)
