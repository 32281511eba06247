"""Measure how often 95% intervals of graded scores contain the true mean: kingyo and scipy's BCa bootstrap.

    python benchmarks/interval_coverage.py --runs 2000  (tables of docs/statistics.md; ten minutes)

Scores, or differences of scores on one item, are drawn from distributions with known means.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from kingyo.stats import bounded_mean

Array = NDArray[np.float64]
SIZES = (5, 10, 20, 50, 200)
BOOTSTRAPS = 200
"""Runs of the bootstrap, which is slow; its errors are larger than the noise of so few runs."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A distribution: a function that draws n values, and their true mean."""

    draw: Callable[[np.random.Generator, int], Array]
    mean: float


def _levels(values: Mapping[float, float]) -> Made:
    """Return a distribution of values with given probabilities."""
    levels, chances = list(values), list(values.values())
    mean = float(np.dot(levels, chances))
    return Made(draw=lambda rng, n: rng.choice(levels, n, p=chances), mean=mean)


def _rarely(chance: float, rare: float, low: float, high: float) -> Made:
    """Return a distribution of a rare value, else uniform between low and high."""
    mean = chance * rare + (1 - chance) * (low + high) / 2
    return Made(
        draw=lambda rng, n: np.where(rng.random(n) < chance, rare, rng.uniform(low, high, n)), mean=mean
    )


SCORES: Mapping[str, Made] = {
    "0 with p .05, else .9 to 1": _rarely(0.05, 0.0, 0.9, 1.0),
    "1 with p .95, else .99": _levels({1.0: 0.95, 0.99: 0.05}),
    ".98 with p .03, else .02": _levels({0.98: 0.03, 0.02: 0.97}),
    "0, .5 or 1 with p .1, .2, .7": _levels({0.0: 0.1, 0.5: 0.2, 1.0: 0.7}),
    "beta(.3, .9)": Made(draw=lambda rng, n: rng.beta(0.3, 0.9, n), mean=0.25),
    "uniform from 0 to 1": Made(draw=lambda rng, n: rng.random(n), mean=0.5),
}
DIFFERENCES: Mapping[str, Made] = {
    "-1 with p .02, else 0": _levels({-1.0: 0.02, 0.0: 0.98}),
    "1, -1 or 0 with p .07, .03, .9": _levels({1.0: 0.07, -1.0: 0.03, 0.0: 0.9}),
    "-1 with p .04, else .04 to .06": _rarely(0.04, -1.0, 0.04, 0.06),
    "-.5 to 1 with p .1, else 0": Made(
        draw=lambda rng, n: np.where(rng.random(n) < 0.1, rng.uniform(-0.5, 1, n), 0.0), mean=0.025
    ),
    "beta(8, 2) - beta(7, 3)": Made(draw=lambda rng, n: rng.beta(8, 2, n) - rng.beta(7, 3, n), mean=0.1),
    "normal, .1 with deviation .2": Made(draw=lambda rng, n: rng.normal(0.1, 0.2, n), mean=0.1),
}


def ours(values: Array, bounds: tuple[float, float], seed: int) -> tuple[float, float]:
    """Return kingyo's limits."""
    found = bounded_mean(values.tolist(), bounds, seed=seed)
    return found.low, found.high


def bca(values: Array, _: tuple[float, float], seed: int) -> tuple[float, float]:
    """Return scipy's BCa limits; the common value if all values are equal."""
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = bootstrap((values,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(seed))
    return found.confidence_interval.low, found.confidence_interval.high


Limits = Callable[[Array, tuple[float, float], int], tuple[float, float]]


def covered(
    made: Made, n: int, runs: int, limits: Limits, bounds: tuple[float, float]
) -> tuple[float, float]:
    """Return the coverage of the limits and their mean width."""
    rng = np.random.default_rng(n)
    found = np.array([limits(made.draw(rng, n), bounds, seed) for seed in range(runs)])
    holds = (found[:, 0] <= made.mean + 1e-12) & (made.mean - 1e-12 <= found[:, 1])
    return float(holds.mean()), float((found[:, 1] - found[:, 0]).mean())


def table(many: Mapping[str, Made], bounds: tuple[float, float], runs: int) -> Iterator[str]:
    """Yield Markdown lines, one per distribution: coverage and width at each size, kingyo / BCa."""
    yield "| " + " | ".join(["", *(f"n = {n}" for n in SIZES)]) + " |"
    yield "|" + "---|" * (1 + len(SIZES))
    for name, made in many.items():
        cells: list[str] = []
        for n in SIZES:
            mine = covered(made, n, runs, ours, bounds)
            theirs = covered(made, n, min(runs, BOOTSTRAPS), bca, bounds)
            shares = " / ".join(f"{100 * each[0]:.0f}" for each in (mine, theirs))
            widths = " / ".join(f"{100 * each[1]:.1f}" for each in (mine, theirs))
            cells.append(f"{shares} % ({widths})")
        yield "| " + " | ".join([name, *cells]) + " |"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000, help="draws for each cell")
    runs = parser.parse_args().runs
    for many, bounds in ((SCORES, (0.0, 1.0)), (DIFFERENCES, (-1.0, 1.0))):
        for line in table(many, bounds, runs):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
