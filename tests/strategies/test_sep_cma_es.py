"""Separable CMA-ES: the contract, many axes, and where it differs from the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from cmaes import SepCMA

from kingyo.strategies import build
from kingyo.strategies.sep_cma_es import SepCmaEs
from kingyo.testing.strategies import FLOAT_AXES, StrategyContract
from kingyo.types import Axis, Genome, Strategy
from tests.strategies.problems import best, floats, sphere, work

Settings = SepCmaEs.Settings


class TestSepCmaEs(StrategyContract):
    axes = FLOAT_AXES

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("sep-cma-es", axes, seed, {})


class TestSepCmaEsOnOneAxis(StrategyContract):
    axes = FLOAT_AXES[:1]

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("sep-cma-es", axes, seed, {"x0": 1.0, "sigma": 0.5})


class TestSepCmaEsOnManyAxes(StrategyContract):
    axes = floats(40, low=-0.5, high=1.5)

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("sep-cma-es", axes, seed, {"warm_start": False, "population": 30})


def ellipsoid(n: int) -> Callable[[Genome], float]:
    """A long thin bowl along the axes; 0 at 0.6 on every axis."""
    stretch = 1e4 ** (np.arange(n) / (n - 1))
    return lambda genome: -float((stretch * (np.array(genome) - 0.6) ** 2).sum())


def rosenbrock(genome: Genome) -> float:
    """A bent valley in -2..2; 0 at 0.75 (which is 1) on every axis."""
    x = 4 * np.array(genome) - 2
    return -float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def test_its_distribution_is_the_librarys() -> None:
    """With the same points and costs, the library samples from the same distribution."""
    strategy = SepCmaEs(floats(5), 3, Settings())
    log = [trial for trial, _ in work(strategy, sphere, 80)]
    library = SepCMA(mean=np.full(5, 0.5), sigma=1 / 6, bounds=np.tile([0.0, 1.0], (5, 1)), seed=0)
    for start in range(0, 80, 8):
        points = [np.array(trial.genome) for trial in log[start : start + 8]]
        library.tell([(point, -sphere(tuple(point))) for point in points])
    samples = np.array([trial.genome for trial in strategy.ask(20_000)])
    theirs = np.array([library.ask() for _ in range(20_000)])
    scale = theirs.std(axis=0)
    assert np.allclose(samples.mean(axis=0), theirs.mean(axis=0), atol=0.05 * scale.max())
    assert np.allclose(samples.std(axis=0), scale, rtol=0.05)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("n", "score", "budget", "expected"),
    [
        (5, sphere, 600, -1e-8),
        (5, ellipsoid(5), 600, -1e-3),
        (5, rosenbrock, 600, -5.0),
        (40, sphere, 4000, -1e-7),
        (40, ellipsoid(40), 4000, -0.6),
        (40, rosenbrock, 4000, -45.0),
        (100, sphere, 8000, -1e-6),
    ],
)
def test_it_finds_the_optimum_or_descends_towards_it(
    seed: int, n: int, score: Callable[[Genome], float], budget: int, expected: float
) -> None:
    best_score = best("sep-cma-es", floats(n), score, budget, seed)
    assert best_score > expected
    assert best_score > best("random", floats(n), score, budget, seed) / 3


@pytest.mark.parametrize("seed", range(3))
def test_on_many_axes_it_is_faster_than_cma_es(seed: int) -> None:
    sep, full = (best(name, floats(40), ellipsoid(40), 4000, seed) for name in ("sep-cma-es", "cma-es"))
    assert sep > full / 3


def test_a_large_population_on_two_axes_does_not_break_the_covariance() -> None:
    """The separable learning rate would be above 1, so it is CMA-ES there."""
    log = work(SepCmaEs(floats(2), 0, Settings(population=200)), ellipsoid(2), 8000)
    assert max(s for _, s in log if s is not None) > -1e-6


def test_failures_are_left_behind() -> None:
    def score(genome: Genome) -> float | None:
        return None if genome[0] > 0.5 else sphere(genome) - 100

    log = work(build("sep-cma-es", floats(3), 0, {}), score, 400)
    assert sum(s is None for _, s in log[-100:]) < 40
    assert max(s for _, s in log if s is not None) > -100.06


def test_a_collapsed_distribution_starts_again_and_keeps_going() -> None:
    late = [trial.genome for trial, _ in work(SepCmaEs(floats(2), 0, Settings()), sphere, 3000)[-1500:]]
    assert float(np.std(late)) > 0.02
