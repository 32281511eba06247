"""The strategies find what they are made to find, and beat random search at equal budget."""

from __future__ import annotations

import statistics

import pytest

from kingyo.strategies import build
from kingyo.types import Axis, Genome
from tests.strategies.problems import Knapsack, best, floats, rotated_ellipsoid, sphere, work

SEEDS = range(5)


def test_the_dynamic_program_agrees_with_trying_everything() -> None:
    knapsack = Knapsack.random(10, seed=3)
    everything = [tuple(float(number >> i & 1) for i in range(10)) for number in range(2**10)]
    assert max(knapsack.score(genome) for genome in everything) == knapsack.optimum


@pytest.mark.parametrize("name", ["ga", "cma-es"])
@pytest.mark.parametrize("seed", SEEDS)
def test_sphere(name: str, seed: int) -> None:
    best_score = best(name, floats(6), sphere, 300, seed)
    assert best_score > {"ga": -0.02, "cma-es": -0.001}[name]
    assert best_score > best("random", floats(6), sphere, 300, seed) / 3


@pytest.mark.parametrize("seed", SEEDS)
def test_rotated_ellipsoid(seed: int) -> None:
    """CMA-ES learns the rotation: it reaches the bottom, where walking along the axes gets stuck."""
    score = rotated_ellipsoid(6)
    cma_es, ga, control = (best(name, floats(6), score, 1500, seed) for name in ("cma-es", "ga", "random"))
    assert cma_es > -1e-6
    assert ga > control / 1.5


def test_scale_of_the_axes_does_not_matter_to_cma_es() -> None:
    small, large = floats(4), floats(4, low=-1000, high=3000)

    def stretched(genome: Genome) -> float:
        return sphere(tuple((gene + 1000) / 4000 for gene in genome))

    assert best("cma-es", large, stretched, 200, 0) == pytest.approx(best("cma-es", small, sphere, 200, 0))


@pytest.mark.parametrize("selection", ["tournament", "roulette", "rank"])
def test_knapsack_beats_random_search(selection: str) -> None:
    knapsack = Knapsack.random(24, seed=1)
    ga = [best("ga", knapsack.axes, knapsack.score, 800, s, {"selection": selection}) for s in SEEDS]
    control = [best("random", knapsack.axes, knapsack.score, 800, s) for s in SEEDS]
    assert min(ga) > max(control)
    assert statistics.mean(ga) > 0.95 * knapsack.optimum


@pytest.mark.parametrize("instance", [0, 1])
@pytest.mark.parametrize("seed", SEEDS)
def test_knapsack_reaches_the_optimum(instance: int, seed: int) -> None:
    """Two thousand of the 65 536 ways to pack."""
    knapsack = Knapsack.random(16, instance)
    assert best("ga", knapsack.axes, knapsack.score, 2000, seed) == knapsack.optimum


def test_ga_on_axes_of_every_kind() -> None:
    axes = (
        Axis(name="weight", low=0, high=1),
        Axis(name="layers", low=0, high=30, kind="int"),
        Axis(name="used", low=0, high=1, kind="binary"),
        Axis(name="method", low=0, high=4, kind="categorical", choices=tuple("abcde")),
    )

    def score(genome: Genome) -> float:
        weight, layers, used, method = genome
        return 4 - (weight - 0.3) ** 2 - abs(layers - 17) / 30 - (1 - used) - (method != 2)

    assert min(best("ga", axes, score, 400, seed) for seed in SEEDS) > 3.99


@pytest.mark.parametrize("name", ["ga", "cma-es"])
def test_failures_rank_below_the_lowest_score(name: str) -> None:
    """Half of the space fails, and where it does not, scores are negative: search must leave the failures."""

    def score(genome: Genome) -> float | None:
        return None if genome[0] > 0.5 else sphere(genome) - 100

    for seed in SEEDS:
        log = work(build(name, floats(3), seed, {}), score, 400)
        late_failures = sum(s is None for _, s in log[-100:])
        assert late_failures < 40, f"{late_failures} of the last 100 trials failed"
        assert max(s for _, s in log if s is not None) > -100.06  # the best that does not fail is -100.04
