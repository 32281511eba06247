"""Genomes for checking, before a search, that a space can be merged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kingyo.types import Axis, Genome


def probes(axes: Sequence[Axis]) -> Iterator[Genome]:
    """Yield the first point, then one point per other choice of each categorical axis."""
    first = tuple(axis.first for axis in axes)
    yield first
    for i, axis in enumerate(axes):
        for choice in range(len(axis.choices)):
            if choice != first[i]:
                yield (*first[:i], float(choice), *first[i + 1 :])
