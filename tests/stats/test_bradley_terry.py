"""Strengths from choices: against a plain fit, and the coverage of their intervals."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kingyo.stats.bradley_terry import PRIOR_DEVIATION, PairChoices, fit_strengths


def drawn(seed: int, n: int, n_models: int = 5, n_prompts: int = 12) -> tuple[np.ndarray, PairChoices]:
    dice = np.random.default_rng(seed)
    truth = dice.normal(0, 0.8, n_models)
    truth -= truth.mean()
    pairs = np.array([dice.choice(n_models, 2, replace=False) for _ in range(n)], dtype=np.intp).reshape(n, 2)
    left, right = pairs[:, 0], pairs[:, 1]
    wins = (dice.random(n) < 1 / (1 + np.exp(truth[right] - truth[left]))).astype(float)
    wins[dice.random(n) < 0.1] = 0.5
    prompt = dice.integers(0, n_prompts, n)
    return truth, PairChoices(left=left, right=right, score=wins, prompt=prompt, n_models=n_models)


def plainly_fitted(choices: PairChoices) -> np.ndarray:
    """Gradient ascent on the penalised likelihood, choice by choice."""
    values = np.zeros(choices.n_models)
    for _ in range(6000):
        slope = -values / PRIOR_DEVIATION**2
        for left, right, score in zip(choices.left, choices.right, choices.score, strict=True):
            rest = score - 1 / (1 + np.exp(values[right] - values[left]))
            slope[left] += rest
            slope[right] -= rest
        values = values + slope / (1 + len(choices.score) / 4)
        if np.abs(slope).max() < 1e-9:
            break
    return values


@pytest.mark.parametrize("seed", range(3))
def test_strengths_are_those_of_a_plain_fit(seed: int) -> None:
    _, choices = drawn(seed, 60)
    assert fit_strengths(choices).values == pytest.approx(plainly_fitted(choices), abs=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(0, 40))
def test_sides_do_not_matter_and_strengths_sum_to_0(seed: int, n: int) -> None:
    _, choices = drawn(seed, n)
    swapped = replace(choices, left=choices.right, right=choices.left, score=1 - choices.score)
    fitted = fit_strengths(choices)
    assert fit_strengths(swapped).values == pytest.approx(fitted.values, abs=1e-8)
    assert abs(fitted.values.sum()) < 1e-8
    one = fitted.win_probability(0, 1)
    other = fitted.win_probability(1, 0)
    assert (one.score, one.low, one.high) == pytest.approx((1 - other.score, 1 - other.high, 1 - other.low))
    assert 0 <= one.low <= one.score <= one.high <= 1


def test_a_model_that_won_all_its_pairs_has_a_finite_strength() -> None:
    zeros = np.zeros(500, dtype=np.intp)
    always = PairChoices(left=zeros, right=zeros + 1, score=np.ones(500), prompt=np.arange(500), n_models=2)
    fitted = fit_strengths(always)
    assert 2 < fitted.values[0] < 10
    assert fitted.win_probability(0, 1).low > 0.95


def test_choices_on_one_prompt_widen_the_interval() -> None:
    """Ten people on ten prompts tell less of the models than one person on a hundred prompts."""
    zeros, prompt = np.zeros(100, dtype=np.intp), np.arange(100)
    wins = (prompt % 10 < 7).astype(float)
    spread = PairChoices(left=zeros, right=zeros + 1, score=wins, prompt=prompt, n_models=2)
    alike = replace(spread, prompt=prompt % 10)
    narrow, wide = (fit_strengths(each).strength(0) for each in (spread, alike))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    assert wide.score == pytest.approx(narrow.score)
    assert (narrow.size, wide.size) == ("100", "100 items of 10 prompts")


def test_intervals_hold_their_level() -> None:
    held = [
        interval.low <= truth[model] <= interval.high
        for seed in range(120)
        for truth, choices in [drawn(seed, 100)]
        for fitted in [fit_strengths(choices)]
        for model in range(5)
        for interval in [fitted.strength(model)]
    ]
    assert 0.93 <= np.mean(held) <= 0.995


def test_intervals_hold_their_level_on_few_prompts() -> None:
    """Four pictures per model, of which some are better than others of the same model."""
    dice, held = np.random.default_rng(1), 0
    left, prompt = np.zeros(40, dtype=np.intp), np.arange(40) % 4
    luck = dice.normal(0, 2**0.5, 200_000)
    truth = (1 / (1 + np.exp(-0.6 - luck))).mean()
    for _ in range(300):
        chances = 1 / (1 + np.exp(-0.6 - dice.normal(0, 2**0.5, 4)))
        wins = (dice.random(40) < chances[prompt]).astype(float)
        choices = PairChoices(left=left, right=left + 1, score=wins, prompt=prompt, n_models=2)
        interval = fit_strengths(choices).win_probability(0, 1)
        held += interval.low <= truth <= interval.high
    assert held / 300 >= 0.935
