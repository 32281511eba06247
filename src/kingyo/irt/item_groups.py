"""Groups items by which models solve them: items in different groups may need different abilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

CLEAR = 0.25  # a model is better on an item if its score is higher by more than this
MIN_SHARE = 0.15  # smallest group, as a share of the common items
MIN_ITEMS = 12  # fewest common items
MAX_GROUPS = 4
SOLVED = 0.5  # a model solves an item if its score is above this
BEST_SHARE = 0.1  # smallest share of items that the best model solves, or does not solve


def group_items(rows: Sequence[Mapping[str, float]]) -> list[list[str]]:
    """Group items by the models that are best at them.

    Starts with the two models that each beat the other on the most items, and adds models as long as each is
    the best on at least 15% of the items. If no two models differ that much, the items that the best model
    solves are the only group.

    Args:
        rows: the item scores of each model; only items that all models have are used.

    Returns:
        For each of 2 to 4 models the items on which it beats the others, or the items that the best model
        solves. Nothing if it solves nearly all or none, or if there are too few common items.
    """
    items = sorted(set(rows[0]).intersection(*rows[1:])) if rows else []
    if len(items) < MIN_ITEMS:
        return []
    scores = np.array([[row[item] for item in items] for row in rows])
    groups = _by_model(scores) or _by_the_best(scores)
    return [[items[column] for column in group] for group in groups]


def _by_model(scores: Matrix) -> list[list[int]]:
    """Return, for each of the most different models (rows), the columns where it beats the others."""
    better = (scores[:, None, :] > scores[None, :, :] + CLEAR).mean(axis=2)
    chosen = list(divmod(int(np.minimum(better, better.T).argmax()), len(scores)))
    groups = _groups(scores[chosen])
    if not _are_large(groups, scores.shape[1]):
        return []
    while len(chosen) < MAX_GROUPS:
        gains = (scores > scores[chosen].max(axis=0) + CLEAR).mean(axis=1)
        more = [*chosen, int(gains.argmax())]
        finer = _groups(scores[more])
        if not _are_large(finer, scores.shape[1]):
            break
        chosen, groups = more, finer
    return groups


def _by_the_best(scores: Matrix) -> list[list[int]]:
    """Return the columns that the best model (row) solves, unless they are nearly all or none."""
    solved = scores[scores.mean(axis=1).argmax()] > SOLVED
    return [np.flatnonzero(solved).tolist()] if BEST_SHARE <= solved.mean() <= 1 - BEST_SHARE else []


def _groups(scores: Matrix) -> list[list[int]]:
    """Return, for each model (row), the columns where it beats all others."""
    ranked = np.sort(scores, axis=0)
    best = np.where(ranked[-1] > ranked[-2] + CLEAR, scores.argmax(axis=0), -1)
    return [np.flatnonzero(best == row).tolist() for row in range(len(scores))]


def _are_large(groups: Sequence[Sequence[int]], n_items: int) -> bool:
    return min(map(len, groups)) >= MIN_SHARE * n_items
