"""A Gaussian process of ability over points, observed through individual items.

    θ(x) = μ + f(x),   f ~ GP(0, v · k),   P(item j is solved at x) = σ(θ(x) − d_j),   d_j ~ N(0, δ²)

k is the Matérn kernel with ν = 5/2 and one length scale per column. The posterior of f at the points is
Laplace's approximation (Rasmussen & Williams 2006, algorithms 3.1 and 3.2, with one Bernoulli term per
score). Difficulties and μ are maximum a posteriori, estimated in turn with f; failures do not affect μ.
Lengths and v maximise the approximate marginal likelihood times a log-normal prior, by coordinate steps. The
prior median of a length grows with the square root of the number of columns, as distances in the box do
(Hvarfner, Hellsten, Nardi 2024, arXiv:2402.02229). So a trial with few scores borrows from its neighbours,
and scores on hard items lower its ability less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kingyo.stats.irt.rasch import DIFFICULTY_SPREAD, MAX_STEP, ScoredEntries, sigmoid

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

NEWTON_STEPS = 30
PRECISION = 1e-5  # of f, in logits
JITTER = 1e-6  # on the diagonal, as a share of v
JITTER_OF_DRAWS = 1e-4  # the same for drawn functions, whose points may lie close together
DAMPED = 1e-9  # smallest information of a point
MEAN_SPREAD = 3.0  # of μ, in logits
USUAL_LENGTH = 0.35  # median of a length scale, times the root of the number of columns
WEIGHT_LENGTH = 0.2  # the same for weights: good merges lie in a small part of usual bounds
LENGTH_SPREAD = 0.6  # of the logarithm of a length
USUAL_VARIANCE, VARIANCE_SPREAD = 4.0, 1.0  # of v: median, and spread of its logarithm
STEP = 1.6  # factor of a trial step of a length or v
SWEEPS = 2  # over v and all lengths, per fit


@dataclass(frozen=True, kw_only=True)
class ObservedPoints:
    """Observations of n points in the unit box."""

    points: Matrix  # n × columns
    scored: ScoredEntries  # from 0 to 1
    failures: Vector  # for each point, the number of pseudo-scores of 0 on an item of difficulty 0

    def logits(self, f: Vector, mean: float, difficulty: Vector) -> Vector:
        return mean + f[self.scored.rows] - difficulty[self.scored.columns]


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Parameters of abilities and items: a first guess, or the result of a fit, in logits."""

    lengths: Vector  # in units of the box
    usual: Vector  # the prior median of each
    variance: float  # v
    mean: float  # μ
    difficulty: Vector


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """The posterior of ability at n points, in logits: an item of difficulty 0 is solved with σ(ability)."""

    prior: Prior  # with the difficulties and the mean that belong to these abilities
    points: Matrix  # n × columns
    ability: Vector  # the posterior mode of θ at each point
    alpha: Vector  # the gradient of the log-likelihood there: K⁻¹ f
    root: Vector  # W^½, the square roots of its negative second derivatives
    lower: Matrix  # n × n, the Cholesky factor L of I + W^½ K W^½
    evidence: float  # log of the approximate marginal likelihood times the prior of the lengths and v

    def predict(self, points: Matrix) -> Vector:
        return self.prior.mean + _kernel(points, self.points, self.prior) @ self.alpha

    def variance(self, points: Matrix) -> Vector:
        half = self._explained(_kernel(points, self.points, self.prior))
        return np.maximum(self.prior.variance - (half**2).sum(axis=0), 0.0)

    def draw(self, points: Matrix, n: int, rng: np.random.Generator) -> Matrix:
        """Draw n functions from the posterior at points (m × columns): n × m abilities, jointly."""
        across = _kernel(points, self.points, self.prior)
        half = self._explained(across)
        covariance = _kernel(points, points, self.prior) - half.T @ half
        covariance[np.diag_indices_from(covariance)] += JITTER_OF_DRAWS * self.prior.variance
        shape = np.linalg.cholesky(covariance)
        mean = self.prior.mean + across @ self.alpha
        return mean + rng.standard_normal((n, len(points))) @ shape.T

    def _explained(self, across: Matrix) -> Matrix:
        return np.asarray(np.linalg.solve(self.lower, self.root[:, None] * across.T), dtype=np.float64)


def first_prior(is_weight: NDArray[np.bool_], n_items: int) -> Prior:
    usual = np.where(is_weight, WEIGHT_LENGTH, USUAL_LENGTH) * math.sqrt(len(is_weight))
    return Prior(lengths=usual, usual=usual, variance=USUAL_VARIANCE, mean=0.0, difficulty=np.zeros(n_items))


def fit_posterior(known: ObservedPoints, prior: Prior, *, learn_shape: bool) -> Posterior:
    """Fit the posterior, with difficulties and mean, starting from the last prior or ``first_prior``.

    ``learn_shape``: fit lengths and v, too, which takes several Laplace fits for each.
    """
    covariance = _covariance(known, prior)
    posterior = _laplace(known, prior, covariance)
    for _ in range(2):
        posterior = _laplace(known, _items_and_mean(known, posterior), covariance, posterior)
    if learn_shape:
        posterior = _shaped(known, posterior)
        prior = _items_and_mean(known, posterior)
        posterior = _laplace(known, prior, _covariance(known, prior), posterior)
    return posterior


def _covariance(known: ObservedPoints, prior: Prior) -> Matrix:
    covariance = _kernel(known.points, known.points, prior)
    covariance[np.diag_indices_from(covariance)] += JITTER * prior.variance
    return covariance


def _laplace(
    known: ObservedPoints, prior: Prior, covariance: Matrix, start: Posterior | None = None
) -> Posterior:
    """Run Newton's method on f (algorithm 3.1)."""
    f = np.zeros(len(known.points)) if start is None else start.ability - start.prior.mean
    alpha, root, inner = np.zeros(0), np.zeros(0), np.zeros((0, 0))
    for _ in range(NEWTON_STEPS):
        slope, weight = _slope(known, prior, f)
        root = np.sqrt(weight)
        inner = root[:, None] * covariance * root[None, :]
        inner[np.diag_indices_from(inner)] += 1.0
        b = weight * f + slope
        alpha = b - root * np.linalg.solve(inner, root * (covariance @ b))
        step = covariance @ alpha - f
        f = f + np.clip(step, -2 * MAX_STEP, 2 * MAX_STEP)
        if np.abs(step).max(initial=0.0) < PRECISION:
            break
    lower = np.asarray(np.linalg.cholesky(inner), dtype=np.float64)
    evidence = _log_likelihood(known, prior, f) - 0.5 * float(alpha @ f) - float(np.log(np.diag(lower)).sum())
    lengths = float(((np.log(prior.lengths / prior.usual) / LENGTH_SPREAD) ** 2).sum())
    variance = (math.log(prior.variance / USUAL_VARIANCE) / VARIANCE_SPREAD) ** 2
    return Posterior(
        prior=prior,
        points=known.points,
        ability=prior.mean + f,
        alpha=alpha,
        root=root,
        lower=lower,
        evidence=evidence - 0.5 * (lengths + variance),
    )


def _slope(known: ObservedPoints, prior: Prior, f: Vector) -> tuple[Vector, Vector]:
    """Return the first derivative and the negative second derivative of the log-likelihood by f."""
    chance = sigmoid(known.logits(f, prior.mean, prior.difficulty))
    at_zero = sigmoid(prior.mean + f)
    slope = known.scored.by_row(known.scored.scores - chance) - known.failures * at_zero
    weight = known.scored.by_row(chance * (1 - chance)) + known.failures * at_zero * (1 - at_zero)
    return slope, weight + DAMPED


def _log_likelihood(known: ObservedPoints, prior: Prior, f: Vector) -> float:
    logit, scores = known.logits(f, prior.mean, prior.difficulty), known.scored.scores
    terms = scores * -np.logaddexp(0, -logit) + (1 - scores) * -np.logaddexp(0, logit)
    return float(terms.sum() - (known.failures * np.logaddexp(0, prior.mean + f)).sum())


def _items_and_mean(known: ObservedPoints, posterior: Posterior) -> Prior:
    """Return the prior after some Newton steps on the difficulties and the mean, given the abilities."""
    prior = posterior.prior
    f, mean, difficulty = posterior.ability - prior.mean, prior.mean, prior.difficulty
    for _ in range(8):
        chance = sigmoid(known.logits(f, mean, difficulty))
        rest, weight = known.scored.scores - chance, chance * (1 - chance)
        pull = -known.scored.by_column(rest) - difficulty / DIFFICULTY_SPREAD**2
        step = pull / (known.scored.by_column(weight) + 1 / DIFFICULTY_SPREAD**2)
        difficulty = difficulty + np.clip(step, -MAX_STEP, MAX_STEP)
        difficulty = difficulty - difficulty.sum() / max(1, len(difficulty))
        pull = float(rest.sum()) - mean / MEAN_SPREAD**2
        step = pull / (float(weight.sum()) + 1 / MEAN_SPREAD**2)
        mean += min(max(step, -1.0), 1.0)
    return replace(prior, mean=mean, difficulty=difficulty)


def _shaped(known: ObservedPoints, posterior: Posterior) -> Posterior:
    """Increase the evidence by coordinate steps of v and each length."""
    for _ in range(SWEEPS):
        before = posterior.evidence
        for axis in range(-1, len(posterior.prior.lengths)):
            posterior = _better_along(known, posterior, axis)
        if posterior.evidence - before < 1e-3:
            break
    return posterior


def _better_along(known: ObservedPoints, posterior: Posterior, axis: int) -> Posterior:
    for factor in (STEP, 1 / STEP):
        prior = posterior.prior
        if axis < 0:
            prior = replace(prior, variance=prior.variance * factor**2)
        else:
            lengths = prior.lengths.copy()
            lengths[axis] *= factor
            prior = replace(prior, lengths=lengths)
        trial = _laplace(known, prior, _covariance(known, prior), posterior)
        if trial.evidence > posterior.evidence:
            return trial
    return posterior


def _kernel(a: Matrix, b: Matrix, prior: Prior) -> Matrix:
    """Return the Matérn kernel with ν = 5/2 (Rasmussen & Williams 2006, equation 4.17), times v."""
    x, y = a / prior.lengths, b / prior.lengths
    r = x @ y.T  # modified in place, as memory bandwidth dominates
    r *= -2
    r += (x**2).sum(axis=1)[:, None]
    r += (y**2).sum(axis=1)[None, :]
    np.maximum(r, 0.0, out=r)
    r *= 5
    np.sqrt(r, out=r)
    k = r * r
    k /= 3
    k += r
    k += 1
    np.negative(r, out=r)
    np.exp(r, out=r)
    k *= r
    k *= prior.variance
    return k
