"""Where a winner came from: its ancestors, where a strategy records parents, and whose genes it carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kingyo.report.history import Point
from kingyo.types import Genome


@dataclass(frozen=True, kw_only=True)
class Inheritance:
    """The genes of a child by where they came from; those that both parents share count for ``shared``."""

    parents: tuple[int, ...]
    from_each: tuple[int, ...]
    shared: int
    new: int


@dataclass(frozen=True, kw_only=True)
class Family:
    """All ancestors of one trial.

    Attributes:
        child: the trial's number.
        members: ancestors and the child itself, by number.
        edges: parent and child, of all members.
        depth: length of the longest line of descent, in steps.
        inheritance: whose genes the child carries.
    """

    child: int
    members: tuple[Point, ...]
    edges: tuple[tuple[int, int], ...]
    depth: int
    inheritance: Inheritance

    @property
    def founders(self) -> list[int]:
        """Ancestors without parents."""
        born = {child for _, child in self.edges}
        return [point.number for point in self.members if point.number not in born]


def trace(child: int, points: Mapping[int, Point]) -> Family | None:
    """Follow a trial's parents back to trials that have none; None when it has none itself."""
    if child not in points or not points[child].trial.asked.parents:
        return None
    depths: dict[int, int] = {child: 0}
    edges: list[tuple[int, int]] = []
    for number in range(child, -1, -1):  # parents are earlier trials: each is reached after all its children
        for parent in _parents(points, number) if number in depths else ():
            edges.append((parent, number))
            depths[parent] = max(depths.get(parent, 0), depths[number] + 1)
    return Family(
        child=child,
        members=tuple(points[number] for number in sorted(depths)),
        edges=tuple(dict.fromkeys(edges)),
        depth=max(depths.values()),
        inheritance=_inherit(child, points),
    )


def _parents(points: Mapping[int, Point], number: int) -> list[int]:
    return [parent for parent in points[number].trial.asked.parents if parent in points and parent < number]


def _inherit(child: int, points: Mapping[int, Point]) -> Inheritance:
    parents = _parents(points, child)
    genome = points[child].trial.asked.genome
    carriers = [_carriers(place, gene, parents, points) for place, gene in enumerate(genome)]
    return Inheritance(
        parents=tuple(parents),
        from_each=tuple(sum(found == [parent] for found in carriers) for parent in parents),
        shared=sum(len(found) > 1 for found in carriers),
        new=sum(not found for found in carriers),
    )


def _carriers(place: int, gene: float, parents: list[int], points: Mapping[int, Point]) -> list[int]:
    def genome(number: int) -> Genome:
        return points[number].trial.asked.genome

    return [parent for parent in parents if genome(parent)[place] == gene]
