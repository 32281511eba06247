"""Search by a distribution that is drawn from and moves once per generation.

It collects outcomes into generations, turns scores into costs, ranks failures last, rounds genes, begins near
known points, and restarts when a distribution can learn no more. Subclasses make the distribution.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kingyo.strategies import derived_seed, genes
from kingyo.strategies.checks import require, require_size
from kingyo.strategies.history import History, Observation, check_count
from kingyo.types import Axis, Genome, Outcome, Trial

SMALLEST_POPULATION = 4  # below it, the library's rank-μ learning rate (eq. 58) is zero and it divides by it

Point = NDArray[np.float64]
"""One number per axis: its place between the bounds, 0 (low) to 1 (high)."""


class Distribution(Protocol):
    """A distribution in the unit box, as the ``cmaes`` library has them."""

    def ask(self) -> Any:
        """Draw a solution: an array, or the library's own ``Solution``."""
        ...

    def tell(self, solutions: list[tuple[Any, float]], /) -> None:
        """Move by the costs of one generation of drawn solutions; the list may be sorted."""
        ...

    def should_stop(self) -> bool:
        """Whether it can learn no more."""
        ...


@dataclass(frozen=True, kw_only=True)
class EvolutionSettings:
    """Options that all of them have."""

    x0: float | None = field(
        default=None,
        metadata={"doc": "first mean on every axis, 0 (low) to 1 (high); default: the start of each axis"},
    )
    sigma: float = field(
        default=1 / 6, metadata={"doc": "first standard deviation, as a fraction of each axis' range"}
    )
    population: int | None = field(
        default=None, metadata={"doc": "trials per generation, default 4 + floor(3 ln n) for n axes"}
    )
    warm_start: bool = field(
        default=True,
        metadata={
            "doc": "begin at the mean of the better half of what is known (parents, uniform merge), weighted "
            "by rank; not where x0 is given"
        },
    )


class EvolutionStrategy(ABC):
    """A search by one distribution after another.

    A generation is complete when ``population`` outcomes are in, in the order of their numbers; asks before
    that draw from the distribution as it is. A failure costs more than everything told so far.

    When a distribution can learn no more (collapsed, or the same score for many generations), a new one with
    the first sigma and population starts at a uniformly random point, seeded by (seed, restart): the optimum
    that was found is in the log already, so the rest of the budget looks elsewhere. (Independent restarts,
    without the growing population of IPOP: Auger and Hansen 2005.) Late outcomes of the old one no longer
    count.

    Genes are rounded, as ``genes`` says; the distribution is told the solutions that it drew.

    A log is replayed exactly by the same libraries on the same kind of processor. On another kind
    eigenvectors may differ, and with them what is drawn.

    Trials have no parents: a point is drawn from a distribution that all earlier outcomes have moved, and no
    pair of them can be called its origin.

    Args:
        axes: the space, checked.
        seed: 0 or more, checked.
        settings: see ``EvolutionSettings``.

    Raises:
        KingyoError: settings that make no sense.
    """

    def __init__(self, axes: tuple[Axis, ...], seed: int, settings: EvolutionSettings) -> None:
        _check_settings(settings)
        self._axes = axes
        self._seed = seed
        self._options = settings
        self._population = settings.population or 4 + math.floor(3 * math.log(len(axes)))  # eq. 48
        self._low = np.array([axis.low for axis in axes], dtype=np.float64)
        self._high = np.array([axis.high for axis in axes], dtype=np.float64)
        self._restarts = 0
        self._first = 0
        self._worst = -math.inf
        self._history = History()
        self._drawn: dict[int, Any] = {}
        self._distribution = self._make_distribution(self._first_mean(), self._derived_seed())

    @property
    def batch(self) -> int:
        """The size of a generation: λ."""
        return self._population

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Move the first mean to what scored well before, if the settings allow it and the scores differ."""
        scored = [(outcome.score, outcome.trial) for outcome in known if outcome.score is not None]
        says_nothing = len({score for score, _ in scored}) < 2
        if says_nothing or not self._options.warm_start or self._options.x0 is not None:
            return
        ranked = sorted(scored, key=lambda pair: (-pair[0], -pair[1].number))
        places = np.array([self._place(trial.genome) for _, trial in ranked])
        self._distribution = self._make_distribution(recombined(places), self._derived_seed())

    def ask(self, n: int) -> list[Trial]:
        """Draw n trials from the distribution."""
        check_count(n)
        if n == 0:
            return []
        while generation := self._history.take(self._population, since=self._first):
            self._update(generation)
        return [self._propose() for _ in range(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn how trials ended; the distribution moves at the next ask."""
        self._history.tell(outcomes)

    @abstractmethod
    def _make_distribution(self, mean: Point, seed: int) -> Distribution:
        """Make a distribution around a mean; it may change the array."""

    def _point(self, drawn: Any) -> Point:
        """Return a drawn solution as a point; not finite where the distribution has broken down."""
        return np.array(drawn, dtype=np.float64)

    def _genome(self, point: Point) -> Genome:
        places = np.round(point, genes.DECIMALS)
        inside = np.clip(self._low + places * (self._high - self._low), self._low, self._high)
        return tuple(
            float(gene if axis.kind == "float" else round(gene))
            for axis, gene in zip(self._axes, inside, strict=True)
        )

    def _place(self, genome: Genome) -> Point:
        return np.clip((np.array(genome) - self._low) / (self._high - self._low), 0.0, 1.0)

    def _propose(self) -> Trial:
        drawn = self._distribution.ask()
        trial = self._history.ask(self._genome(self._point(drawn)))
        self._drawn[trial.number] = drawn
        return trial

    def _update(self, generation: Sequence[Observation]) -> None:
        costs = [-observation.score for observation in generation if observation.score is not None]
        self._worst = max([self._worst, *costs])
        failure = self._worst + 1 if math.isfinite(self._worst) else 0.0
        # The library sorts the list that it is given: this one is ours.
        solutions = [
            (
                self._drawn.pop(observation.number),
                failure if observation.score is None else -observation.score,
            )
            for observation in generation
        ]
        if self._spends(solutions):
            self._restart()

    def _spends(self, solutions: list[tuple[Any, float]]) -> bool:
        """Tell a generation; return whether the distribution can learn no more, or has broken down."""
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the library's medians of nothing, divisions by zero
                self._distribution.tell(solutions)
                probe = self._point(self._distribution.ask())
                return bool(self._distribution.should_stop()) or not np.all(np.isfinite(probe))
        except (np.linalg.LinAlgError, AssertionError):  # of NaN or inf, by numpy or by the library
            return True

    def _restart(self) -> None:
        self._restarts += 1
        self._first = self._history.count
        self._drawn.clear()
        rng = np.random.RandomState(self._derived_seed())
        self._distribution = self._make_distribution(rng.uniform(size=len(self._axes)), self._derived_seed())

    def _first_mean(self) -> Point:
        if self._options.x0 is not None:
            return np.full(len(self._axes), self._options.x0)
        return (np.array([axis.first for axis in self._axes]) - self._low) / (self._high - self._low)

    def _derived_seed(self) -> int:
        return derived_seed(self._seed, self._restarts)


def recombined(places: NDArray[np.float64]) -> Point:
    """The mean of the better half of ranked points, weighted as Ros and Hansen 2008 do: ln(μ + 1) - ln i.

    Warm starts that estimate a covariance as well (Nomura et al. 2021) need more points than there are
    parents: measured on a handful they were worse than this.
    """
    mu = (len(places) + 1) // 2
    weights = math.log(mu + 1) - np.log(np.arange(1, mu + 1))
    return np.array(weights @ places[:mu] / weights.sum(), dtype=np.float64)


def _check_settings(settings: EvolutionSettings) -> None:
    x0, sigma, population = settings.x0, settings.sigma, settings.population
    require("x0", x0, "0 to 1", holds=x0 is None or 0 <= x0 <= 1)
    require("sigma", sigma, "more than 0, at most 1", holds=0 < sigma <= 1)
    require_size("population", population, SMALLEST_POPULATION)
