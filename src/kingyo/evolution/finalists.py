"""Select the finalists of a search for validation: the best on fit, without near duplicates."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.types import Axis, Genome

APART = 0.1  # of an axis' range: genomes that are closer on every axis are neighbours


def spread_out(genomes: Sequence[Genome], axes: Sequence[Axis], n: int) -> list[int]:
    """Pick the first of each neighbourhood, in order, and fill up with the best of the rest.

    A search ends near its believed optimum, so its best trials are neighbours, and validation of neighbours
    could not contradict fit.

    Args:
        genomes: best first.
        axes: axes of the space, one per gene.
        n: number of genomes to pick.

    Returns:
        The positions of at most n genomes, in rising order. Two of them differ by a tenth of the range of
        some axis, or in a category, unless fewer than n do so.
    """
    picked: list[int] = []
    for index, genome in enumerate(genomes):
        if len(picked) == n:
            break
        if all(_is_apart(genome, genomes[other], axes) for other in picked):
            picked.append(index)
    taken = set(picked)
    others = [index for index in range(len(genomes)) if index not in taken]
    return sorted([*picked, *others[: n - len(picked)]])


def _is_apart(one: Genome, other: Genome, axes: Sequence[Axis]) -> bool:
    return any(
        one[k] != other[k]
        if axis.kind in ("binary", "categorical")
        else abs(one[k] - other[k]) >= APART * (axis.high - axis.low) > 0
        for k, axis in enumerate(axes)
    )
