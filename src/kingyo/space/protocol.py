"""What a space of candidates is, for searches and for spaces that are made of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from kingyo.recipe import Recipe
from kingyo.types import Axis, Genome

if TYPE_CHECKING:
    from kingyo.space.bounds import Bounds
    from kingyo.space.dataflow import DataflowSpace


class Space(Protocol):
    """All candidates of a search, as points."""

    @property
    def axes(self) -> Sequence[Axis]:
        """Its coordinates."""
        ...

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome."""
        ...


class SourceSpace(Space, Protocol):
    """A space made of a run's sources, and what is known of it before a search.

    A subclass defines ``axes`` and ``decode``, and overrides what else it knows.
    """

    def known_points(self) -> dict[str, Genome]:
        """Return name of a baseline -> genome, for ``uniform`` and each source that is a point of the space.

        Their scores are measured anyway. Only points whose recipe gives exactly these weights count, up to
        rounding.
        """
        return {}

    def bounds_without_known(self) -> Bounds | None:
        """Return the bounds of ``weight`` if no known model lies within them; else None."""
        return None

    def layer_paths(self) -> DataflowSpace | None:
        """Return its paths through layers, whose genes are its last ones; None where there are none."""
        return None
