"""Options and known points of all searches that sample from a distribution."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import numpy as np
import pytest

from kingyo.errors import KingyoError
from kingyo.strategies import build
from kingyo.strategies.evolution_strategy import weighted_mean
from kingyo.testing.strategies import FLOAT_AXES, MIXED_AXES, StrategyContract, failed, scored
from kingyo.types import Axis, Genome, InformedStrategy, Outcome, Strategy, Trial
from tests.strategies.problems import Score, best, floats, sphere, work

NAMES = ["cma-es", "mixed-cma-es", "sep-cma-es"]


class TestCmaEsThatAdaptsItsLearningRates(StrategyContract):
    axes = FLOAT_AXES

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("cma-es", axes, seed, {"lr_adapt": True, "warm_start": False})


def known(score: Score, *genomes: Genome) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for index, genome in enumerate(genomes):
        value = score(genome)
        assert value is not None
        outcomes.append(scored(Trial(number=-1 - index, genome=genome), value))
    return outcomes


def parents_and_uniform(n: int) -> list[Genome]:
    return [*(tuple(float(i == j) for j in range(n)) for i in range(n)), (1 / n,) * n]


def informed(
    name: str, axes: Sequence[Axis], seed: int, points: list[Outcome], **options: object
) -> Strategy:
    strategy = build(name, axes, seed, options)
    assert isinstance(strategy, InformedStrategy)
    strategy.warm_start(points)
    return strategy


def centre(strategy: Strategy) -> list[float]:
    return list(np.mean([trial.genome for trial in strategy.ask(3000)], axis=0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x0": 2}, "x0"),
        ({"x0": -0.1}, "x0"),
        ({"sigma": 0}, "sigma"),
        ({"sigma": 1.1}, "sigma"),
        ({"sigma": math.nan}, "sigma"),
        ({"population": 3}, "population"),
        ({"population": 0}, "population"),
        ({"warm_start": "perhaps"}, "warm_start"),
        ({"warmstart": True}, "warm_start"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        build(name, FLOAT_AXES, 0, options)


@pytest.mark.parametrize("name", ["cma-es", "sep-cma-es"])
def test_the_strategy_for_other_kinds_of_axes_is_named(name: str) -> None:
    with pytest.raises(KingyoError, match=r"axis layers.*float.*int.*'mixed-cma-es'"):
        build(name, MIXED_AXES, 0, {})


@pytest.mark.parametrize("points", [1, 2, 3, 4, 9])
def test_recombination_stays_among_the_better_half_and_prefers_the_best(points: int) -> None:
    places = np.eye(points)
    weights = weighted_mean(places)
    assert weights.sum() == pytest.approx(1)
    assert all(a >= b for a, b in itertools.pairwise(weights))
    assert np.count_nonzero(weights) == (points + 1) // 2


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_between_the_best_known_points(name: str) -> None:
    points = known(lambda genome: -genome[0], (0.2, 0.6, 0.5), (0.4, 0.6, 0.5), (0.9, 0.0, 0.0), (1, 1, 1))
    weights = np.log(3) - np.log([1, 2])
    expected = float(weights @ [0.2, 0.4] / weights.sum())
    for order in (points, points[::-1]):
        strategy = informed(name, floats(3), 0, order, sigma=0.02)
        assert centre(strategy) == pytest.approx([expected, 0.6, 0.5], abs=0.005)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "points"),
    [
        ({}, []),
        ({}, known(lambda _: 0.5, (0.1, 0.1, 0.1), (0.9, 0.9, 0.9))),
        ({}, known(sphere, (0.1, 0.1, 0.1))),
        ({}, [failed(Trial(number=-1, genome=(0.1, 0.1, 0.1)))]),
        ({"warm_start": False}, known(sphere, (0.1, 0.1, 0.1), (0.9, 0.9, 0.9))),
        ({"x0": 0.5}, known(sphere, (0.1, 0.1, 0.1), (0.9, 0.9, 0.9))),
    ],
    ids=["nothing", "equal scores", "a single point", "a failure", "not wanted", "x0 is given"],
)
def test_uninformative_outcomes_change_no_proposals(
    name: str, options: dict[str, object], points: list[Outcome]
) -> None:
    strategy, plain = informed(name, floats(3), 4, points, **options), build(name, floats(3), 4, options)
    assert work(strategy, sphere, 60) == work(plain, sphere, 60)


@pytest.mark.parametrize("name", NAMES)
def test_known_points_on_or_beyond_the_bounds_are_accepted(name: str) -> None:
    points = known(sphere, (1.5, -0.5, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    for trial in informed(name, floats(3), 0, points).ask(30):
        assert all(0 <= gene <= 1 for gene in trial.genome)


@pytest.mark.parametrize("name", NAMES)
def test_parents_and_uniform_merge_help(name: str) -> None:
    """The best merge is mostly the third of six sources: a warm start is nearer to it after 50 trials."""

    def score(genome: Genome) -> float:
        return -sum(
            (gene - target) ** 2 for gene, target in zip(genome, (0, 0.1, 0.9, 0, 0.2, 0), strict=True)
        )

    points = known(score, *parents_and_uniform(6))
    warm, cold = (
        [
            max(
                s
                for _, s in work(informed(name, floats(6), seed, initial_points), score, 50)
                if s is not None
            )
            for seed in range(8)
        ]
        for initial_points in (points, [])
    )
    assert np.mean(warm) > np.mean(cold) / 2


def test_adapted_learning_rates_find_the_optimum() -> None:
    assert best("cma-es", floats(5), sphere, 3000, 0, {"lr_adapt": True}) > -1e-6


@pytest.mark.parametrize("name", NAMES)
def test_an_ask_costs_the_same_early_and_late(name: str) -> None:
    """Later generations are as fast as earlier ones."""
    strategy = build(name, floats(5), 0, {"population": 10})
    times: list[float] = []
    for _ in range(600):
        begin = time.perf_counter()
        trials = strategy.ask(10)
        times.append(time.perf_counter() - begin)
        strategy.tell([scored(trial, sphere(trial.genome)) for trial in trials])
    assert np.median(times[-100:]) < 4 * np.median(times[10:110])
