"""Logistic regression of choices on the difference of two pictures' features, with an L2 penalty.

P(left is preferred) = 1 / (1 + exp(−w · (left − right))): Bradley and Terry's model with strengths that are
linear in the features. Choices "as good" count half for each side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import numpy as np

from kingyo.irt import sigmoid
from kingyo.stats import Array
from kingyo.stats.bradley_terry import Places

PENALTIES = tuple(10.0 ** (each / 2) for each in range(-5, 6))
"""Penalties to choose from, per feature."""
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class ChoiceData:
    """Choices as numbers.

    Attributes:
        differences: features of the left picture minus those of the right one: [choices, features].
        scores: 1 for the left picture, 0 for the right one, 0.5 for "as good".
        groups: group of each choice; choices of one group are never on both sides of a split.
    """

    differences: Array
    scores: Array
    groups: Sequence[str]

    def select(self, kept: Places) -> ChoiceData:
        """Return the choices at the given places."""
        groups = [self.groups[int(place)] for place in kept]
        return ChoiceData(differences=self.differences[kept], scores=self.scores[kept], groups=groups)


def fit_weights(data: ChoiceData) -> tuple[Array, float]:
    """Return the weights, [features], and the penalty that cross-validation chose."""
    narrow, basis = _narrowed(data)
    penalty = choose_penalty(narrow)
    return basis @ _minimise(narrow, penalty), penalty


def held_out_logits(data: ChoiceData) -> Array:
    """Return the logit of each choice by weights and a penalty that were chosen without its group."""
    narrow, _ = _narrowed(data)
    logits = np.zeros(len(data.scores))
    for train, held_out in folds(data.groups, FOLDS):
        own = narrow.select(train)
        weights = _minimise(own, choose_penalty(own))
        logits[held_out] = narrow.differences[held_out] @ weights
    return logits


def choose_penalty(data: ChoiceData) -> float:
    """Return the penalty with the smallest loss in cross-validation; ties go to the larger one."""
    width = data.differences.shape[1]
    splits = list(folds(data.groups, FOLDS - 1))

    def loss(penalty: float) -> float:
        total = 0.0
        for train, held_out in splits:
            weights = _minimise(data.select(train), penalty)
            total += _loss(data.differences[held_out] @ weights, data.scores[held_out])
        return total

    return min((width * each for each in reversed(PENALTIES)), key=loss)


def folds(groups: Sequence[str], n: int) -> Iterator[tuple[Places, Places]]:
    """Yield places to train on and places to test on; groups stay together, in an order by their hash."""
    order = sorted(set(groups), key=lambda each: sha256(each.encode()).hexdigest())
    fold_of = {group: place % n for place, group in enumerate(order)}
    own = np.array([fold_of[group] for group in groups])
    for fold in range(n):
        train, held_out = np.flatnonzero(own != fold), np.flatnonzero(own == fold)
        if len(train) and len(held_out):
            yield train, held_out


def _narrowed(data: ChoiceData) -> tuple[ChoiceData, Array]:
    """Return the data in an orthonormal basis of its rows, and the basis: [features, rank].

    The penalised solution lies in the span of the rows, so it does not change. With more features than
    choices the problem becomes much smaller.
    """
    left, sizes, right = np.linalg.svd(data.differences, full_matrices=False)
    rank = max(1, int((sizes > 1e-10 * sizes.max(initial=1.0)).sum()))
    narrow = left[:, :rank] * sizes[:rank]
    return ChoiceData(differences=narrow, scores=data.scores, groups=data.groups), right[:rank].T


def _minimise(data: ChoiceData, penalty: float) -> Array:
    """Return the weights with the smallest penalised loss: [features]."""
    import scipy.optimize  # pyright: ignore[reportMissingTypeStubs]

    rows, scores = data.differences, data.scores

    def objective(weights: Array) -> tuple[float, Array]:
        logits = rows @ weights
        slope = rows.T @ (sigmoid(logits) - scores)
        value = _loss(logits, scores) + penalty / 2 * float(weights @ weights)
        return value, slope + penalty * weights

    start = np.zeros(rows.shape[1])
    done = cast("Any", scipy.optimize).minimize(objective, start, jac=True, method="L-BFGS-B")
    return cast("Array", done.x)


def _loss(logits: Array, scores: Array) -> float:
    return float((np.logaddexp(0, logits) - scores * logits).sum())
