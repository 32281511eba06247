"""Racing: the sign test by hand, and the stated error rate by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from kingyo.search.evolution.screens import Screen, ScreenSettings, sign_test, survivors
from kingyo.stats.irt import Responses, sigmoid

Matrix = NDArray[np.float64]
ITEMS = [f"i{n}" for n in range(100)]


def test_sign_test_by_hand() -> None:
    assert sign_test(1, 1) == 1.0
    assert sign_test(0, 10) == pytest.approx(1 / 1024, rel=1e-12)
    assert sign_test(5, 10) == pytest.approx(638 / 1024, rel=1e-12)
    assert sign_test(499, 1000) + sign_test(500, 1000) == pytest.approx(1.0, abs=1e-12)


def rows(*right: int, n: int = 12) -> Matrix:
    """Return candidates that solve the first items, as many as given."""
    return np.array([[float(item < each) for item in range(n)] for each in right])


def test_a_candidate_beaten_by_enough_others_is_dropped() -> None:
    responses = rows(12, 12, 0, 11)
    # None of 12 against 12 of 12: p = 1 / 4096, against 11 of 12: 1 / 2048. 11 against 12: p = 1 / 2.
    assert survivors(responses, [0, 1, 2, 3], keep=2, level=1 / 4096) == [0, 1, 3]
    assert survivors(responses, [0, 1, 2, 3], keep=2, level=1 / 4097) == [0, 1, 2, 3]
    assert survivors(responses, [0, 1, 2, 3], keep=3, level=1 / 2048) == [0, 1, 3]
    assert survivors(responses, [0, 1, 2, 3], keep=3, level=1 / 2049) == [0, 1, 2, 3]
    assert survivors(responses, [0, 2], keep=2, level=0.5) == [0, 2], "one cannot beat for two"
    assert survivors(responses, [0, 2], keep=1, level=0.01) == [0]


def test_ties_say_nothing() -> None:
    responses = np.full((3, 50), 0.5)
    assert survivors(responses, [0, 1, 2], keep=1, level=0.99) == [0, 1, 2]


def test_dropped_candidates_are_not_compared() -> None:
    responses = rows(0, 12, 0)
    assert survivors(responses, [0, 2], keep=1, level=0.3) == [0, 2]


def race(
    chance: Matrix, settings: ScreenSettings, rng: np.random.Generator
) -> tuple[dict[int, int], set[int]]:
    """Race one generation of candidates with true chances; return how many items each met, and who stayed."""
    answers = (rng.random(chance.shape) < chance).astype(np.float64)
    n_trials, n_items = chance.shape
    return race_for(lambda trial, item: float(answers[trial, item]), n_trials, n_items, settings, rng)


def race_for(
    score: Callable[[int, int], float],
    n_trials: int,
    n_items: int,
    settings: ScreenSettings,
    rng: np.random.Generator,
) -> tuple[dict[int, int], set[int]]:
    responses = Responses(ITEMS[:n_items])
    rounds = Screen(settings, int(rng.integers(2**30))).rounds(responses, range(n_trials), 0)
    met = dict.fromkeys(range(n_trials), 0)
    while (step := rounds.next(responses, set())) is not None:
        for trial in step.trials:
            met[trial] += len(step.items)
            responses.add(trial, {ITEMS[item]: score(trial, item) for item in step.items})
    return met, {trial for trial, n in met.items() if n == n_items}


def at_most(errors: int, n: int, rate: float) -> bool:
    """Return whether the errors are at most four standard errors above the rate."""
    return errors <= rate * n + 4 * math.sqrt(rate * (1 - rate) * n)


@pytest.mark.parametrize("expected", [1, 2])
@pytest.mark.parametrize("truth", ["equal", "close", "one better", "items differ"])
def test_one_of_the_best_is_dropped_at_the_documented_rate(truth: str, expected: int) -> None:
    """Each of the first ``wanted`` is truly one of the best, by true scores."""
    n_trials, n_items, repeats, alpha = 6, 60, 150, 0.2
    chance = {
        "equal": np.full((n_trials, n_items), 0.5),
        "close": np.linspace(0.55, 0.5, n_trials)[:, None] * np.ones(n_items),
        "one better": np.where(np.arange(n_trials) == 0, 0.6, 0.5)[:, None] * np.ones(n_items),
        "items differ": sigmoid(np.linspace(0.3, 0, n_trials)[:, None] - np.linspace(-3, 3, n_items)),
    }[truth]
    settings = ScreenSettings(rule="racing", block=12, alpha=alpha, keep=expected / n_trials)
    rng = np.random.default_rng(20261126)
    stayed = [race(chance, settings, rng)[1] for _ in range(repeats)]
    for best in range(expected):
        assert at_most(sum(best not in each for each in stayed), repeats, alpha)


def test_clear_losers_are_dropped_early() -> None:
    chance = np.where(np.arange(10) < 5, 0.95, 0.15)[:, None] * np.ones(100)
    rng = np.random.default_rng(8)
    races = [race(chance, ScreenSettings(rule="racing"), rng) for _ in range(8)]
    losers = [met[trial] for met, _ in races for trial in range(5, 10)]
    assert np.mean(losers) < 40
    assert all(stayed == set(range(5)) for _, stayed in races)


def test_better_means_better_on_more_items() -> None:
    """A documented limitation: with scores in between, the higher mean may lose the race."""
    narrow, clear = np.full(60, 0.5), np.where(np.arange(60) % 5 < 4, 0.6, 0.0)
    assert narrow.mean() > clear.mean()
    settings = ScreenSettings(rule="racing", block=12, alpha=0.05, keep=0.5)
    scores = (narrow, clear)
    _, stayed = race_for(
        lambda trial, item: float(scores[trial][item]), 2, 60, settings, np.random.default_rng(10)
    )
    assert stayed == {1}


def test_candidates_that_beat_each_other_in_a_cycle_are_not_all_dropped() -> None:
    third = 40
    rounds = [[0.9] * third + [0.5] * third + [0.1] * third]
    rounds += [rounds[0][third:] + rounds[0][:third], rounds[0][2 * third :] + rounds[0][: 2 * third]]
    assert len(survivors(np.array(rounds), [0, 1, 2], 1, 0.05)) == 1
