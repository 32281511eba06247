"""Paths through layers: that of the bred model, and how many paths of the search pass each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kingyo.evolution.trial_recipes import read_recipe
from kingyo.report.search_history import Point, SearchHistory
from kingyo.results.layer_paths import NamedPath, PathStep, read_run_layers, with_passed_layers
from kingyo.store import RunStore

GROUPS = 30
"""Columns of the picture of a search, at most: beyond them batches are put together."""
MIN_TRIALS = 8
"""Trials of a group where batches are smaller: the share of fewer says little."""
Place = tuple[str, int]
"""Name of a source, number of a layer."""


@dataclass(frozen=True, kw_only=True)
class TrialGroup:
    """Trials that follow one another.

    Attributes:
        label: their generation, or the number of the first trial.
        title: the same in words.
        n: how many they are.
        passing: layer -> how many of their paths pass it.
    """

    label: str
    title: str
    n: int
    passing: Mapping[Place, int]


@dataclass(frozen=True, kw_only=True)
class Routes:
    """The paths of a run.

    Attributes:
        path: path of the child; None where there is none, or its recipe has no path.
        layers: name of a source -> how many layers it has.
        groups: the paths of the main search.
        by_generation: whether each group is one.
    """

    path: NamedPath | None
    layers: Mapping[str, int]
    groups: tuple[TrialGroup, ...]
    by_generation: bool


def read_routes(store: RunStore, main: SearchHistory | None, path: NamedPath | None) -> Routes | None:
    """Read the paths of a run's main search; None where no recipe has one.

    Args:
        store: the run.
        main: its main search.
        path: path of the bred model, if it has one.
    """
    atlas = read_run_layers(store)
    pairs = [(point, atlas.read(read_recipe(point.trial))) for point in (main.points if main else ())]
    paths = [(point, each.steps) for point, each in pairs if each is not None]
    steps = [step for _, own in paths for step in own] + [*(path.steps if path else ())]
    if not steps:
        return None
    slices, by_generation = _slices([point for point, _ in paths])
    return Routes(
        path=path,
        layers=with_passed_layers(atlas.layers, steps),
        groups=tuple(_group(paths[first:end], by_generation) for first, end in slices),
        by_generation=by_generation,
    )


def _slices(points: Sequence[Point]) -> tuple[list[tuple[int, int]], bool]:
    """Return where groups begin and end: generations where they are large enough, else equal parts."""
    starts = [i for i, p in enumerate(points) if i == 0 or p.trial.batch != points[i - 1].trial.batch]
    ends = [*starts[1:], len(points)]
    if 1 < len(starts) <= GROUPS and len(points) / len(starts) >= MIN_TRIALS:
        return list(zip(starts, ends, strict=True)), True
    n = max(1, min(GROUPS, len(points) // MIN_TRIALS))
    borders = [round(i * len(points) / n) for i in range(n + 1)]
    return [(first, end) for first, end in pairwise(borders) if end > first], False


def _group(paths: Sequence[tuple[Point, tuple[PathStep, ...]]], is_generation: bool) -> TrialGroup:
    first, last = paths[0][0], paths[-1][0]
    passing: dict[Place, int] = {}
    for _, steps in paths:
        for place in {(step.source, step.layer) for step in steps}:
            passing[place] = passing.get(place, 0) + 1
    trials = f"trials {first.number} to {last.number}" if len(paths) > 1 else f"trial {first.number}"
    generation = first.trial.batch + 1
    return TrialGroup(
        label=str(generation if is_generation else first.number),
        title=f"generation {generation}, {trials}" if is_generation else trials,
        n=len(paths),
        passing=passing,
    )
