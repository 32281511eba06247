"""MAP-Elites: keep the best trial of each cell of a grid, and use all of them as parents.

    grid       objectives, or some of the genes
    cell       keeps the trial of the highest quality
    child      two uniformly picked members: a step along the line between them, and a small Gaussian step

Mouret and Clune 2015, Illuminating Search Spaces by Mapping Elites, arXiv:1504.04909. The variation operator
is Iso+LineDD (Vassiliades and Mouret 2018, Discovering the Elite Hypervolume by Leveraging Interspecies
Correlation, eq. 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated

from pydantic import Field

from kingyo.strategies import STRATEGIES, genes
from kingyo.strategies.checks import Count, NotNegative, Positive, require
from kingyo.strategies.history import Observation
from kingyo.strategies.illumination import Archive, Illumination, IlluminationSettings
from kingyo.types import Axis, Genome


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

    def _make_archives(self, objectives: int) -> tuple[Archive, ...]:
        return (Archive(self._grid(objectives, objectives - (self._settings.quality is not None))),)

    def _offer(self, trial: Observation) -> None:
        quality, f = self._settings.quality, trial.objectives
        if self._by_genes(len(f)):
            behaviour = self._gene_behaviour(trial)
        else:
            behaviour = tuple(value for index, value in enumerate(f) if index != quality)
        self._archives[0].offer(behaviour, trial, (trial.score or 0.0) if quality is None else f[quality])

    def _child(self) -> tuple[Genome, tuple[Observation, ...]] | None:
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
