"""Problems with known answers, and the loop that lets a strategy work on one."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from kingyo.core.types import Axis, Genome, InformedStrategy, Outcome, Strategy, Trial
from kingyo.search.strategies import build
from kingyo.testing.strategies import failed, scored

Score = Callable[[Genome], float | None]
Objectives = Callable[[Genome], tuple[float, ...]]


def floats(n: int, low: float = 0.0, high: float = 1.0) -> tuple[Axis, ...]:
    return tuple(Axis(name=f"x{i}", low=low, high=high) for i in range(n))


EVERY_KIND = (
    Axis(name="weight", low=0, high=1),
    Axis(name="layers", low=0, high=30, kind="int"),
    Axis(name="used", low=0, high=1, kind="binary"),
    Axis(name="method", low=0, high=4, kind="categorical", choices=tuple("abcde")),
)


def score_of_every_kind(genome: Genome) -> float:
    """4 at weight 0.3, layer 17, used, method c."""
    weight, layers, used, method = genome
    return 4 - (weight - 0.3) ** 2 - abs(layers - 17) / 30 - (1 - used) - (method != 2)


def sphere(genome: Genome) -> float:
    """0 at 0.7 on every axis, otherwise negative."""
    return -sum((gene - 0.7) ** 2 for gene in genome)


def ellipsoid(rotation: NDArray[np.float64]) -> Callable[[Genome], float]:
    """A long thin bowl along axes that are rotated; 0 at 0.6 on every axis."""
    n = len(rotation)
    stretch = 1e4 ** (np.arange(n) / (n - 1))
    return lambda genome: -float((stretch * (rotation @ (np.array(genome) - 0.6)) ** 2).sum())


def knapsack(n: int, seed: int) -> tuple[tuple[Axis, ...], Callable[[Genome], float], float]:
    """Take things of most value within a capacity: axes, score (too heavy: minus the excess) and optimum."""
    weights, values = np.random.default_rng(seed).integers(5, 41, (2, n))
    capacity = weights.sum() // 2

    def score(genome: Genome) -> float:
        weight, value = weights @ np.array(genome), values @ np.array(genome)
        return float(value if weight <= capacity else capacity - weight)

    axes = tuple(Axis(name=f"take/{i}", low=0, high=1, kind="binary") for i in range(n))
    return axes, score, max(map(score, itertools.product((0.0, 1.0), repeat=n)))


def work(strategy: Strategy, score: Score, budget: int) -> list[tuple[Trial, float | None]]:
    """Spend a budget of trials; a score of None is a failure."""
    log: list[tuple[Trial, float | None]] = []
    while len(log) < budget:
        trials = strategy.ask(min(strategy.batch, budget - len(log)))
        if not trials:
            break
        scores = [score(trial.genome) for trial in trials]
        log += zip(trials, scores, strict=True)
        strategy.tell(
            [
                failed(trial) if s is None else scored(trial, s)
                for trial, s in zip(trials, scores, strict=True)
            ]
        )
    return log


def best(
    name: str, axes: Sequence[Axis], score: Score, budget: int, seed: int, options: Mapping[str, object] = {}
) -> float:
    """The best score that a strategy finds within a budget."""
    log = work(build(name, axes, seed, options), score, budget)
    return max(s for _, s in log if s is not None)


def informed(
    name: str, axes: Sequence[Axis], seed: int, points: Sequence[Outcome], **options: object
) -> Strategy:
    """Build a strategy that knows points from before."""
    strategy = build(name, axes, seed, options)
    assert isinstance(strategy, InformedStrategy)
    strategy.warm_start(points)
    return strategy


def judged(trial: Trial, objectives: Sequence[float], *, partial: bool = False) -> Outcome:
    """The outcome of a trial on several tasks."""
    mean = fmean(objectives)
    return replace(scored(trial, mean), value=mean, objectives=tuple(objectives), is_partial=partial)


def work_on_several(strategy: Strategy, objectives: Objectives, budget: int) -> list[tuple[float, ...]]:
    """Spend a budget of trials; return the objectives of each."""
    points: list[tuple[float, ...]] = []
    while len(points) < budget:
        trials = strategy.ask(min(strategy.batch, budget - len(points)))
        outcomes = [judged(trial, objectives(trial.genome)) for trial in trials]
        strategy.tell(outcomes)
        points += [outcome.objectives for outcome in outcomes]
    return points


def hypervolume(points: Sequence[tuple[float, ...]], worst: float) -> float:
    """The area between the point (worst, worst) and the front of points of two objectives."""
    area, height = 0.0, worst
    for x, y in sorted(points, reverse=True):
        if x > worst and y > height:
            area += (x - worst) * (y - height)
            height = y
    return area


LAYERED = tuple(
    Axis(
        name=f"weight/{source}/block.{block}",
        low=0,
        high=1,
        place=(block + 0.5) / 5,
        family=f"weight/{source}",
    )
    for source in ("a", "b")
    for block in range(5)
)
"""A weight of two sources in each of five blocks."""
