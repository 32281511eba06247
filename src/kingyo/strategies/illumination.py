"""What quality-diversity strategies share: trials in, an archive or several filled, children out.

    start      random points, unless something is known already
    archives   every outcome is offered to each of them, as soon as it is in
    child      made by the strategy itself from what the archives hold

It knows no way to pick parents or to cross them. Archives do not depend on the order of what they are offered
(see ``archive``), so outcomes are taken in whenever someone asks or looks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from kingyo.errors import unknown
from kingyo.strategies import genes
from kingyo.strategies.archive import Archive, Elite, Side
from kingyo.strategies.checks import check_search, require, require_size
from kingyo.strategies.history import History, Observation, check_count, count_objectives
from kingyo.types import Axis, Genome, Outcome, Trial

NOVELTY_ATTEMPTS = 100
"""More than elsewhere: a niche's best stays until it is beaten, and what lies around it has been asked. In a
space of 256 points one child in sixteen was changed more than 20 times until it was new."""
DEFAULT_GENES = 2


@dataclass(frozen=True, kw_only=True)
class IlluminationSettings:
    """Options that quality-diversity strategies share."""

    population: int = field(default=20, metadata={"doc": "trials per generation"})
    initial: int | None = field(
        default=None,
        metadata={
            "doc": "random trials before the first child; default a population, or 0 where points are known"
        },
    )
    cells: int = field(default=10, metadata={"doc": "cells of the grid per axis"})
    low: float = field(default=0.0, metadata={"doc": "objectives below this count as this"})
    high: float = field(default=1.0, metadata={"doc": "objectives above this count as this"})
    behaviour: Literal["auto", "objectives", "genes"] = field(
        default="auto",
        metadata={
            "doc": "axes of the grid: the other objectives, or genes; auto: genes if there is one objective"
        },
    )
    genes: tuple[str, ...] = field(
        default=(), metadata={"doc": "names of the axes that make the grid of genes; default the first two"}
    )


class Illumination(ABC):
    """A search that keeps the best of every niche.

    Outcomes of one search have the same number of objectives. Known points that have another number (one
    score, where the search has a score per task) have no niche and are left out.

    An outcome that is an estimate may hold a niche that no measured trial holds, and so have children; it
    does not count in the figures (see ``archive.Elite``). A failure has no niche.
    """

    def __init__(self, axes: Sequence[Axis], seed: int, settings: IlluminationSettings) -> None:
        self._axes = check_search(axes, seed)
        _check_settings(settings)
        self._genes = _places(self._axes, settings.genes)
        self._grid = settings
        self._rng = Random(seed)
        self._history = History()
        self._seen: set[Genome] = set()
        self._known: tuple[Elite, ...] = ()
        self._objectives: int | None = None
        self._archives: tuple[Archive, ...] = ()
        self._mutation_rate = genes.mutation_rate(self._axes)

    @property
    def batch(self) -> int:
        """The size of a generation."""
        return self._grid.population

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials: random ones first, then children of those that hold niches."""
        check_count(n)
        self._take_in()
        return [self._propose() for _ in range(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn how trials ended.

        Raises:
            KingyoError: see ``History.tell``; or another number of objectives than before, or than the
                settings can work with.
        """
        objectives = count_objectives(outcomes, self._objectives)
        if objectives is None or self._objectives is not None:
            self._history.tell(outcomes)
            return
        self._check_objectives(objectives)
        self._history.tell(outcomes)
        self._objectives = objectives
        self._begin(objectives)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Fill the archives with known points before the first ask: they have children, who do not name them.

        Raises:
            KingyoError: fewer objectives than the settings can work with.
        """
        observations = [
            (Observation.of(outcome), outcome.is_partial) for outcome in known if outcome.failure is None
        ]
        if not observations:
            return
        self._known = tuple(_elite(each, is_estimate=partial) for each, partial in observations)
        objectives = max(len(elite.objectives) for elite in self._known)
        self._check_objectives(objectives)
        self._begin(objectives)

    @property
    def archives(self) -> tuple[Archive, ...]:
        """The archives, with all that was told so far; none before the first outcome. Only to be read."""
        self._take_in()
        return self._archives

    @property
    def elites(self) -> tuple[Elite, ...]:
        """The measured elites of all archives, each once, by number."""
        by_number = {elite.number: elite for archive in self.archives for elite in archive.elites}
        return tuple(by_number[number] for number in sorted(by_number))

    @abstractmethod
    def _make_archives(self, objectives: int) -> tuple[Archive, ...]:
        """Make empty archives for outcomes with so many objectives."""

    @abstractmethod
    def _offer(self, elite: Elite) -> None:
        """Offer an elite to the archives; its quality is its score, to be replaced if need be."""

    @abstractmethod
    def _child(self) -> tuple[Genome, tuple[Elite, ...]] | None:
        """Make a child of members of the archives; None when they hold nobody."""

    def _check_objectives(self, objectives: int) -> None:
        """Raise unless the settings can work with so many objectives."""
        require(
            "behaviour",
            f"{self._grid.behaviour} with {objectives} objective",
            "two objectives or more, as the axes of the grid",
            holds=self._grid.behaviour != "objectives" or objectives > 1,
            remedy="Score on several tasks, or set search.settings.behaviour: genes.",
        )

    def _by_genes(self, objectives: int) -> bool:
        return self._grid.behaviour == "genes" or objectives < 2

    def _gene_sides(self) -> tuple[Side, ...]:
        return tuple(_gene_side(self._axes[place], self._grid.cells) for place in self._genes)

    def _objective_sides(self, count: int) -> tuple[Side, ...]:
        return (Side(low=self._grid.low, high=self._grid.high, cells=self._grid.cells),) * count

    def _begin(self, objectives: int) -> None:
        """Start anew with archives for so many objectives, which hold what is known."""
        self._archives = self._make_archives(objectives)
        for elite in self._known:
            if len(elite.objectives) == objectives:
                self._offer(elite)

    def _take_in(self) -> None:
        for observation in self._history.take_all():
            if observation.score is not None:
                self._offer(_elite(observation, is_estimate=observation.is_partial))

    def _propose(self) -> Trial:
        child = self._child() if self._history.count >= self._initial() else None
        genome, parents = child or (genes.random_point(self._axes, self._rng), ())
        genome = self._renewed(genome)
        self._seen.add(genome)
        numbers = dict.fromkeys(parent.number for parent in parents if parent.number >= 0)
        return self._history.ask(genome, tuple(numbers))

    def _initial(self) -> int:
        if self._grid.initial is not None:
            return self._grid.initial
        return 0 if self._known else self._grid.population

    def _renewed(self, genome: Genome) -> Genome:
        mutate = genes.mutation(self._axes, genes.RENEWAL_STEP, self._rng)
        return genes.renewed(genome, self._seen, mutate, self._rng, NOVELTY_ATTEMPTS)


def with_quality(elite: Elite, quality: float) -> Elite:
    """The same elite, judged by something else."""
    return replace(elite, quality=quality)


def _elite(observation: Observation, *, is_estimate: bool) -> Elite:
    return Elite(
        number=observation.number,
        genome=observation.genome,
        objectives=observation.objectives,
        quality=observation.score or 0.0,
        is_estimate=is_estimate,
    )


def _gene_side(axis: Axis, cells: int) -> Side:
    if axis.kind == "float":
        return Side(low=axis.low, high=axis.high, cells=cells)
    values = int(axis.high - axis.low) + 1  # more cells than values would stay empty for ever
    return Side(low=axis.low - 0.5, high=axis.high + 0.5, cells=min(cells, values))


def _places(axes: Sequence[Axis], names: Sequence[str]) -> tuple[int, ...]:
    """Where the axes of these names are in a genome; the first two without names."""
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
