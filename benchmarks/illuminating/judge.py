"""What was found, judged by the same archives whoever found it: CycleQD's, one for each task.

The quality of an archive is the score on its task, the axes of its grid are the scores on the others. It
knows no search.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from illuminating.problem import TASKS, Scores
from kingyo.search.strategies.quality_diversity import GridAxis

CELLS = 10
Figures = Mapping[str, float]
Cell = tuple[int, ...]


def members(scores: Sequence[Scores]) -> list[int]:
    """Which candidates hold a cell of any of the archives: their indices."""
    return sorted({index for archive in archives(scores) for index in archive.values()})


def archives(scores: Sequence[Scores]) -> list[dict[Cell, int]]:
    """An archive per task: the index of the best candidate of each cell, the earliest of equals."""
    made: list[dict[Cell, int]] = [{} for _ in TASKS]
    for index, f in enumerate(scores):
        for k, archive in enumerate(made):
            others = cell((*f[:k], *f[k + 1 :]))
            if others not in archive or scores[archive[others]][k] < f[k]:
                archive[others] = index
    return made


def cell(scores: Sequence[float]) -> Cell:
    """The cell of the grid that contains these scores."""
    axis = GridAxis(low=0.0, high=1.0, cells=CELLS)
    return tuple(map(axis.cell, scores))


def picked(fit: Sequence[Scores]) -> dict[str, int]:
    """Whom one would take: the best on fit at each task and in the mean; of equals the best in the mean."""
    means = [statistics.fmean(f) for f in fit]
    best = {
        name: max(range(len(fit)), key=lambda i, k=k: (fit[i][k], means[i], -i))
        for k, name in enumerate(TASKS)
    }
    return {**best, "mean": max(range(len(fit)), key=lambda i: (means[i], -i))}


def spread(scores: Sequence[Scores]) -> Figures:
    """How much ground candidates cover by these scores, and how good they are there."""
    made = archives(scores)
    return {
        "coverage": sum(map(len, made)) / (len(made) * CELLS ** (len(TASKS) - 1)),
        "kinds": len(set(map(cell, scores))),
        "QD-score": sum(scores[index][k] for k, archive in enumerate(made) for index in archive.values()),
    }


def value(name: str, scores: Scores) -> float:
    """What someone who was picked for a task, or for the mean, is worth by these scores."""
    return statistics.fmean(scores) if name == "mean" else scores[list(TASKS).index(name)]
