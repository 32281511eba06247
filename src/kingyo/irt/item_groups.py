"""Groups items by which models solve them: items in different groups may need different abilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

CLEAR = 0.25  # a model is better on an item than another if its score is higher by more than this
LEAST_SHARE = 0.15  # of the common items, on which each model that divides them is better than the others
LEAST_ITEMS = 12  # that must be common
MOST_GROUPS = 4
SOLVED = 0.5  # a model solves an item if its score is higher
BEST_SHARE = 0.1  # of the common items that the best model solves, and of those that it does not, at least


def group_items(rows: Sequence[Mapping[str, float]]) -> list[list[str]]:
    """Divide items among models that are good at different ones.

    It begins with the two models of which each is better than the other on most items. Further models are
    added as long as each keeps 15 % of all items for itself. Where no two models differ so, the items that
    the best model solves are one group.

    Args:
        rows: the item scores of each model; only items count that all have.

    Returns:
        For each of 2 to 4 models the items on which it is better than the others, or those that the best
        solves. Nothing where it solves nearly all or none, or where too few items are common.
    """
    items = sorted(set(rows[0]).intersection(*rows[1:])) if rows else []
    if len(items) < LEAST_ITEMS:
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
    while len(chosen) < MOST_GROUPS:
        gains = (scores > scores[chosen].max(axis=0) + CLEAR).mean(axis=1)
        more = [*chosen, int(gains.argmax())]
        finer = _groups(scores[more])
        if not _are_large(finer, scores.shape[1]):
            break
        chosen, groups = more, finer
    return groups


def _by_the_best(scores: Matrix) -> list[list[int]]:
    """The columns that the best model (row) solves, unless they are nearly all or none."""
    solved = scores[scores.mean(axis=1).argmax()] > SOLVED
    return [np.flatnonzero(solved).tolist()] if BEST_SHARE <= solved.mean() <= 1 - BEST_SHARE else []


def _groups(scores: Matrix) -> list[list[int]]:
    """Return, for each model (row), the columns where it beats all others."""
    ranked = np.sort(scores, axis=0)
    best = np.where(ranked[-1] > ranked[-2] + CLEAR, scores.argmax(axis=0), -1)
    return [np.flatnonzero(best == row).tolist() for row in range(len(scores))]


def _are_large(groups: Sequence[Sequence[int]], n_items: int) -> bool:
    return min(map(len, groups)) >= LEAST_SHARE * n_items
