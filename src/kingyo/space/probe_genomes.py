"""Genomes that show whether a space can be merged at all, before a search begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kingyo.types import Axis, Genome


def probes(axes: Sequence[Axis]) -> Iterator[Genome]:
    """The first point, then the same with every other choice of every categorical axis."""
    first = tuple(axis.first for axis in axes)
    yield first
    for i, axis in enumerate(axes):
        for choice in range(len(axis.choices)):
            if choice != first[i]:
                yield (*first[:i], float(choice), *first[i + 1 :])
