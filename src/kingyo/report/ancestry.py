"""The ancestors of a trial, where its strategy records parents, and the origin of its genes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kingyo.report.search_history import Point


@dataclass(frozen=True, kw_only=True)
class Family:
    """All ancestors of one trial.

    Attributes:
        child: the trial's number.
        members: the numbers of its ancestors and its own.
        edges: parent and child, of all members.
        depth: length of the longest line of descent, in steps.
        parents: number of each parent -> how many genes come from it alone.
        shared: how many genes are equal in several parents.
        new: how many genes are in none.
    """

    child: int
    members: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    depth: int
    parents: Mapping[int, int]
    shared: int
    new: int

    @property
    def founders(self) -> list[int]:
        """Ancestors without parents."""
        children = {child for _, child in self.edges}
        return [number for number in self.members if number not in children]


def trace(child: int, points: Mapping[int, Point]) -> Family | None:
    """Follow a trial's parents back to trials that have none; None when it has none itself."""
    if child not in points or not points[child].trial.asked.parents:
        return None
    depths: dict[int, int] = {child: 0}
    edges: list[tuple[int, int]] = []
    for number in range(child, -1, -1):  # parents are earlier trials, so each comes after all its children
        for parent in _parents(points, number) if number in depths else ():
            edges.append((parent, number))
            depths[parent] = max(depths.get(parent, 0), depths[number] + 1)
    parents = _parents(points, child)
    carriers = _carriers(child, parents, points)
    return Family(
        child=child,
        members=tuple(sorted(depths)),
        edges=tuple(dict.fromkeys(edges)),
        depth=max(depths.values()),
        parents={parent: sum(each == [parent] for each in carriers) for parent in parents},
        shared=sum(len(each) > 1 for each in carriers),
        new=sum(not each for each in carriers),
    )


def _parents(points: Mapping[int, Point], number: int) -> list[int]:
    return [parent for parent in points[number].trial.asked.parents if parent in points and parent < number]


def _carriers(child: int, parents: list[int], points: Mapping[int, Point]) -> list[list[int]]:
    """Return, for each gene of the child, the parents that have the same."""
    genomes = {number: points[number].trial.asked.genome for number in (child, *parents)}
    return [
        [parent for parent in parents if genomes[parent][place] == gene]
        for place, gene in enumerate(genomes[child])
    ]
