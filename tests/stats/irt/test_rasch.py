"""The Rasch model against simulated answers: recovery and shrinkage."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from kingyo.stats.irt import expected_means, fit, sigmoid

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Abilities, difficulties (in logits), and what each model would answer to each item."""

    ability: Vector
    difficulty: Vector
    answers: Matrix

    def with_gaps(self, share: float, seed: int) -> Matrix:
        """Return the answers with a random share of them known."""
        mask = np.random.default_rng(seed).random(self.answers.shape) < share
        return np.where(mask, self.answers, np.nan)

    def in_generations(self, size: int, items: int, seed: int) -> Matrix:
        """Return the answers as a screen asks for them: a generation meets the same few items."""
        rng = np.random.default_rng(seed)
        known_answers: Matrix = np.full_like(self.answers, np.nan)
        for start in range(0, len(known_answers), size):
            chosen = rng.choice(len(self.difficulty), items, replace=False)
            known_answers[start : start + size, chosen] = self.answers[start : start + size, chosen]
        return known_answers


def simulated(n_trials: int, n_items: int, seed: int) -> Truth:
    """Draw trials of ability N(0.3, 1) that answer items of difficulty N(0, 1.5²)."""
    rng = np.random.default_rng(seed)
    ability, difficulty = rng.normal(0.3, 1.0, n_trials), rng.normal(0.0, 1.5, n_items)
    return answering(ability, difficulty, rng)


def answering(ability: Vector, difficulty: Vector, rng: np.random.Generator) -> Truth:
    """Draw the answers of trials of these abilities to items of these difficulties."""
    chance = sigmoid(ability[:, None] - difficulty[None, :])
    return Truth(
        ability=ability,
        difficulty=difficulty,
        answers=(rng.random(chance.shape) < chance).astype(np.float64),
    )


def test_abilities_and_difficulties_are_recovered_from_gaps() -> None:
    truth = simulated(150, 120, seed=1)
    fitted = fit(truth.with_gaps(0.4, seed=2))
    assert np.corrcoef(fitted.ability, truth.ability)[0, 1] > 0.88
    assert np.corrcoef(fitted.difficulty, truth.difficulty)[0, 1] > 0.95
    assert fitted.difficulty.mean() == pytest.approx(0, abs=1e-9)
    assert fitted.spread == pytest.approx(1.0, abs=0.2)
    # d is relative to the mean item, so abilities are too.
    assert fitted.mean.mean() == pytest.approx(0.3 - truth.difficulty.mean(), abs=0.2)


def test_it_is_where_the_posterior_is_highest() -> None:
    """The gradient of the log-posterior, taken numerically, is 0 at what was found."""
    responses = simulated(12, 9, seed=3).with_gaps(0.7, seed=4)
    fitted = fit(responses)

    def log_posterior(ability: Matrix) -> float:
        chance = sigmoid(ability[:, None] - fitted.difficulty[None, :])
        each = np.where(np.nan_to_num(responses) > 0.5, np.log(chance), np.log(1 - chance))
        prior = ((ability - fitted.mean) / fitted.spread) ** 2 / 2
        return float(each[~np.isnan(responses)].sum() / fitted.dispersion - prior.sum())

    for trial in range(12):
        step = np.zeros(12)
        step[trial] = 1e-4
        slope = (log_posterior(fitted.ability + step) - log_posterior(fitted.ability - step)) / 2e-4
        assert slope == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    "responses",
    [
        np.ones((5, 7)),
        np.ones((1, 1)),
        np.array([[1.0, 0.0, np.nan, 1.0]]),
        np.full((3, 5), np.nan),
        np.vstack([np.ones((1, 2000)), np.zeros((1, 2000))]),
        np.zeros((0, 4)),
        np.where(np.eye(5) > 0, 1.0, np.nan),
    ],
    ids=lambda each: f"{each.shape}",
)
def test_numbers_are_finite_for_any_scores(responses: Matrix) -> None:
    fitted = fit(responses)
    believed = expected_means(fitted, responses)
    assert all(np.isfinite(each).all() for each in (*vars(fitted).values(), believed))
    assert len(believed) == len(responses)
    assert all(0 <= each <= 1 for each in believed)


def test_a_complete_row_is_used_unchanged() -> None:
    responses = np.random.default_rng(1).random((5, 9))
    assert expected_means(fit(responses), responses) == pytest.approx(responses.mean(axis=1))


@pytest.mark.parametrize(("rise", "size"), [(0.0, 10), (4.0, 30)])
def test_late_trials_of_a_search_that_improves_are_not_underrated(rise: float, size: int) -> None:
    """Drawn towards the mean of all trials, the last third would be 4 to 9 points too low where it rises."""
    n, gaps = 390, list[float]()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        ability = -1.5 + rise * np.arange(n) / n + rng.normal(0, 0.5, n)
        truth = answering(ability, rng.normal(0, 1.5, 120), rng)
        responses = truth.in_generations(size, 16, seed)
        for end in range(n - n // 3 + size, n + 1, size):  # each generation as it is judged: the last so far
            rows = responses[max(0, end - 200) : end]
            believed = expected_means(fit(rows), rows)[-size:]
            gaps += list(believed - truth.answers[end - size : end].mean(axis=1))
    assert abs(np.mean(gaps)) < 0.025


@pytest.mark.parametrize("n_items", [16, 200])
def test_errors_of_abilities_hold_at_about_their_level(n_items: int) -> None:
    """Given the difficulties, so somewhat too small where few trials share an item."""
    errors: list[float] = []
    for seed in range(10):
        truth = simulated(80, n_items, seed)
        fitted = fit(truth.answers)
        off = fitted.ability - truth.ability
        errors += list((off - off.mean()) / fitted.error)
    assert 0.9 < np.std(errors) < 1.2


def graded(kind: str, rng: np.random.Generator, n_items: int) -> Matrix:
    """Return 60 trials' partial credit for all items; better trials come later, but vary."""
    ability = -1 + 1.5 * np.arange(60) / 60 + rng.normal(0, 0.7, 60)
    logit = ability[:, None] - rng.normal(0, 1, n_items)[None, :]
    if kind == "continuous":
        return rng.beta(8 * sigmoid(logit) + 1e-3, 8 - 8 * sigmoid(logit) + 1e-3)
    if kind == "in thirds":
        luck = logit + rng.logistic(0, 1, logit.shape)
        return ((luck > -0.8).astype(np.float64) + (luck > 0.8)) / 2
    solved = rng.random(logit.shape) < sigmoid(logit - 2.5)  # a plateau of half the credit
    return np.where(solved, 1.0, np.where(rng.random(logit.shape) < sigmoid(-logit - 3.5), 0.0, 0.5))


@pytest.mark.parametrize(("kind", "most"), [("continuous", 0.042), ("in thirds", 0.077), ("plateau", 0.037)])
def test_partial_credit_is_estimated_better_than_by_its_mean(kind: str, most: float) -> None:
    """By 16 items per trial; as right answers, continuous scores would be off by 8 to 9 points."""
    n_items, gaps, means = 120, list[float](), list[float]()
    for seed in range(8):
        scores = graded(kind, np.random.default_rng(seed), n_items)
        responses = Truth(ability=np.zeros(60), difficulty=np.zeros(n_items), answers=scores)
        incomplete = responses.in_generations(6, 16, seed)
        gaps += list(expected_means(fit(incomplete), incomplete) - scores.mean(axis=1))
        means += list(np.nanmean(incomplete, axis=1) - scores.mean(axis=1))
    assert np.std(gaps) < most
    assert np.std(gaps) < np.std(means)


def test_right_or_wrong_answers_are_not_less_spread_than_chance() -> None:
    assert fit(simulated(80, 60, seed=2).with_gaps(0.3, seed=2)).dispersion > 0.9
