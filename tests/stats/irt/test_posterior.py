"""The item-response Gaussian process against plain computations on small problems."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kingyo.stats.irt import sigmoid
from kingyo.stats.irt.posterior import ObservedPoints, Posterior, Prior, first_prior, fit_posterior
from kingyo.stats.irt.rasch import ScoredEntries

Matrix = NDArray[np.float64]


def weights(n: int) -> np.ndarray:
    return np.ones(n, dtype=bool)


def matern(a: Matrix, b: Matrix, prior: Prior) -> Matrix:
    """Entry by entry, from the definition."""
    covariance = np.zeros((len(a), len(b)))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            r = math.sqrt(5) * math.sqrt(sum(((x - y) / prior.lengths) ** 2))
            covariance[i, j] = prior.variance * (1 + r + r * r / 3) * math.exp(-r)
    return covariance


def observed(points: Matrix, ability: Matrix, n_items: int, share: float, seed: int) -> ObservedPoints:
    rng = np.random.default_rng(seed)
    difficulty = np.linspace(-2, 2, n_items)
    scores = (rng.random((len(points), n_items)) < sigmoid(ability[:, None] - difficulty)).astype(np.float64)
    return made(points, scores, rng.random(scores.shape) < share)


def made(points: Matrix, scores: Matrix, seen: Matrix, crash: float = 0.0) -> ObservedPoints:
    entries = ScoredEntries.of(scores, seen)
    return ObservedPoints(points=points, scored=entries, failures=np.full(len(points), crash))


def tiny() -> ObservedPoints:
    points = np.array([[0.1, 0.2], [0.5, 0.5], [0.55, 0.45], [0.9, 0.1]])
    observations = observed(points, np.array([-1.0, 1.0, 1.0, 2.0]), 6, 0.8, seed=1)
    return replace(observations, failures=np.array([0.0, 0.0, 0.0, 4.0]))


def gradient_ascent(known: ObservedPoints, prior: Prior) -> Matrix:
    """The f of the highest posterior, whitened by a Cholesky factor, by many small steps."""
    root = np.linalg.cholesky(matern(known.points, known.points, prior) + 1e-6 * prior.variance * np.eye(4))
    white = np.zeros(4)
    for _ in range(20_000):
        f = root @ white
        rest = known.scored.scores - sigmoid(known.logits(f, prior.mean, prior.difficulty))
        slope = known.scored.by_row(rest) - known.failures * sigmoid(prior.mean + f)
        white = white + 0.02 * (root.T @ slope - white)
    return root @ white


def test_the_posterior_is_highest_where_gradient_ascent_ends() -> None:
    observations = tiny()
    posterior = fit_posterior(observations, first_prior(weights(2), 6), learn_shape=False)
    f = gradient_ascent(observations, posterior.prior)
    np.testing.assert_allclose(posterior.ability, posterior.prior.mean + f, atol=1e-3)


def test_difficulties_and_mean_are_where_the_posterior_is_highest() -> None:
    """No small change of the mean, or of one difficulty against another, makes it more likely.

    (By more than 0.005: difficulties are centred after each step, not by a constraint.)
    """
    observations = tiny()
    posterior = fit_posterior(observations, first_prior(weights(2), 6), learn_shape=False)
    for _ in range(20):  # in turn with f, until nothing changes
        posterior = fit_posterior(observations, posterior.prior, learn_shape=False)
    f = posterior.ability - posterior.prior.mean

    def likely(mean: float, difficulty: Matrix) -> float:
        logit, scores = observations.logits(f, mean, difficulty), observations.scored.scores
        terms = np.where(scores > 0.5, -np.logaddexp(0, -logit), -np.logaddexp(0, logit))
        return float(terms.sum() - (difficulty**2).sum() / 8 - mean**2 / 18)

    prior = posterior.prior
    best = likely(prior.mean, prior.difficulty)
    assert prior.difficulty.mean() == pytest.approx(0, abs=1e-9)
    for one in range(6):
        for other in range(one):
            change = np.zeros(6)
            change[one], change[other] = 0.05, -0.05
            assert max(likely(prior.mean, prior.difficulty + sign * change) for sign in (-1, 1)) < best + 5e-3
    assert max(likely(prior.mean + change, prior.difficulty) for change in (-0.05, 0.05)) < best + 5e-3


def test_far_from_all_points_it_predicts_the_mean() -> None:
    posterior = fit_posterior(tiny(), first_prior(weights(2), 6), learn_shape=False)
    np.testing.assert_allclose(posterior.predict(np.array([[50.0, 50.0]])), posterior.prior.mean, atol=1e-9)


def laplace_covariance(known: ObservedPoints, posterior: Posterior, points: Matrix) -> Matrix:
    """K** − K*ᵀ (K + W⁻¹)⁻¹ K*, with the inverses written out."""
    chance, crash = (
        sigmoid(known.logits(posterior.ability, 0.0, posterior.prior.difficulty)),
        sigmoid(posterior.ability),
    )
    weight = known.scored.by_row(chance * (1 - chance)) + known.failures * crash * (1 - crash)
    inner = matern(known.points, known.points, posterior.prior) + np.diag(1 / weight)
    across = matern(points, known.points, posterior.prior)
    return matern(points, points, posterior.prior) - across @ np.linalg.inv(inner) @ across.T


def test_draws_have_the_mean_and_covariance_of_the_posterior() -> None:
    observations = tiny()
    posterior = fit_posterior(observations, first_prior(weights(2), 6), learn_shape=True)
    points = np.array([[0.1, 0.2], [0.5, 0.52], [0.3, 0.9]])
    draws = posterior.draw(points, 40_000, np.random.default_rng(0))
    covariance = laplace_covariance(observations, posterior, points)
    error = np.sqrt(np.diag(covariance) / len(draws))
    assert (np.abs(draws.mean(axis=0) - posterior.predict(points)) < 5 * error).all()
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.03 * posterior.prior.variance)
    again = posterior.draw(points, 40_000, np.random.default_rng(0))
    np.testing.assert_array_equal(draws, again)


def test_a_crash_makes_a_point_and_its_neighbours_less_able() -> None:
    observations = replace(tiny(), failures=np.zeros(4))
    crashed = replace(observations, failures=np.array([0.0, 4.0, 0.0, 0.0]))
    one, two = (
        fit_posterior(each, first_prior(weights(2), 6), learn_shape=False) for each in (observations, crashed)
    )
    assert (two.ability - one.ability)[1] < -0.2
    assert (two.ability - one.ability)[2] < -0.1


def test_an_axis_that_does_not_matter_gets_a_long_length() -> None:
    rng = np.random.default_rng(2)
    points = rng.random((70, 3))
    observations = observed(points, 3 * np.sin(6 * points[:, 0]), 40, 0.5, seed=3)
    posterior = fit_posterior(observations, first_prior(weights(3), 40), learn_shape=True)
    for _ in range(2):
        posterior = fit_posterior(observations, posterior.prior, learn_shape=True)
    matters, *others = posterior.prior.lengths
    assert min(others) > 2.5 * matters
    grid = np.stack([np.linspace(0, 1, 30), np.full(30, 0.5), np.full(30, 0.5)], axis=1)
    assert np.corrcoef(posterior.predict(grid), np.sin(6 * grid[:, 0]))[0, 1] > 0.97


def test_the_evidence_is_that_of_numerical_integration() -> None:
    """One point and one item: log ∫ p(y | f) N(f; 0, v) df, Laplace's within some hundredths."""
    observations = made(np.array([[0.5]]), np.ones((1, 1)), np.ones((1, 1)))
    posterior = fit_posterior(observations, first_prior(weights(1), 1), learn_shape=False)
    prior = posterior.prior
    f = np.linspace(-30, 30, 200_001)
    weight = np.exp(-(f**2) / (2 * prior.variance)) / math.sqrt(2 * math.pi * prior.variance)
    exact = math.log(float((sigmoid(prior.mean + f - prior.difficulty[0]) * weight).sum() * (f[1] - f[0])))
    assert posterior.evidence == pytest.approx(exact, abs=0.1)  # at the first shape its log-prior is 0


@pytest.mark.parametrize(
    ("points", "scores", "seen", "crash"),
    [
        (np.zeros((1, 1)), np.ones((1, 1)), 1.0, 0.0),
        (np.zeros((5, 2)), np.zeros((5, 300)), 1.0, 4.0),
        (np.full((4, 3), 0.5), np.tile([0.0, 1.0], (4, 50)), 1.0, 0.0),
        (np.eye(3), np.zeros((3, 5)), 0.0, 0.0),
        (np.eye(3), np.zeros((3, 0)), 1.0, 0.0),
        (1e-9 * np.eye(6), np.eye(6), 1.0, 0.0),
        (np.linspace(0, 1, 60)[:, None], np.tile(np.arange(60) % 2.0, (400, 1)).T, 1.0, 0.0),
    ],
    ids=lambda each: str(getattr(each, "shape", each)),
)
def test_degenerate_input_gives_finite_numbers(
    points: Matrix, scores: Matrix, seen: float, crash: float
) -> None:
    observations = made(points, scores, np.full(scores.shape, seen), crash)
    posterior = fit_posterior(
        observations, first_prior(weights(points.shape[1]), scores.shape[1]), learn_shape=True
    )
    draws = posterior.draw(points, 3, np.random.default_rng(0))
    for each in (
        posterior.ability,
        posterior.prior.difficulty,
        posterior.predict(points),
        draws,
        posterior.evidence,
    ):
        assert np.isfinite(each).all()
    np.testing.assert_allclose(posterior.predict(points), posterior.ability, atol=0.05)
