"""The Rasch model: one ability per trial, one difficulty per item, estimated together and shrunk.

    E[score of trial k on item j] = p = σ(θ_k − d_j),   θ_k ~ N(μ_k, τ²),   d_j ~ N(0, δ²)
    Var[score] = φ · p (1 − p)

Rasch 1960; maximum a posteriori by Newton steps on θ and d in turn; μ, τ and δ by expectation maximisation:
a trial with few scores shrinks towards other trials. μ_k is the mean of the trials shortly before and after
trial k: a search improves, so the mean of all trials would underrate late ones.

The dispersion φ is 1 for scores of 0 and 1. Graded scores vary less and carry more information: then φ is
smaller, and trials shrink less (quasi-likelihood, Wedderburn 1974; φ by Pearson's residuals, McCullagh &
Nelder 1989, section 4.5).

The estimated mean over all items combines observed scores with expected scores for the gaps, as the p-IRT
estimator of tinyBenchmarks does (Maia Polo et al. 2024, arXiv:2402.14992).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

DIFFICULTY_SPREAD = 2.0  # δ at first, in logits
WIDEST, NARROWEST = 4.0, 0.1  # bounds of τ and δ, in logits
MIN_DISPERSION = 1e-3  # lower bound of φ; the upper bound is 1
MAX_STEP = 2.0  # of a Newton step, in logits
NEIGHBOURS = 16  # trials on each side that μ averages
STEPS = 60
PRECISION = 1e-4  # of abilities, in logits: far below their errors


@dataclass(frozen=True, kw_only=True)
class ScoredEntries:
    """The scores of a matrix of this shape with gaps, row by row, so that gaps cost nothing."""

    shape: tuple[int, int]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    scores: Vector

    @staticmethod
    def of(matrix: Matrix, seen: Matrix | NDArray[np.bool_]) -> ScoredEntries:
        rows, columns = np.nonzero(seen)
        shape = (matrix.shape[0], matrix.shape[1])
        return ScoredEntries(shape=shape, rows=rows, columns=columns, scores=matrix[rows, columns])

    def by_row(self, values: Vector) -> Vector:
        return np.asarray(np.bincount(self.rows, values, self.shape[0]), dtype=np.float64)

    def by_column(self, values: Vector) -> Vector:
        return np.asarray(np.bincount(self.columns, values, self.shape[1]), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """A fitted model; all values but φ are in logits."""

    ability: Vector  # θ of each trial
    error: Vector  # its standard error, given the difficulties
    difficulty: Vector  # d of each item; 0 is the mean of the items
    difficulty_spread: float  # δ
    mean: Vector  # μ of each trial
    spread: float  # τ
    dispersion: float  # φ


def sigmoid(x: Matrix) -> Matrix:
    """Return the logistic function, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def fit(responses: Matrix) -> Abilities:
    """Estimate abilities and difficulties from scores in [0, 1], trials × items, NaN for gaps.

    Trials are in order of arrival. Without trials all items are equally hard.
    """
    scored = ScoredEntries.of(responses, ~np.isnan(responses))
    n_trials, n_items = scored.shape
    abilities = Abilities(
        ability=np.zeros(n_trials),
        error=np.ones(n_trials),
        difficulty=np.zeros(n_items),
        difficulty_spread=DIFFICULTY_SPREAD,
        mean=np.zeros(n_trials),
        spread=1.0,
        dispersion=1.0,
    )
    for _ in range(STEPS if len(abilities.ability) else 0):
        before = abilities.ability
        abilities = _step(scored, abilities)
        if np.abs(abilities.ability - before).max(initial=0.0) < PRECISION:
            break
    return abilities


def expected_means(abilities: Abilities, responses: Matrix) -> Vector:
    """Estimate the mean over all items of each trial, from the scores that the abilities were fitted to."""
    chance = sigmoid(abilities.ability[:, None] - abilities.difficulty[None, :])
    return np.asarray(np.where(np.isnan(responses), chance, responses).mean(axis=1), dtype=np.float64)


def _step(scored: ScoredEntries, now: Abilities) -> Abilities:
    def bounded(step: Vector) -> Vector:
        return np.clip(step, -MAX_STEP, MAX_STEP)

    rest, weight = _residuals(scored, now.ability, now.difficulty, now.dispersion)
    precision = scored.by_row(weight) + 1 / now.spread**2
    pull = scored.by_row(rest) - (now.ability - now.mean) / now.spread**2
    ability = now.ability + bounded(pull / precision)
    rest, weight = _residuals(scored, ability, now.difficulty, now.dispersion)
    precision_of_items = scored.by_column(weight) + 1 / now.difficulty_spread**2
    pull = -scored.by_column(rest) - now.difficulty / now.difficulty_spread**2
    difficulty = now.difficulty + bounded(pull / precision_of_items)
    difficulty = difficulty - difficulty.mean()
    mean, met = _around(ability), scored.by_column(weight) > 0
    error, difficulty_error = np.sqrt(1 / precision), np.sqrt(1 / precision_of_items)
    return Abilities(
        ability=ability,
        error=error,
        difficulty=difficulty,
        difficulty_spread=_spread(difficulty[met], difficulty_error[met]),
        mean=mean,
        spread=_spread(ability - mean, error),
        dispersion=_dispersion(scored, ability, difficulty, error**2, difficulty_error**2),
    )


def _spread(values: Vector, errors: Vector) -> float:
    """Return the root mean square of values with errors; 1 if there are none."""
    if not len(values):
        return 1.0
    return float(np.clip(np.sqrt((values**2 + errors**2).mean()), NARROWEST, WIDEST))


def _dispersion(
    scored: ScoredEntries, ability: Vector, difficulty: Vector, of_trials: Vector, of_items: Vector
) -> float:
    # squared residuals, plus the squared errors of p, as a share of p (1 − p)
    rest, weight = _residuals(scored, ability, difficulty, 1.0)
    unknown = weight**2 * (of_trials[scored.rows] + of_items[scored.columns])
    total = weight.sum()
    share = float((rest**2 + unknown).sum() / total) if total > 0 else 1.0
    return float(np.clip(share, MIN_DISPERSION, 1.0))


def _around(values: Vector) -> Vector:
    total = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    first = np.maximum(places - NEIGHBOURS, 0)
    after = np.minimum(places + NEIGHBOURS + 1, len(values))
    return np.asarray((total[after] - total[first]) / (after - first), dtype=np.float64)


def _residuals(
    scored: ScoredEntries, ability: Vector, difficulty: Vector, dispersion: float
) -> tuple[Vector, Vector]:
    """Return the residual of each score and its information p (1 − p), both divided by φ."""
    chance = sigmoid(ability[scored.rows] - difficulty[scored.columns])
    return (scored.scores - chance) / dispersion, chance * (1 - chance) / dispersion


class Responses:
    """The growing matrix of scores by trial and item of one search; gaps are NaN."""

    def __init__(self, items: Sequence[str]) -> None:
        self._columns = {item: column for column, item in enumerate(items)}
        self._rows: dict[int, int] = {}
        self._scores: Matrix = np.full((64, len(items)), np.nan)
        self._fitted: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[Abilities, Matrix]] = {}

    @property
    def n_items(self) -> int:
        return len(self._columns)

    def latest(self, n: int) -> list[int]:
        return list(islice(reversed(self._rows), n))[::-1]

    def fitted(self, keys: Sequence[int], columns: Sequence[int]) -> tuple[Abilities, Matrix]:
        """Fit the Rasch model to these trials and items, once until scores are added; return it with them."""
        key = (tuple(keys), tuple(columns))
        if key not in self._fitted:
            matrix = self.matrix(keys)[:, list(columns)]
            self._fitted[key] = fit(matrix), matrix
        return self._fitted[key]

    def add(self, key: int, scores: Mapping[str, float]) -> None:
        self._fitted.clear()
        row = self._rows.setdefault(key, len(self._rows))
        if row == len(self._scores):
            self._scores = np.concatenate([self._scores, np.full_like(self._scores, np.nan)])
        self._scores[row, [self._columns[item] for item in scores]] = list(scores.values())

    def matrix(self, keys: Sequence[int]) -> Matrix:
        """Return a copy of the rows of these trials; a trial without scores is a row of gaps."""
        matrix = np.full((len(keys), self.n_items), np.nan)
        for place, key in enumerate(keys):
            row = self._rows.get(key)
            if row is not None:
                matrix[place] = self._scores[row]
        return matrix
