"""The model of gains is the posterior of a Gaussian linear model, and paired gains have honest intervals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.search.strategies.source_changes import DRIFT, MEAN, OWN, WEIGHT, Gain, GainModel, paired_gain

Measured = tuple[int, list[float], Gain]
N_SOURCES, N_FEATURES = 5, 2


def measurements(seed: int, n: int = 12) -> list[Measured]:
    chance = np.random.default_rng(seed)
    return [
        (
            int(chance.integers(N_SOURCES)),
            chance.normal(size=N_FEATURES).tolist(),
            Gain.normal(float(chance.normal(0, 0.1)), float(chance.uniform(0.01, 0.1)), 24),
        )
        for _ in range(n)
    ]


def taught(rows: Sequence[Measured]) -> GainModel:
    model = GainModel(N_SOURCES, N_FEATURES)
    for source, features, gain in rows:
        model.learn(source, features, gain)
    return model


def kernel(one: tuple[int, list[float]], other: tuple[int, list[float]]) -> float:
    """Return the prior covariance of two gains without drift."""
    same = OWN**2 if one[0] == other[0] else 0.0
    return MEAN**2 + WEIGHT**2 * float(np.dot(one[1], other[1])) + same


@pytest.mark.parametrize("n", [0, 1, 12, 60])
@pytest.mark.parametrize("seed", range(3))
def test_predictions_are_those_of_the_gaussian_process(seed: int, n: int) -> None:
    """By covariances of gains instead of precisions of weights: k (K + S)⁻¹ y."""
    rows = measurements(seed, n)
    points = [(source, features) for source, features, _ in rows]
    target = (seed, [0.5, -1.0])
    noise = np.diag([gain.error**2 + DRIFT**2 for _, _, gain in rows]).reshape(n, n)
    covariance = np.array([[kernel(a, b) for b in points] for a in points]).reshape(n, n) + noise
    across = np.array([kernel(target, each) for each in points]).reshape(n)
    mean = float(across @ np.linalg.solve(covariance, np.array([gain.mean for _, _, gain in rows])))
    variance = kernel(target, target) - float(across @ np.linalg.solve(covariance, across)) + DRIFT**2
    predicted = taught(rows).predict(*target)
    assert predicted.mean == pytest.approx(mean, abs=1e-9)
    assert predicted.error == pytest.approx(variance**0.5, abs=1e-9)
    assert predicted.n == 0


def test_one_measurement_in_closed_form() -> None:
    gain = Gain.normal(0.2, 0.04, 30)
    model = GainModel(2, 0)
    model.learn(0, [], gain)
    noise = gain.error**2 + DRIFT**2
    assert model.predict(0, []).mean == pytest.approx(0.2 * (MEAN**2 + OWN**2) / (MEAN**2 + OWN**2 + noise))
    assert model.predict(1, []).mean == pytest.approx(0.2 * MEAN**2 / (MEAN**2 + OWN**2 + noise))
    assert model.predict(0, []).error < model.predict(1, []).error


def test_nothing_known_is_the_prior() -> None:
    predicted = GainModel(3, 1).predict(1, [2.0])
    assert predicted.mean == 0
    assert predicted.error == pytest.approx((MEAN**2 + 4 * WEIGHT**2 + OWN**2 + DRIFT**2) ** 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_order_and_names_do_not_matter(seed: int) -> None:
    rows = measurements(seed)
    permuted = {i: (i + 2) % N_SOURCES for i in range(N_SOURCES)}
    renamed = [(permuted[i], features[::-1], gain) for i, features, gain in rows]
    for source in range(N_SOURCES):
        expected = taught(rows).predict(source, [0.3, -0.7])
        for model, i, features in (
            (taught(rows[::-1]), source, [0.3, -0.7]),
            (taught(renamed), permuted[source], [-0.7, 0.3]),
        ):
            again = model.predict(i, features)
            assert again.mean == pytest.approx(expected.mean, abs=1e-12)
            assert again.error == pytest.approx(expected.error, abs=1e-12)


def test_predictions_are_linear_in_gains_and_errors_do_not_depend_on_them() -> None:
    rows = measurements(7)
    scaled = [(i, f, Gain.normal(-2 * gain.mean, gain.error, gain.n)) for i, f, gain in rows]
    one, other = taught(rows).predict(0, [1.0, 0.0]), taught(scaled).predict(0, [1.0, 0.0])
    assert other.mean == pytest.approx(-2 * one.mean)
    assert other.error == pytest.approx(one.error)


def test_more_measurements_never_add_uncertainty() -> None:
    rows = measurements(3, 20)
    errors = [taught(rows[:n]).predict(2, [0.1, 0.2]).error for n in range(len(rows) + 1)]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(errors))
    assert errors[-1] < 0.9 * errors[0]


def test_intervals_cover_gains_drawn_from_the_model() -> None:
    chance, hits, n = np.random.default_rng(0), 0, 1500
    for _ in range(n):
        common, weights = chance.normal(0, MEAN), chance.normal(0, WEIGHT, N_FEATURES)
        own = chance.normal(0, OWN, N_SOURCES)
        model = GainModel(N_SOURCES, N_FEATURES)

        def gain(i: int, features: list[float]) -> float:
            return float(common + np.dot(weights, features) + own[i] + chance.normal(0, DRIFT))  # noqa: B023

        for i in range(N_SOURCES - 1):
            features, error = chance.normal(size=N_FEATURES).tolist(), float(chance.uniform(0.01, 0.1))
            mean = gain(i, features) + float(chance.normal(0, error))
            model.learn(i, features, Gain.normal(mean, error, 24))
        target = int(chance.integers(N_SOURCES))
        features = chance.normal(size=N_FEATURES).tolist()
        bounds = model.predict(target, features).interval
        hits += bounds.low <= gain(target, features) <= bounds.high
    assert hits / n == pytest.approx(0.95, abs=0.02)


# ---- paired gains


def test_a_paired_gain_by_hand() -> None:
    gain = paired_gain([1, 1, 0, 1, 0.5], [0, 1, 0, 0, 1])
    gaps = [1, 0, 0, 1, -0.5]
    variance = sum((gap - 0.3) ** 2 for gap in gaps) / 4 / 5 + 0.25 / 25
    assert gain.mean == pytest.approx(0.3) and gain.n == 5
    assert gain.error == pytest.approx(variance**0.5)
    bounds, t_of_4 = gain.interval, 2.7764451
    assert (bounds.score, bounds.high) == (gain.mean, 1) and bounds.n_groups == 0
    assert bounds.score - bounds.low == pytest.approx(t_of_4 * gain.error)


def test_without_items_nothing_is_known() -> None:
    assert paired_gain([], []) == Gain.normal(0.0, 1.0)


def test_equal_scores_are_not_certain() -> None:
    errors = [paired_gain([1.0] * n, [1.0] * n).error for n in (1, 4, 24, 200)]
    assert errors == sorted(errors, reverse=True) and errors[0] > 0.3 and errors[-1] > 0
    assert paired_gain([0.0] * 24, [0.0] * 24) == paired_gain([1.0] * 24, [1.0] * 24)


scores = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40)


@given(pairs=scores, shift=st.floats(-0.5, 0.5))
def test_swap_order_and_shift(pairs: list[tuple[float, float]], shift: float) -> None:
    one, other = zip(*pairs, strict=True)
    gain = paired_gain(one, other)
    swapped, reversed_ = paired_gain(other, one), paired_gain(one[::-1], other[::-1])
    shifted = paired_gain([each + shift for each in one], [each + shift for each in other])
    assert swapped.mean == -gain.mean and swapped.error == pytest.approx(gain.error)
    for each in (reversed_, shifted):
        assert each.mean == pytest.approx(gain.mean, abs=1e-9)
        assert each.error == pytest.approx(gain.error, abs=1e-9)
    assert 0 < gain.error < 1


@pytest.mark.parametrize("n_groups", [6, 20])
def test_intervals_of_gains_on_a_few_groups_cover_the_truth(n_groups: int) -> None:
    """Two equal models answer four pictures of each prompt, of which some are easier for one of them."""
    chance, draws, hits = np.random.default_rng(0), 500, 0
    labels = [f"prompt {i // 4}" for i in range(4 * n_groups)]
    for _ in range(draws):
        easy = np.repeat(chance.normal(scale=2, size=(2, n_groups)), 4, axis=1)
        one, other = (chance.random(easy.shape) < 1 / (1 + np.exp(-easy))).astype(float).tolist()
        bounds = paired_gain(one, other, labels).interval
        hits += bounds.low <= 0 <= bounds.high
    assert (bounds.n, bounds.n_groups) == (4 * n_groups, n_groups)
    assert hits / draws >= 0.94


@pytest.mark.parametrize("n", [24, 48, 96, 200])
@pytest.mark.parametrize(
    ("wins", "losses", "least"),
    [
        (0.0, 0.0, 1.0),
        (0.02, 0.0, 0.85),  # if none of few wins is drawn, the interval is too short
        (0.1, 0.05, 0.93),
        (0.3, 0.1, 0.94),
        (0.2, 0.2, 0.94),
        (0.9, 0.02, 0.9),
    ],
)
def test_intervals_of_paired_gains_cover_the_truth(n: int, wins: float, losses: float, least: float) -> None:
    """On n items drawn at random, one wins some, the other some, and they agree on the rest."""
    chance, draws = np.random.default_rng(1), 2000
    gaps = chance.choice([1.0, -1.0, 0.0], size=(draws, n), p=[wins, losses, 1 - wins - losses])
    hits = 0
    for row in gaps:
        bounds = paired_gain((row > 0).astype(float).tolist(), (row < 0).astype(float).tolist()).interval
        hits += bounds.low <= wins - losses <= bounds.high
    assert least <= hits / draws
