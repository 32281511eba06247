"""MAP-Elites: keep the best trial of each cell of a grid, and use all of them as parents.

    grid       objectives, or some of the genes
    cell       keeps the trial of the highest quality
    child      two uniformly picked members: a step along the line between them, and a small Gaussian step

Mouret and Clune 2015, Illuminating Search Spaces by Mapping Elites, arXiv:1504.04909. The variation operator
is Iso+LineDD (Vassiliades and Mouret 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kingyo.strategies import STRATEGIES, variation
from kingyo.strategies.archive import Archive, Elite
from kingyo.strategies.checks import require
from kingyo.strategies.illumination import Illumination, IlluminationSettings, with_quality
from kingyo.types import Axis, Genome


class MapElites(Illumination):
    """MAP-Elites for axes of every kind.

    By default the quality is the score and the axes of the grid are the objectives. With the setting
    ``quality`` it is one objective, and the axes are the others. With one objective the axes are genes (see
    ``behaviour``).

    A trial has two parents, or one if both picks are the same member or one is a known point; none if it is
    random or both are known points. The step sizes are chosen for kingyo (Vassiliades and Mouret: 0.2 along
    the line, 0.01 isotropic).

    Args:
        axes: the search space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: invalid axes or settings.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(IlluminationSettings):
        """Options of MAP-Elites."""

        cells: int = field(default=5, metadata={"doc": "cells per axis of the grid"})
        quality: int | None = field(
            default=None,
            metadata={"doc": "index of the objective that each cell maximises; default: the score"},
        )
        line_step: float = field(
            default=0.5,
            metadata={"doc": "standard deviation of the step along the line, in distances of the parents"},
        )
        mutation_step: float = field(
            default=0.1,
            metadata={"doc": "standard deviation of the Gaussian step, as a fraction of the axis' range"},
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, settings)
        line, step, quality = settings.line_step, settings.mutation_step, settings.quality
        require("line_step", line, "0 or more", holds=line >= 0)
        require("mutation_step", step, "more than 0", holds=step > 0)
        require("quality", quality, "0 or more", holds=quality is None or quality >= 0)
        self._settings = settings
        self._members: tuple[Elite, ...] | None = None

    def _check_objectives(self, objectives: int) -> None:
        super()._check_objectives(objectives)
        quality = self._settings.quality
        require(
            "quality",
            quality,
            f"less than {objectives}, the number of objectives",
            holds=quality is None or quality < objectives,
        )

    def _make_archives(self, objectives: int) -> tuple[Archive, ...]:
        self._members = None
        if self._by_genes(objectives):
            return (Archive(self._gene_axes()),)
        return (Archive(self._objective_axes(objectives - (self._settings.quality is not None))),)

    def _offer(self, elite: Elite) -> None:
        quality, objectives = self._settings.quality, elite.objectives
        if self._by_genes(len(objectives)):
            behaviour = tuple(elite.genome[index] for index in self._genes)
        else:
            behaviour = tuple(value for index, value in enumerate(objectives) if index != quality)
        if quality is not None:
            elite = with_quality(elite, objectives[quality])
        if self._archives[0].offer(behaviour, elite):
            self._members = None

    def _child(self) -> tuple[Genome, tuple[Elite, ...]] | None:
        if self._members is None:  # cached until the archive changes
            self._members = self._archives[0].members if self._archives else ()
        if not self._members:
            return None
        one, two = self._rng.choice(self._members), self._rng.choice(self._members)
        settings, rng = self._settings, self._rng
        genome = variation.line_step(self._axes, one.genome, two.genome, settings.line_step, rng)
        genome = variation.mutate_all(self._axes, genome, settings.mutation_step, self._mutation_rate, rng)
        return genome, (one, two)


STRATEGIES.register("map-elites")(MapElites)
