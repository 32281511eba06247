"""What was found, judged by the same archives whoever found it: CycleQD's, one for each task.

The quality of an archive is the score on its task, the axes of its grid are the scores on the others. It
knows no search.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from illuminating.problem import TASKS, Scores
from kingyo.strategies.archive import Archive, Elite, GridAxis, coverage

CELLS = 10
Figures = Mapping[str, float]


def members(scores: Sequence[Scores]) -> list[int]:
    """Which candidates hold a cell of any of the archives: their indices."""
    return sorted({elite.number for archive in archives(scores) for elite in archive.elites})


def archives(scores: Sequence[Scores]) -> list[Archive]:
    """An archive per task, filled."""
    made = [Archive([GridAxis(low=0.0, high=1.0, cells=CELLS)] * (len(TASKS) - 1)) for _ in TASKS]
    for number, f in enumerate(scores):
        for k, archive in enumerate(made):
            archive.offer((*f[:k], *f[k + 1 :]), Elite(number=number, genome=(), objectives=f, quality=f[k]))
    return made


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
    cells = sum(archive.size for archive in made)
    return {
        "coverage": sum(len(archive.elites) for archive in made) / cells,
        "kinds": coverage(scores, CELLS) * CELLS ** len(TASKS),
        "QD-score": sum(archive.qd_score for archive in made),
    }


def value(name: str, scores: Scores) -> float:
    """What someone who was picked for a task, or for the mean, is worth by these scores."""
    return statistics.fmean(scores) if name == "mean" else scores[list(TASKS).index(name)]
