"""What a space of candidates is, for searches and for spaces that are made of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kingyo.recipe import Recipe
from kingyo.types import Axis, Genome


class Space(Protocol):
    """All candidates of a search, as points."""

    @property
    def axes(self) -> Sequence[Axis]:
        """Its coordinates."""
        ...

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome."""
        ...
