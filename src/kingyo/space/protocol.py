"""Interfaces of search spaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from kingyo.recipe import Recipe
from kingyo.types import Axis, Genome

if TYPE_CHECKING:
    from kingyo.space.bounds import Bounds
    from kingyo.space.dataflow import DataflowSpace


class Space(Protocol):
    """A search space: axes, and recipes of genomes."""

    @property
    def axes(self) -> Sequence[Axis]:
        """Axes of the space."""
        ...

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome."""
        ...


class SourceSpace(Space, Protocol):
    """A space over the sources of a run, with facts known before the search.

    Subclasses define ``axes`` and ``decode``; the other methods have defaults.
    """

    def known_points(self) -> dict[str, Genome]:
        """Return name -> genome of the baselines that are points of the space: sources and ``uniform``.

        Only genomes whose recipe reproduces the baseline's weights, up to rounding, are included.
        """
        return {}

    def bounds_without_known(self) -> Bounds | None:
        """Return the bounds of ``weight`` if they exclude every known point; else None."""
        return None

    def layer_paths(self) -> DataflowSpace | None:
        """Return its space of paths, whose genes come last; None if it has none."""
        return None
