"""The Rasch model: one ability per trial, one difficulty per item, estimated together and shrunk.

    P(trial k solves item j) = σ(θ_k − d_j),   θ_k ~ N(μ_k, τ²),   d_j ~ N(0, δ²)

Rasch 1960; maximum a posteriori by Newton steps on θ and d in turn, μ and τ by expectation maximisation
(empirical Bayes), so that a trial with few scores is drawn towards what the others did. These are the ones
that came shortly before and after it: a search improves, and drawn towards the mean of all trials its late
ones would be underrated. A score between 0 and 1 counts as that share of a success.

The estimated mean over all items adds what was seen to what is expected of the gaps, as the p-IRT estimator
of tinyBenchmarks (Maia Polo et al. 2024, arXiv:2402.14992).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kingyo.abilities.scored import Scored

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

DIFFICULTY_SPREAD = 2.0  # δ, in logits
WIDEST, NARROWEST = 4.0, 0.1  # what τ may be, in logits
LARGEST_STEP = 2.0  # of a Newton step, in logits
NEIGHBOURS = 16  # trials on each side whose mean, with its own, is the μ of one
STEPS = 60
PRECISION = 1e-4  # of abilities, in logits: far below their errors


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What the responses say, in logits.

    Attributes:
        ability: θ of each trial.
        error: its standard error, given the difficulties.
        difficulty: d of each item; 0 is the mean of the items.
        mean: μ of each trial.
        spread: τ of the abilities.
    """

    ability: Vector
    error: Vector
    difficulty: Vector
    mean: Vector
    spread: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the mean over all items is believed to be, with its standard error; n items were scored."""

    score: float
    error: float
    n: int


def sigmoid(x: Matrix) -> Matrix:
    """The logistic function, for any size of x."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def fit(responses: Matrix) -> Abilities:
    """Estimate abilities and difficulties.

    Args:
        responses: trials × items, scores in [0, 1], NaN where nothing was scored; the trials in the order in
            which they came. Without trials all items are equally hard.
    """
    scored = Scored.of(responses, ~np.isnan(responses))
    difficulty = np.zeros(responses.shape[1])
    ability = np.zeros(responses.shape[0])
    mean, spread = np.zeros_like(ability), 1.0
    error = np.ones_like(ability)
    for _ in range(STEPS if len(ability) else 0):
        before = ability
        rest, weight = _residuals(scored, ability, difficulty)
        precision = scored.by_row(weight) + 1 / spread**2
        ability = ability + _bounded((scored.by_row(rest) - (ability - mean) / spread**2) / precision)
        rest, weight = _residuals(scored, ability, difficulty)
        pull = -scored.by_column(rest) - difficulty / DIFFICULTY_SPREAD**2
        difficulty = difficulty + _bounded(pull / (scored.by_column(weight) + 1 / DIFFICULTY_SPREAD**2))
        difficulty = difficulty - difficulty.mean()
        error = np.sqrt(1 / precision)
        mean = _around(ability)
        spread = float(np.clip(np.sqrt(((ability - mean) ** 2 + error**2).mean()), NARROWEST, WIDEST))
        if np.abs(ability - before).max(initial=0.0) < PRECISION:
            break
    return Abilities(ability=ability, error=error, difficulty=difficulty, mean=mean, spread=spread)


def estimates(found: Abilities, responses: Matrix) -> list[Estimate]:
    """Estimate the mean over all items of each trial that the abilities were fitted to.

    The error holds both what is unknown of the ability and the luck of the items that are not scored yet; it
    is 0 where all are. What is unknown of the difficulties is left out: where one or two generations met a
    few items and nobody the others, errors of about 1.3 to 1.8 times this size are seen.
    """
    seen = ~np.isnan(responses)
    chance = sigmoid(found.ability[:, None] - found.difficulty[None, :])
    filled = np.where(seen, np.where(seen, responses, 0.0), chance)
    luck = np.where(seen, 0.0, chance * (1 - chance))
    n_items = responses.shape[1]
    slope = luck.sum(axis=1)  # d Σ p / dθ over the gaps
    error = np.sqrt(luck.sum(axis=1) + (slope * found.error) ** 2) / n_items
    return [
        Estimate(score=float(score), error=float(spread), n=int(n))
        for score, spread, n in zip(filled.mean(axis=1), error, seen.sum(axis=1), strict=True)
    ]


def _around(values: Vector) -> Vector:
    """Of each value the mean of itself and its neighbours."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    first = np.maximum(places - NEIGHBOURS, 0)
    after = np.minimum(places + NEIGHBOURS + 1, len(values))
    return np.asarray((total[after] - total[first]) / (after - first), dtype=np.float64)


def _residuals(scored: Scored, ability: Vector, difficulty: Vector) -> tuple[Vector, Vector]:
    """Of each score: itself minus its chance, and the information p (1 − p)."""
    chance = sigmoid(ability[scored.rows] - difficulty[scored.columns])
    return scored.scores - chance, chance * (1 - chance)


def _bounded(step: Vector) -> Vector:
    return np.clip(step, -LARGEST_STEP, LARGEST_STEP)
