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
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Literal

from pydantic import Field

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.errors import unknown_name_error
from kingyo.search.strategies import STRATEGIES, genes
from kingyo.search.strategies.checks import Count, NotNegative, Positive, Size, require
from kingyo.search.strategies.history import BaseStrategy

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
        """Insert a trial with a score if it is better than the holder of its cell."""
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
        """Build archives for this number of objectives, with the known points, unless they are built."""
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
