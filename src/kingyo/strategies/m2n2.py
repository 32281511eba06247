"""M2N2, model merging of natural niches: an archive of specialists, fused in pairs that complete each other.

    parent 1   in proportion to its shared fitness F
    parent 2   in proportion to what it could add to parent 1 (attraction)
    child      slerp by w left of a random split point, by 1 − w right of it; mutated
    archive    the child takes the place of the member of least shared fitness

Abrantes, Lange, Tang 2025, arXiv:2508.16204. The competition is in ``niches``; here are crossover, mutation,
and ask and tell. It sees genomes and item scores, never weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from kingyo.errors import KingyoError
from kingyo.strategies import STRATEGIES, genes
from kingyo.strategies.checks import check_search, require, require_size
from kingyo.strategies.history import History, Observation, check_count
from kingyo.strategies.niches import Member, Niches, attraction
from kingyo.strategies.sampling import rounded
from kingyo.types import Axis, Genome, Outcome, Trial

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

SMALLEST_ANGLE = 1e-3  # between two directions, in radians, that slerp can tell from 0 and from π


class M2N2:
    """M2N2: an archive of specialists that compete for items; pairs that complete each other have children.

    In steady state: each outcome that is told enters the archive, or is the one that leaves it. Outcomes
    enter in the order of their numbers, at the next ask, so it runs as well with many evaluators as with one.
    Failures never enter. Where no member can add anything to parent 1, the second is picked like the first;
    one member alone has mutants. A child that is a member's twin, as happens without float axes, is mutated
    on, one gene at a time (20 attempts). Of several tasks each feeds by its weight, its items alike.

    A split point lies in 0..1 along the model: axes with a ``place`` left of it take ratio w, the others
    1 − w. An axis that decides about all of the model has its index among the axes for its place.

    **Slerp of coefficients.** Slerp is Σ of its arguments times factors that depend on their angle only. Let
    a genome hold the coefficients of task vectors τ_i that are orthogonal and of length t. Merged task
    vectors then have ⟨Σ a_i τ_i, Σ b_i τ_i⟩ = t² ⟨a, b⟩, so the same angle, so the same factors: slerp of
    coefficients is slerp of what they merge, on each side of the split. (Around the base, where the paper's
    is around zero.) Task vectors of models that were trained apart are close to orthogonal; where lengths
    differ, the angle is off, and with it the factors, but the child stays in the same plane.

    Args:
        axes: the space; float genes are interpolated, the others come from the parent that w is nearer to.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: axes or settings that make no sense, each named.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of M2N2; the paper's where it names them."""

        population: int = field(default=20, metadata={"doc": "members of the archive"})
        alpha: float = field(
            default=1.0, metadata={"doc": "how strongly members compete for items; 0 for not at all"}
        )
        batch: int = field(default=1, metadata={"doc": "trials asked for at once; 1 in the paper"})
        initial: int | None = field(
            default=None,
            metadata={
                "doc": "random trials before the first child; default none where two points or more are "
                "known before, else the population. The paper begins with 2"
            },
        )
        spread: float | None = field(
            default=None,
            metadata={
                "doc": "random float genes are normal around the axis' start, with this fraction of its "
                "range as standard deviation; default uniform within the bounds"
            },
        )
        mutation_step: float = field(
            default=0.03,
            metadata={
                "doc": "standard deviation of a mutation, as a fraction of the axis' range; 0 for none"
            },
        )
        mutation_rate: float = field(default=1.0, metadata={"doc": "probability that a float gene mutates"})
        flip_rate: float | None = field(
            default=None,
            metadata={
                "doc": "probability that a gene of another kind mutates; default 1 / number of genes, "
                "at least 0.01"
            },
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        self._axes = check_search(axes, seed)
        _check_settings(settings)
        self._settings = settings
        self._initial = settings.population if settings.initial is None else settings.initial
        self._history = History()
        self.breeder = Breeder(self._axes, seed, settings)

    @property
    def batch(self) -> int:
        """How many trials to ask for at once."""
        return self._settings.batch

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        """Let each task feed by its weight, however many items it has; an item feeds 1 on average."""
        sizes, total = Counter(task_of.values()), math.fsum(weights.values())
        each = {task: len(task_of) * weights[task] / (total * size) for task, size in sizes.items()}
        self.breeder.niches.weigh({item: each[task] for item, task in task_of.items()})

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Begin with known points in the archive, as the paper does with its source models."""
        if self._history.count:
            raise KingyoError(
                "warm_start",
                expected="known points before the first ask",
                received=f"{self._history.count} trials asked",
                remedy="Tell what is known first.",
            )
        for outcome in sorted(known, key=lambda outcome: -outcome.trial.number):
            self._enter(Observation.of(outcome))
        if self._settings.initial is None and len(self.breeder.niches.members) > 1:
            self._initial = 0

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials: random ones first, then children."""
        check_count(n)
        if n == 0:
            return []
        for observation in self._history.take_all():
            self._enter(observation)
        return [self._propose() for _ in range(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn how trials ended; they enter the archive at the next ask."""
        self._history.tell(outcomes)

    def _enter(self, observation: Observation) -> None:
        if observation.score is not None:
            self.breeder.niches.add(self._member(observation))

    def _member(self, observation: Observation) -> Member:
        assert observation.score is not None, "failures never enter"
        point, row = (
            np.array(observation.genome, dtype=np.float64),
            self.breeder.niches.row(observation.items),
        )
        return Member(number=observation.number, genes=point, scores=row, value=observation.score)

    def _propose(self) -> Trial:
        if self._history.count < self._initial or not self.breeder.niches.members:
            return self._history.ask(_genome(self.breeder.newcomer()))
        child, numbers = self.breeder.child()
        return self._history.ask(_genome(child), tuple(number for number in numbers if number >= 0))


class Breeder:
    """The algorithm on arrays, without trials: who mates, and what their child looks like.

    Args:
        axes: as checked.
        seed: 0 or more.
        settings: as checked.
    """

    def __init__(self, axes: tuple[Axis, ...], seed: int, settings: M2N2.Settings) -> None:
        self.niches = Niches(settings.population, settings.alpha)
        self._axes = axes
        self._settings = settings
        # RandomState and Random, not Generator: their streams are the same in every version of numpy.
        self._rng = np.random.RandomState(np.random.SeedSequence(seed).generate_state(4))
        self._chance = Random(seed)
        self._low = np.array([axis.low for axis in axes], dtype=np.float64)
        self._high = np.array([axis.high for axis in axes], dtype=np.float64)
        self._floats = np.array([axis.kind == "float" for axis in axes])
        self._others = [index for index, axis in enumerate(axes) if axis.kind != "float"]
        self._places: Array = places(axes)
        self._flip_rate = genes.mutation_rate(axes) if settings.flip_rate is None else settings.flip_rate

    def newcomer(self) -> Array:
        """A random point."""
        if self._settings.spread is None:
            return self._tidy(np.array(genes.random_point(self._axes, self._chance)))
        around = self._stepped(np.array(genes.first_point(self._axes)), self._settings.spread, rate=1.0)
        for index in self._others:
            around[index] = genes.random_gene(self._axes[index], self._chance)
        return self._tidy(around)

    def child(self) -> tuple[Array, tuple[int, ...]]:
        """A child, and the numbers of its parents: two, or one where there is only one member."""
        members = self.niches.members
        first, second = self._pair()
        a, b = members[first], members[second]
        if first == second:
            return self._renewed(self._mutated(a.genes)), (a.number,)
        split, w = self._rng.uniform(size=2)
        left = self._places < split
        child = cross(a.genes, b.genes, ratio=float(w), left=left, floats=self._floats)
        return self._renewed(self._mutated(np.clip(child, self._low, self._high))), (a.number, b.number)

    def _pair(self) -> tuple[int, int]:
        f = self.niches.shares()
        fitness: Array = f.sum(axis=1)
        first = self._pick(fitness)
        if fitness.size == 1:
            return first, first
        others = np.arange(fitness.size) != first
        for weights in (attraction(f, first), fitness):
            if (weights * others).any():
                return first, self._pick(weights * others)
        return first, self._pick(others.astype(np.float64))

    def _pick(self, weights: Array) -> int:
        """Draw an index in proportion to its weight; evenly where all are 0."""
        steps = np.cumsum(weights if weights.any() else np.ones_like(weights))
        drawn = self._rng.uniform() * float(steps[-1])
        return int(np.searchsorted(steps[:-1], drawn, side="right"))

    def _mutated(self, point: Array) -> Array:
        moved = self._stepped(point, self._settings.mutation_step, self._settings.mutation_rate)
        for index in self._others:
            if self._chance.random() < self._flip_rate:
                moved[index] = self._flipped(index, moved[index])
        return self._tidy(moved)

    def _stepped(self, point: Array, step: float, rate: float) -> Array:
        """Gaussian steps on float genes, reflected at the bounds."""
        width = self._high - self._low
        moves = self._rng.standard_normal(point.size) * step * width
        if rate < 1:
            moves *= self._rng.uniform(size=point.size) < rate
        moved = np.mod(np.where(self._floats, point + moves, point) - self._low, 2 * width)
        return self._low + np.where(moved <= width, moved, 2 * width - moved)

    def _flipped(self, index: int, gene: float) -> float:
        return genes.mutate_gene(
            self._axes[index], gene, max(self._settings.mutation_step, 0.01), self._chance
        )

    def _renewed(self, point: Array) -> Array:
        for _ in range(genes.NOVELTY_ATTEMPTS):
            if not any(np.array_equal(point, member.genes) for member in self.niches.members):
                break
            index = self._chance.randrange(point.size)
            point[index] = self._flipped(index, float(point[index]))
            point = self._tidy(point)
        return point

    def _tidy(self, point: Array) -> Array:
        """Round float genes as ``genes`` says, and the others to whole numbers."""
        whole = np.clip(np.round(point), self._low, self._high)
        return np.where(self._floats, rounded(point, self._low, self._high), whole)


def places(axes: Sequence[Axis]) -> Array:
    """Where along the model, 0 to 1, each gene lies."""
    last = max(1, len(axes) - 1)
    return np.array([i / last if axis.place is None else axis.place for i, axis in enumerate(axes)])


def cross(a: Array, b: Array, *, ratio: float, left: Flags, floats: Flags) -> Array:
    """The paper's crossover: slerp from a to b, by the ratio left of the split and by 1 − ratio right of it.

    Genes that are no floats come from the nearer of the two.
    """
    child = a.copy()
    for side, t in ((left, ratio), (~left, 1 - ratio)):
        child[side & floats] = slerp(a[side & floats], b[side & floats], t)
        child[side & ~floats] = (a if t < 0.5 else b)[side & ~floats]
    return child


def slerp(a: Array, b: Array, t: float) -> Array:
    """(sin((1 − t) Ω) a + sin(t Ω) b) / sin Ω, with Ω the angle between a and b (Shoemake 1985).

    A straight line where a vector is zero, or both lie on one line and so span no arc.
    """
    lengths = float(np.sqrt((a * a).sum() * (b * b).sum()))
    cosine = float((a * b).sum()) / lengths if lengths > 0 else 1.0
    omega = float(np.arccos(min(1.0, max(-1.0, cosine))))
    if np.sin(omega) < SMALLEST_ANGLE:
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * omega) * a + np.sin(t * omega) * b) / np.sin(omega)


def _genome(point: Array) -> Genome:
    return tuple(point.tolist())


def _check_settings(settings: M2N2.Settings) -> None:
    population, initial, spread = settings.population, settings.initial, settings.spread
    require_size("population", population, 2)
    require("alpha", settings.alpha, "0 or more", holds=settings.alpha >= 0)
    require_size("batch", settings.batch, 1)
    require_size("initial", initial, 0)
    require("spread", spread, "more than 0, at most 1", holds=spread is None or 0 < spread <= 1)
    require("mutation_step", settings.mutation_step, "0 to 1", holds=0 <= settings.mutation_step <= 1)
    rates = {"mutation_rate": settings.mutation_rate, "flip_rate": settings.flip_rate}
    for name, rate in rates.items():
        require(name, rate, "0 to 1", holds=rate is None or 0 <= rate <= 1)


STRATEGIES.register("m2n2")(M2N2)
