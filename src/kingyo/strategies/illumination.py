"""Base class of the quality-diversity strategies.

    start      random points, unless some points are known
    archives   each outcome is offered to every archive
    child      made by the subclass from members of the archives

Archives do not depend on the order of offers (see ``archive``), so outcomes are added at the next ask or
read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from kingyo.errors import unknown
from kingyo.strategies import genes
from kingyo.strategies.archive import Archive, Elite, GridAxis
from kingyo.strategies.checks import check_search, require, require_size
from kingyo.strategies.history import History, Observation, check_count, count_objectives
from kingyo.types import Axis, Genome, Outcome, Trial

NOVELTY_ATTEMPTS = 100
"""Most mutations of a repeated child. More than in other strategies: elites stay until they are beaten, so
many of their neighbours were proposed before. In a space of 256 points one child in sixteen needed more than
20.
"""
DEFAULT_GENES = 2


@dataclass(frozen=True, kw_only=True)
class IlluminationSettings:
    """Options that quality-diversity strategies share."""

    population: int = field(default=20, metadata={"doc": "trials per generation"})
    initial: int | None = field(
        default=None,
        metadata={
            "doc": "random trials before the first child; default: population, or 0 if points are known"
        },
    )
    cells: int = field(default=10, metadata={"doc": "cells per axis of the grid"})
    low: float = field(default=0.0, metadata={"doc": "lower end of each objective in the grid"})
    high: float = field(default=1.0, metadata={"doc": "upper end of each objective in the grid"})
    behaviour: Literal["auto", "objectives", "genes"] = field(
        default="auto",
        metadata={
            "doc": "axes of the grid: the other objectives or genes; auto: genes if there is one objective"
        },
    )
    genes: tuple[str, ...] = field(
        default=(), metadata={"doc": "axes of a grid of genes, by name; default: the first two"}
    )


class Illumination(ABC):
    """Search that keeps the best trial of each cell of an archive.

    All outcomes of a search have the same number of objectives; known points with another number are ignored.
    An estimate may hold a cell that no measured trial holds, and become a parent, but does not count in
    figures (see ``archive.Elite``). Failures enter no archive.

    Args:
        axes: the search space.
        seed: 0 or more.
        settings: see ``IlluminationSettings``.

    Raises:
        KingyoError: invalid axes or settings.
    """

    def __init__(self, axes: Sequence[Axis], seed: int, settings: IlluminationSettings) -> None:
        self._axes = check_search(axes, seed)
        _check_settings(settings)
        self._genes = _axis_indices(self._axes, settings.genes)
        self._options = settings
        self._rng = Random(seed)
        self._history = History()
        self._seen: set[Genome] = set()
        self._known_elites: tuple[Elite, ...] = ()
        self._objectives: int | None = None
        self._archives: tuple[Archive, ...] = ()
        self._mutation_rate = genes.mutation_rate(self._axes)

    @property
    def batch(self) -> int:
        """Trials per generation."""
        return self._options.population

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials: random ones first, then children of archive members."""
        check_count(n)
        self._add_outcomes()
        return [self._propose() for _ in range(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Record how trials ended.

        Raises:
            KingyoError: see ``History.tell``; or a number of objectives that differs from earlier outcomes or
                does not fit the settings.
        """
        objectives = count_objectives(outcomes, self._objectives)
        if objectives is None or self._objectives is not None:
            self._history.tell(outcomes)
            return
        self._check_objectives(objectives)
        self._history.tell(outcomes)
        self._objectives = objectives
        self._reset_archives(objectives)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Add known points to the archives before the first ask; children do not name them as parents.

        Raises:
            KingyoError: too few objectives for the settings.
        """
        observations = [Observation.of(outcome) for outcome in known if outcome.failure is None]
        if not observations:
            return
        self._known_elites = tuple(map(_elite, observations))
        objectives = max(len(elite.objectives) for elite in self._known_elites)
        self._check_objectives(objectives)
        self._reset_archives(objectives)

    @property
    def archives(self) -> tuple[Archive, ...]:
        """The archives, up to date; empty before the first outcome. Do not modify them."""
        self._add_outcomes()
        return self._archives

    @property
    def elites(self) -> tuple[Elite, ...]:
        """Measured elites of all archives, without duplicates, by number."""
        by_number = {elite.number: elite for archive in self.archives for elite in archive.elites}
        return tuple(by_number[number] for number in sorted(by_number))

    @abstractmethod
    def _make_archives(self, objectives: int) -> tuple[Archive, ...]:
        """Build empty archives for outcomes with this number of objectives."""

    @abstractmethod
    def _offer(self, elite: Elite) -> None:
        """Offer an elite, whose quality is its score, to the archives."""

    @abstractmethod
    def _child(self) -> tuple[Genome, tuple[Elite, ...]] | None:
        """Return a child and its parents; None if the archives are empty."""

    def _check_objectives(self, objectives: int) -> None:
        """Raise unless the settings support this number of objectives."""
        require(
            "behaviour",
            f"{self._options.behaviour} with {objectives} objective",
            "two objectives or more as axes of the grid",
            holds=self._options.behaviour != "objectives" or objectives > 1,
            remedy="Score several tasks, or set search.settings.behaviour: genes.",
        )

    def _by_genes(self, objectives: int) -> bool:
        return self._options.behaviour == "genes" or objectives < 2

    def _gene_axes(self) -> tuple[GridAxis, ...]:
        return tuple(_gene_axis(self._axes[index], self._options.cells) for index in self._genes)

    def _objective_axes(self, count: int) -> tuple[GridAxis, ...]:
        return (GridAxis(low=self._options.low, high=self._options.high, cells=self._options.cells),) * count

    def _reset_archives(self, objectives: int) -> None:
        """Reset the archives for this number of objectives and add the known points."""
        self._archives = self._make_archives(objectives)
        for elite in self._known_elites:
            if len(elite.objectives) == objectives:
                self._offer(elite)

    def _add_outcomes(self) -> None:
        for observation in self._history.take_all():
            if observation.score is not None:
                self._offer(_elite(observation))

    def _propose(self) -> Trial:
        child = self._child() if self._history.count >= self._n_initial() else None
        genome, parents = child or (genes.random_point(self._axes, self._rng), ())
        mutate = genes.mutation(self._axes, genes.RENEWAL_STEP, self._rng)
        genome = genes.mutate_until_new(genome, self._seen, mutate, self._rng, NOVELTY_ATTEMPTS)
        self._seen.add(genome)
        numbers = dict.fromkeys(parent.number for parent in parents if parent.number >= 0)
        return self._history.ask(genome, tuple(numbers))

    def _n_initial(self) -> int:
        if self._options.initial is not None:
            return self._options.initial
        return 0 if self._known_elites else self._options.population


def with_quality(elite: Elite, quality: float) -> Elite:
    """Return a copy of an elite with another quality."""
    return replace(elite, quality=quality)


def _elite(observation: Observation) -> Elite:
    return Elite(
        number=observation.number,
        genome=observation.genome,
        objectives=observation.objectives,
        quality=observation.score or 0.0,
        is_estimate=observation.is_partial,
    )


def _gene_axis(axis: Axis, cells: int) -> GridAxis:
    if axis.kind == "float":
        return GridAxis(low=axis.low, high=axis.high, cells=cells)
    values = int(axis.high - axis.low) + 1  # further cells would always be empty
    return GridAxis(low=axis.low - 0.5, high=axis.high + 0.5, cells=min(cells, values))


def _axis_indices(axes: Sequence[Axis], names: Sequence[str]) -> tuple[int, ...]:
    """Return the indices of the named axes; without names, of the first two."""
    known = [axis.name for axis in axes]
    for name in names:
        if name not in known:
            raise unknown("genes: axis", name, known)
    require("genes", list(names), "different axes", holds=len(set(names)) == len(names))
    return tuple(known.index(name) for name in names) or tuple(range(len(axes)))[:DEFAULT_GENES]


def _check_settings(settings: IlluminationSettings) -> None:
    population, initial, cells = settings.population, settings.initial, settings.cells
    require_size("population", population, 1)
    require_size("initial", initial, 0)
    require("cells", cells, "1 or more", holds=cells >= 1)
    require("high", settings.high, f"more than low, {settings.low}", holds=settings.low < settings.high)
