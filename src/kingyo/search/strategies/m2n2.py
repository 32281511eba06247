"""M2N2 (model merging of natural niches): an archive of specialists and crossover of complementary pairs.

    parent 1   sampled in proportion to shared fitness F
    parent 2   sampled in proportion to attraction: what it could add to parent 1
    child      slerp with ratio w left of a random split point, 1 − w right of it; then mutation
    archive    a new member replaces the member with the lowest shared fitness

Each item has a limited capacity that members share, so a specialist keeps its place beside generalists.

Abrantes, Lange and Tang 2025, Competition and Attraction Improve Model Fusion, GECCO 2025, arXiv:2508.16204;
implicit fitness sharing: Smith, Forrest and Perelson 1993.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kingyo.core.types import Axis, Outcome, Trial
from kingyo.search.strategies import STRATEGIES, genes
from kingyo.search.strategies.base import BaseStrategy, NotNegative, Population, Share, Size, Whole
from kingyo.search.strategies.sampling import rounded

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

MIN_SINE = 1e-3  # of the angle between two vectors; below it slerp falls back to a straight line
DECIMALS = 9  # of a shared fitness: its last bits differ between machines


class M2N2(BaseStrategy):
    """M2N2 for axes of every kind.

    **Steady state.** Outcomes enter the archive at the next ask, in the order of their numbers. If no member
    can add anything to parent 1, parent 2 is sampled by fitness; a single member has mutants. A child that
    equals a member is mutated, one gene at a time (at most 20 times). With several tasks, the capacity of a
    task is its weight.

    **Split point.** Axes with a smaller ``place`` take ratio w, the others 1 − w; without a place, an axis is
    positioned by its index.

    **Slerp of coefficients.** If genomes hold coefficients of orthogonal task vectors τ_i of length t, merged
    task vectors have ⟨Σ a_i τ_i, Σ b_i τ_i⟩ = t² ⟨a, b⟩. So slerp of coefficients is slerp of the merged task
    vectors on each side of the split (around the base; the paper's is around zero). Task vectors of models
    trained separately are close to orthogonal.
    """

    handles_objectives: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of M2N2, with the paper's names.

        Attributes:
            population: members of the archive.
            alpha: strength of the competition for items; 0: none.
            batch: trials to ask for at once; 1 in the paper.
            initial: random trials before the first child; default: population, or 0 if two points are known.
            spread: standard deviation of random float genes around the start; default: uniform genes.
            mutation_step: standard deviation of a mutation, as a fraction of the axis' range; 0: none.
            mutation_rate: probability that a float gene mutates.
            flip_rate: probability of other genes to mutate; default 1 / number of genes, at least 0.01.
        """

        population: Population = 20
        alpha: NotNegative = 1.0
        batch: Size = 1
        initial: Whole | None = None
        spread: Annotated[float, Field(gt=0, le=1)] | None = None
        mutation_step: Share = 0.03
        mutation_rate: Share = 1.0
        flip_rate: Share | None = None

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, settings.batch)
        self._settings = settings
        self._initial = settings.population if settings.initial is None else settings.initial
        self.breeder = Breeder(self._axes, seed, settings)

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        sizes, total = Counter(task_of.values()), math.fsum(weights.values())
        per_item = {task: len(task_of) * weights[task] / (total * size) for task, size in sizes.items()}
        self.breeder.niches.weights = {item: per_item[task] for item, task in task_of.items()}

    def warm_start(self, known: Sequence[Outcome]) -> None:
        for outcome in sorted(known, key=lambda outcome: -outcome.trial.number):
            self._add_to_archive(outcome)
        if self._settings.initial is None and len(self.breeder.niches.members) > 1:
            self._initial = 0

    def ask(self, n: int) -> list[Trial]:
        for outcome in self._history.take_all():
            self._add_to_archive(outcome)
        return [self._propose() for _ in range(n)]

    def _add_to_archive(self, outcome: Outcome) -> None:
        if outcome.score is not None:
            point = np.array(outcome.genome, dtype=np.float64)
            scores = self.breeder.niches.score_row(outcome.items)
            self.breeder.niches.add(
                Member(number=outcome.number, genes=point, scores=scores, value=outcome.score)
            )

    def _propose(self) -> Trial:
        if self._history.count < self._initial or not self.breeder.niches.members:
            return self._history.ask(tuple(self.breeder.random_point().tolist()))
        child, numbers = self.breeder.child()
        return self._history.ask(tuple(child.tolist()), tuple(number for number in numbers if number >= 0))


class Breeder:
    """Parent selection and variation on arrays."""

    def __init__(self, axes: tuple[Axis, ...], seed: int, settings: M2N2.Settings) -> None:
        self.niches = Niches(settings.population, settings.alpha)
        self._axes = axes
        self._settings = settings
        # RandomState and Random, not Generator: their streams are stable across versions of numpy.
        self._rng = np.random.RandomState(np.random.SeedSequence(seed).generate_state(4))
        self._choice_rng = Random(seed)
        self._low = np.array([axis.low for axis in axes], dtype=np.float64)
        self._high = np.array([axis.high for axis in axes], dtype=np.float64)
        self._floats = np.array([axis.kind == "float" for axis in axes])
        self._discrete = [index for index, axis in enumerate(axes) if axis.kind != "float"]
        last = max(1, len(axes) - 1)
        places = [i / last if axis.place is None else axis.place for i, axis in enumerate(axes)]
        self._positions: Array = np.array(places)  # along the model, 0 to 1
        self._flip_rate = genes.mutation_rate(axes) if settings.flip_rate is None else settings.flip_rate

    def random_point(self) -> Array:
        if self._settings.spread is None:
            return self._round_genes(np.array(genes.random_point(self._axes, self._choice_rng)))
        point = self._gaussian_step(np.array(genes.first_point(self._axes)), self._settings.spread, rate=1.0)
        for index in self._discrete:
            point[index] = genes.random_gene(self._axes[index], self._choice_rng)
        return self._round_genes(point)

    def child(self) -> tuple[Array, tuple[int, ...]]:
        members = self.niches.members
        first, second = self._pair()
        a, b = members[first], members[second]
        if first == second:
            return self._mutated_until_new(self._mutated(a.genes)), (a.number,)
        split, w = self._rng.uniform(size=2)
        left = self._positions < split
        child = split_slerp(a.genes, b.genes, ratio=float(w), left=left, floats=self._floats)
        child = self._mutated(np.clip(child, self._low, self._high))
        return self._mutated_until_new(child), (a.number, b.number)

    def _pair(self) -> tuple[int, int]:
        f = self.niches.shares()  # members × items
        fitness: Array = f.sum(axis=1)
        first = self._sample(fitness)
        if fitness.size == 1:
            return first, first
        others = np.arange(fitness.size) != first
        for weights in (attraction(f, first), fitness):
            if (weights * others).any():
                return first, self._sample(weights * others)
        return first, self._sample(others.astype(np.float64))

    def _sample(self, weights: Array) -> int:
        steps = np.cumsum(weights if weights.any() else np.ones_like(weights))
        drawn = self._rng.uniform() * float(steps[-1])
        return int(np.searchsorted(steps[:-1], drawn, side="right"))

    def _mutated(self, point: Array) -> Array:
        moved = self._gaussian_step(point, self._settings.mutation_step, self._settings.mutation_rate)
        for index in self._discrete:
            if self._choice_rng.random() < self._flip_rate:
                moved[index] = self._mutated_gene(index, moved[index])
        return self._round_genes(moved)

    def _gaussian_step(self, point: Array, step: float, rate: float) -> Array:
        ranges = self._high - self._low
        moves = self._rng.standard_normal(point.size) * step * ranges
        if rate < 1:
            moves *= self._rng.uniform(size=point.size) < rate
        moved = np.mod(np.where(self._floats, point + moves, point) - self._low, 2 * ranges)
        return self._low + np.where(moved <= ranges, moved, 2 * ranges - moved)

    def _mutated_gene(self, index: int, gene: float) -> float:
        step = max(self._settings.mutation_step, 0.01)
        return genes.mutate_gene(self._axes[index], gene, step, self._choice_rng)

    def _mutated_until_new(self, point: Array) -> Array:
        for _ in range(genes.NOVELTY_ATTEMPTS):
            if not any(np.array_equal(point, member.genes) for member in self.niches.members):
                break
            index = self._choice_rng.randrange(point.size)
            point[index] = self._mutated_gene(index, float(point[index]))
            point = self._round_genes(point)
        return point

    def _round_genes(self, point: Array) -> Array:
        whole = np.clip(np.round(point), self._low, self._high)
        return np.where(self._floats, rounded(point, self._low, self._high), whole)


@dataclass(frozen=True, kw_only=True)
class Member:
    """A genome that can become a parent; its scores are NaN for items that were not scored.

    The number is that of its trial, below 0 for a known point; the value is the mean score, or an estimate.
    """

    number: int
    genes: Array
    scores: Array
    value: float


class Niches:
    """Archive of at most ``population`` members that share fitness item by item.

    A missing score counts as the member's value. Scores are measured from 0, or from the lowest score on the
    item if that is negative.
    """

    def __init__(self, population: int, alpha: float) -> None:
        self._population = population
        self._alpha = alpha
        self._columns: dict[str, int] = {}
        self.weights: Mapping[str, float] = {}  # of items, 1 by default
        self.members: list[Member] = []

    def score_row(self, items: Mapping[str, float]) -> Array:
        for item in sorted(items):
            self._columns.setdefault(item, len(self._columns))
        scores = np.full(len(self._columns), np.nan)
        scores[[self._columns[item] for item in items]] = list(items.values())
        return scores

    def add(self, member: Member) -> None:
        """Add a member; if there are too many, that of the lowest fitness leaves, the oldest of ties."""
        self.members.append(member)
        if len(self.members) > self._population:
            del self.members[int(np.argmin(self.fitness()))]

    def fitness(self) -> Array:
        fitness: Array = self.shares().sum(axis=1)
        return np.round(fitness, DECIMALS)

    def shares(self) -> Array:
        """Return f_kj × weight of item j, shape (members, items)."""
        f = share_fitness(self._scores(), self._alpha)
        if self.weights:
            f = f * np.array([self.weights.get(item, 1.0) for item in self._columns])[: f.shape[1]]
        return f

    def _scores(self) -> Array:
        scores = np.full((len(self.members), max(member.scores.size for member in self.members)), np.nan)
        for row, member in zip(scores, self.members, strict=True):
            row[: member.scores.size] = member.scores
        values = np.array([member.value for member in self.members])
        filled = np.where(np.isnan(scores), values[:, None], scores)
        return filled - np.minimum(0.0, filled.min(axis=0, initial=0.0))


def share_fitness(s: Array, alpha: float) -> Array:
    """Return f_kj = c_j s_kj / z_j^α with z_j = Σ_k s_kj: the share of member k in item j.

    It is the paper's shared fitness of scores s, shape (members, items); the capacity c_j is the best score
    on the item in the archive.
    """
    z = s.sum(axis=0)
    capacity = s.max(axis=0, initial=0.0)
    return np.divide(s * capacity, z**alpha, out=np.zeros_like(s), where=z > 0)


def attraction(f: Array, first: int) -> Array:
    """Return Σ_j max(0, f_kj − f_1j) for each member k: what it could add to the first parent."""
    return np.maximum(0.0, f - f[first]).sum(axis=1)


def split_slerp(a: Array, b: Array, *, ratio: float, left: Flags, floats: Flags) -> Array:
    """Slerp with ratio t left of the split and 1 − t right of it; other genes come from the nearer parent."""
    child = a.copy()
    for side, t in ((left, ratio), (~left, 1 - ratio)):
        child[side & floats] = slerp(a[side & floats], b[side & floats], t)
        child[side & ~floats] = (a if t < 0.5 else b)[side & ~floats]
    return child


def slerp(a: Array, b: Array, t: float) -> Array:
    """Return (sin((1 − t) Ω) a + sin(t Ω) b) / sin Ω with Ω the angle between a and b (Shoemake 1985)."""
    lengths = float(np.sqrt((a * a).sum() * (b * b).sum()))
    cosine = float((a * b).sum()) / lengths if lengths > 0 else 1.0
    omega = float(np.arccos(min(1.0, max(-1.0, cosine))))
    if np.sin(omega) < MIN_SINE:
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * omega) * a + np.sin(t * omega) * b) / np.sin(omega)


STRATEGIES.register("m2n2")(M2N2)
