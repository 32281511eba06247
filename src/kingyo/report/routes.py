"""Paths through layers, of the bred model and of all that a search tried: which layers survive.

It counts; it draws nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kingyo.evolution.recipes import read_recipe
from kingyo.report.history import History, Point
from kingyo.results.paths import NamedPath, Step, read_atlas, widened
from kingyo.store import RunStore

GROUPS = 30
"""At most so many columns of the picture of a search: beyond them batches are put together."""
SMALLEST = 8
"""Trials of a group where batches are smaller: of fewer a share says little."""
Place = tuple[str, int]
"""Name of a source, number of a layer."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Trials that follow one another.

    Attributes:
        label: what they are called below a chart: the generation, or the first trial.
        said: the same in words.
        n: how many they are.
        passing: layer -> how many of their paths pass it.
        passes: layer -> how often they pass it in all.
        scales: layer -> geometric mean of its scales, over these passes.
    """

    label: str
    said: str
    n: int
    passing: dict[Place, int]
    passes: dict[Place, int]
    scales: dict[Place, float]


@dataclass(frozen=True, kw_only=True)
class Routes:
    """The paths of a run.

    Attributes:
        path: of the child; None where there is none, or its recipe has no path.
        layers: name of a source -> how many layers it has.
        groups: the paths of the main search.
        by_generation: whether each group is one.
        reach: the largest |log2 scale| of all these paths; 0 where there are no scales.
    """

    path: NamedPath | None
    layers: dict[str, int]
    groups: tuple[Group, ...]
    by_generation: bool
    reach: float

    @property
    def own_scales(self) -> dict[Place, float]:
        """The mean scale of each layer that the child passes."""
        return {} if self.path is None else mean_scales(self.path.steps)


def read_routes(store: RunStore, main: History | None, path: NamedPath | None) -> Routes | None:
    """Read the paths of a run's main search; None where no recipe has one.

    Args:
        store: the run.
        main: its main search.
        path: of the bred model, if it has one.
    """
    atlas = read_atlas(store)
    tried: list[tuple[Point, tuple[Step, ...]]] = []
    for point in () if main is None else main.points:
        found = atlas.read(read_recipe(point.trial))
        if found is not None:
            tried.append((point, found.steps))
    every = [step for _, steps in tried for step in steps] + [*(path.steps if path else ())]
    if not every:
        return None
    slices, by_generation = _slices([point for point, _ in tried])
    return Routes(
        path=path,
        layers=widened(atlas.layers, every),
        groups=tuple(_group(tried[first:end], by_generation) for first, end in slices),
        by_generation=by_generation,
        reach=max(abs(math.log2(step.scale)) for step in every),
    )


def _slices(points: Sequence[Point]) -> tuple[list[tuple[int, int]], bool]:
    """Where groups begin and end: whole generations where they are large enough, else as many trials each."""
    starts = [i for i, p in enumerate(points) if i == 0 or p.trial.batch != points[i - 1].trial.batch]
    ends = [*starts[1:], len(points)]
    if 1 < len(starts) <= GROUPS and len(points) / len(starts) >= SMALLEST:
        return list(zip(starts, ends, strict=True)), True
    n = max(1, min(GROUPS, len(points) // SMALLEST))
    borders = [round(i * len(points) / n) for i in range(n + 1)]
    return [(first, end) for first, end in pairwise(borders) if end > first], False


def _group(tried: Sequence[tuple[Point, tuple[Step, ...]]], is_generation: bool) -> Group:
    first, last = tried[0][0], tried[-1][0]
    passing: dict[Place, int] = {}
    every = [step for _, steps in tried for step in steps]
    for _, steps in tried:
        for place in {(step.source, step.layer) for step in steps}:
            passing[place] = passing.get(place, 0) + 1
    said = f"trials {first.number} to {last.number}" if len(tried) > 1 else f"trial {first.number}"
    generation = first.trial.batch + 1
    return Group(
        label=str(generation if is_generation else first.number),
        said=f"generation {generation}, {said}" if is_generation else said,
        n=len(tried),
        passing=passing,
        passes=dict(Counter((step.source, step.layer) for step in every)),
        scales=mean_scales(every),
    )


def mean_scales(steps: Sequence[Step]) -> dict[Place, float]:
    """Return the geometric mean of the scales of each layer that is passed, over its passes."""
    found: dict[Place, list[float]] = {}
    for step in steps:
        found.setdefault((step.source, step.layer), []).append(math.log2(step.scale))
    return {place: 2 ** (sum(logs) / len(logs)) for place, logs in found.items()}
