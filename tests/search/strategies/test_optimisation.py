"""The strategies find what they are made to find, and beat random search at equal budget."""

import numpy as np
import pytest

from kingyo.core.types import Genome
from kingyo.search.strategies import build
from tests.search.strategies.problems import (
    best,
    ellipsoid,
    floats,
    knapsack,
    sphere,
    work,
)

SEEDS = range(3)


@pytest.mark.parametrize("name", ["ga", "nsga2", "cma-es", "sep-cma-es", "m2n2"])
def test_sphere(name: str) -> None:
    budget = {"m2n2": 600, "nsga2": 600}.get(name, 300)
    options = {"population": 20} if name == "nsga2" else {}
    control = [best("random", floats(6), sphere, budget, seed) for seed in SEEDS]
    scores = [best(name, floats(6), sphere, budget, seed, options) for seed in SEEDS]
    assert min(scores) > max(control)
    assert min(scores) > {"cma-es": -0.001, "sep-cma-es": -0.001}.get(name, -0.02)


@pytest.mark.parametrize("seed", SEEDS)
def test_rotated_ellipsoid(seed: int) -> None:
    """CMA-ES learns the rotation: it reaches the bottom, where walking along the axes gets stuck."""
    score = ellipsoid(np.linalg.qr(np.random.RandomState(0).normal(size=(6, 6)))[0])
    cma_es, ga, control = (best(name, floats(6), score, 1500, seed) for name in ("cma-es", "ga", "random"))
    assert cma_es > -1e-6
    assert ga > control / 1.5


@pytest.mark.parametrize("name", ["ga", "nsga2"])
def test_knapsack_reaches_the_optimum(name: str) -> None:
    """Two thousand of the 65 536 ways to pack."""
    axes, score, optimum = knapsack(16, 0)
    for seed in SEEDS[:2]:
        assert best(name, axes, score, 2000, seed, {"population": 20}) == optimum


@pytest.mark.parametrize("name", ["ga", "cma-es", "sep-cma-es", "m2n2"])
def test_failures_rank_below_the_lowest_score(name: str) -> None:
    """Half of the space fails, and where it does not, scores are negative: search must leave the failures."""

    def score(genome: Genome) -> float | None:
        return None if genome[0] > 0.5 else sphere(genome) - 100

    log = work(build(name, floats(3), 0, {}), score, 400)
    late_failures = sum(s is None for _, s in log[-100:])
    assert late_failures < 60, f"{late_failures} of the last 100 trials failed"
    assert max(s for _, s in log if s is not None) > -100.06  # the best that does not fail is -100.04
