"""Measure how often 95% intervals contain the true value. The tables are those of docs/statistics.md.

    python benchmarks/interval_coverage.py --runs 2000  (graded scores; ten minutes)
    python benchmarks/interval_coverage.py --groups --runs 1000  (items that belong together; half an hour)

Graded scores, or their differences on one item, are drawn from distributions with known means, and kingyo is
compared with scipy's BCa bootstrap. For items in groups, models answer items of prompts that are easy or hard
for all models and for each of them.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import bootstrap

from kingyo.stats import Groups, Interval, bounded_mean, interval, paired_difference
from kingyo.stats.prediction import SplitGroups, predict_winner

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


GROUPS = ((75, 4), (50, 8), (30, 10))
"""Numbers of groups, and of items in each."""
IMAGES = ((60, 100, 2), (39, 150, 2), (300, 500, 3))
"""Numbers of images, of questions about them, and of images of a question."""
SPREADS = (1.0, 2.0, 3.0)
"""Standard deviations of the difficulty of groups, in logits; half of the variance is that of each model."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Groups of items with difficulties, and models that answer them right with a chance."""

    n_groups: int
    size: int
    spread: float
    ability: float

    @cached_property
    def groups(self) -> Groups:
        """Return the groups of the items."""
        return Groups(numbers=np.repeat(np.arange(self.n_groups), self.size))

    @cached_property
    def mean(self) -> float:
        """Return the expected score."""
        draws = np.random.default_rng(1).normal(size=400_000)
        return float(expit(self.ability + self.spread * draws).mean())

    @cached_property
    def better(self) -> World:
        """Return the same groups for a better model."""
        return replace(self, ability=self.ability + 1)

    def shared(self, rng: np.random.Generator) -> Array:
        """Draw how easy the groups are for all models."""
        return rng.normal(size=self.n_groups) * self.spread / np.sqrt(2)

    def scores(self, rng: np.random.Generator, shared: Array, ahead: float = 0.0) -> Array:
        """Draw the scores of one model."""
        logits = shared + rng.normal(size=self.n_groups) * self.spread / np.sqrt(2)
        chances = expit(self.ability + ahead + self.of_items(logits))
        return (rng.random(len(chances)) < chances).astype(np.float64)

    def of_items(self, logits: Array) -> Array:
        """Return the logit of each item from those of the groups."""
        return np.repeat(logits, self.size)


@dataclass(frozen=True, kw_only=True)
class ImageWorld(World):
    """Questions about several images, each of which several questions show; a group is an image."""

    n_items: int

    @cached_property
    def shown(self) -> NDArray[np.intp]:
        """Return the images of each question: [questions, size]."""
        rng = np.random.default_rng(2)
        return np.stack([rng.permutation(self.n_groups)[: self.size] for _ in range(self.n_items)])

    @cached_property
    def groups(self) -> Groups:
        """Return the groups of the questions."""
        groups = Groups.of("\n".join(f"image {each}" for each in own) for own in self.shown.tolist())
        assert groups is not None, "there are more questions than images"
        return groups

    def of_items(self, logits: Array) -> Array:
        """Return the logit of each question, with the variance of one image's."""
        return logits[self.shown].sum(axis=1) / np.sqrt(self.size)


def _holds(bounds: Interval, value: float) -> bool:
    return bounds.low - 1e-9 <= value <= bounds.high + 1e-9


def mean_holds(world: World, rng: np.random.Generator) -> tuple[bool, bool]:
    """Return whether the interval of a mean holds it, by group and by item."""
    scores = world.scores(rng, world.shared(rng)).tolist()
    return _holds(interval(scores, world.groups), world.mean), _holds(interval(scores), world.mean)


def equals_differ(world: World, rng: np.random.Generator) -> tuple[bool, bool]:
    """Return whether two equal models differ with p at most 0.05, by group and by item."""
    shared = world.shared(rng)
    pair = world.scores(rng, shared).tolist(), world.scores(rng, shared).tolist()
    return paired_difference([pair], groups=[world.groups]).p <= 0.05, paired_difference([pair]).p <= 0.05


def difference_holds(world: World, rng: np.random.Generator) -> tuple[bool, bool]:
    """Return whether the interval of the difference of two models holds it, by group and by item."""
    shared, better = world.shared(rng), world.better
    pair = better.scores(rng, shared).tolist(), world.scores(rng, shared).tolist()
    true = better.mean - world.mean
    by_group = paired_difference([pair], groups=[world.groups]).interval
    return _holds(by_group, true), _holds(paired_difference([pair]).interval, true)


def prediction_holds(world: World, rng: np.random.Generator) -> tuple[bool, bool]:
    """Return whether the prediction of the best of four finalists holds its test score."""
    shared, ahead = world.shared(rng), 0.4 * rng.normal(size=4)
    rows = [world.scores(rng, shared, own).tolist() for own in ahead]
    best = int(np.argmax([sum(row) for row in rows]))
    test = float(world.scores(rng, world.shared(rng), ahead[best]).mean())
    splits, n = SplitGroups(validation=world.groups, test=world.groups), len(rows[0])
    by_group = predict_winner([rows], best, [n], groups=[splits])
    return _holds(by_group, test), _holds(predict_winner([rows], best, [n]), test)


COLUMNS = {
    "mean": mean_holds,
    "difference": difference_holds,
    "equal models, p ≤ .05": equals_differ,
    "prediction": prediction_holds,
}


def grouped_table(runs: int) -> Iterator[str]:
    """Yield Markdown lines: shares in percent, by group / as if all items were independent."""
    yield "| " + " | ".join(["groups × items, sd of difficulty", *COLUMNS]) + " |"
    yield "|" + "---|" * (1 + len(COLUMNS))
    rows: dict[str, World] = {
        f"{n} × {size}, {spread:.0f}": World(n_groups=n, size=size, spread=spread, ability=0.0)
        for n, size in GROUPS
        for spread in SPREADS
    }
    rows |= {
        f"{n_items} about {size} of {n} images each, 2": ImageWorld(
            n_groups=n, size=size, spread=2.0, ability=0.0, n_items=n_items
        )
        for n, n_items, size in IMAGES
    }
    for name, world in rows.items():
        worlds, cells = (world, replace(world, ability=2.0)), [name]
        for measure in COLUMNS.values():
            rng = np.random.default_rng(world.n_groups)
            found = np.array([measure(each, rng) for each in worlds for _ in range(runs // 2)])
            cells.append(" / ".join(f"{100 * share:.1f}" for share in found.mean(axis=0)))
        yield "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000, help="draws for each cell")
    parser.add_argument("--groups", action="store_true", help="items that belong together")
    given = parser.parse_args()
    runs = given.runs
    if given.groups:
        for line in grouped_table(runs):
            print(line, flush=True)
        return
    for many, bounds in ((SCORES, (0.0, 1.0)), (DIFFERENCES, (-1.0, 1.0))):
        for line in table(many, bounds, runs):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
