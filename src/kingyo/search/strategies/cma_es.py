"""CMA-ES with a full, a diagonal (``sep-cma-es``) or a mixed distribution (``mixed-cma-es``).

Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772; Ros and Hansen 2008, A Simple
Modification in CMA-ES Achieving Linear Time and Space Complexity. The library ``cmaes`` samples and updates
the distributions.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies import STRATEGIES, derived_seed, genes
from kingyo.search.strategies.base import MAX_SIZE, BaseStrategy, Share, require

if TYPE_CHECKING:
    from cmaes import CatCMAwM  # pyright: ignore[reportMissingTypeStubs]


MIN_POPULATION = 4  # with fewer, the library divides by its rank-μ learning rate (eq. 58), which is 0
MAX_SEPARABLE = 5  # trials per axis and generation, for a diagonal covariance

Point = NDArray[np.float64]
"""One number per axis: its position between the bounds, 0 (low) to 1 (high)."""


class Distribution(Protocol):
    """A distribution on the unit box, as in ``cmaes``; a sample is an array or the library's ``Solution``."""

    def ask(self) -> Any: ...

    def tell(self, solutions: list[tuple[Any, float]], /) -> None: ...

    def should_stop(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class EvolutionSettings:
    """Options that all CMA-ES variants share.

    Attributes:
        x0: first mean on every axis, 0 (low) to 1 (high); default: the start of each axis.
        sigma: initial standard deviation, as a fraction of each axis' range.
        population: trials per generation, default 4 + floor(3 ln n) for n axes.
        warm_start: begin at the weighted mean of the better half of the known points, unless x0 is set.
    """

    x0: Share | None = None
    sigma: Annotated[float, Field(gt=0, le=1)] = 1 / 6
    population: Annotated[int, Field(ge=MIN_POPULATION, le=MAX_SIZE)] | None = None
    warm_start: bool = True


class EvolutionStrategy(BaseStrategy, ABC):
    """Search with a distribution that is updated once per generation.

    A generation is complete when ``population`` outcomes are in, in the order of their numbers; until then,
    asks sample from the current distribution. A failed trial costs 1 more than the worst cost so far. When
    the distribution has converged or stagnates, a new one starts at a uniformly random point with the initial
    sigma and population, and late outcomes of the old one are ignored.

    Genes are rounded as ``genes`` describes; the distribution is updated with the unrounded solutions. A
    replay is exact with the same libraries on the same kind of processor; elsewhere eigenvectors may differ.
    """

    Settings: ClassVar[type[EvolutionSettings]] = EvolutionSettings
    handles_objectives: ClassVar[bool] = False
    _takes_all_kinds = False

    def __init__(self, axes: Sequence[Axis], seed: int, settings: EvolutionSettings) -> None:
        population = settings.population or 4 + math.floor(3 * math.log(len(axes)))  # eq. 48
        super().__init__(axes, seed, population)
        for axis in () if self._takes_all_kinds else axes:
            where, received = f"axis {axis.name}", f"an axis of kind {axis.kind}"
            expected = "a float axis, the only kind that this strategy supports"
            remedy = "Use the strategy 'mixed-cma-es' or 'ga', which support every kind."
            require(where, received, expected, holds=axis.kind == "float", remedy=remedy)
        self._settings = settings
        self._low = np.array([axis.low for axis in axes], dtype=np.float64)
        self._high = np.array([axis.high for axis in axes], dtype=np.float64)
        self._restarts = 0
        self._first_number = 0
        self._worst_cost = -math.inf
        self._samples: dict[int, Any] = {}
        start, x0 = tuple(axis.first for axis in axes), settings.x0
        mean = self._normalize(start) if x0 is None else np.full(len(axes), x0)
        self._distribution = self._make_distribution(mean, self._derived_seed())

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Move the initial mean to the better known points, unless ``x0`` is set or all scores are equal."""
        scored = [(outcome.score, outcome.trial) for outcome in known if outcome.score is not None]
        all_equal = len({score for score, _ in scored}) < 2
        if all_equal or not self._settings.warm_start or self._settings.x0 is not None:
            return
        ranked = sorted(scored, key=lambda pair: (-pair[0], -pair[1].number))
        points = np.array([self._normalize(trial.genome) for _, trial in ranked])
        self._distribution = self._make_distribution(weighted_mean(points), self._derived_seed())

    def ask(self, n: int) -> list[Trial]:
        while n and (generation := self._history.take(self._batch, since=self._first_number)):
            self._update(generation)
        return [self._propose() for _ in range(n)]

    @abstractmethod
    def _make_distribution(self, mean: Point, seed: int) -> Distribution: ...

    def _arguments(self, mean: Point, seed: int) -> dict[str, Any]:
        bounds = np.array([[0.0, 1.0]] * len(mean))
        sigma, population = self._settings.sigma, self._batch
        return {"mean": mean, "sigma": sigma, "bounds": bounds, "seed": seed, "population_size": population}

    def _point(self, sample: Any) -> Point:
        return np.array(sample, dtype=np.float64)

    def _genome(self, point: Point) -> Genome:
        rounded = np.round(point, genes.DECIMALS)
        inside = np.clip(self._low + rounded * (self._high - self._low), self._low, self._high)
        return tuple(
            float(gene if axis.kind == "float" else round(gene))
            for axis, gene in zip(self._axes, inside, strict=True)
        )

    def _normalize(self, genome: Genome) -> Point:
        return np.clip((np.array(genome) - self._low) / (self._high - self._low), 0.0, 1.0)

    def _propose(self) -> Trial:
        sample = self._distribution.ask()
        trial = self._history.ask(self._genome(self._point(sample)))
        self._samples[trial.number] = sample
        return trial

    def _update(self, generation: Sequence[Outcome]) -> None:
        costs = [-outcome.score for outcome in generation if outcome.score is not None]
        self._worst_cost = max([self._worst_cost, *costs])
        failure_cost = self._worst_cost + 1 if math.isfinite(self._worst_cost) else 0.0
        solutions = [
            (
                self._samples.pop(outcome.number),
                failure_cost if outcome.score is None else -outcome.score,
            )
            for outcome in generation
        ]
        if self._is_exhausted_after(solutions):
            self._restart()

    def _is_exhausted_after(self, solutions: list[tuple[Any, float]]) -> bool:
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the library's empty medians and divisions by zero
                self._distribution.tell(solutions)
                probe = self._point(self._distribution.ask())
                return bool(self._distribution.should_stop()) or not np.all(np.isfinite(probe))
        except (np.linalg.LinAlgError, AssertionError):  # NaN or infinity, in numpy or the library
            return True

    def _restart(self) -> None:
        self._restarts += 1
        self._first_number = self._history.count
        self._samples.clear()
        rng = np.random.RandomState(self._derived_seed())
        self._distribution = self._make_distribution(rng.uniform(size=len(self._axes)), self._derived_seed())

    def _derived_seed(self) -> int:
        return derived_seed(self._seed, self._restarts)


def weighted_mean(points: NDArray[np.float64]) -> Point:
    """Return the weighted mean of the better half of ranked points, with weights ln(μ + 1) − ln i."""
    mu = (len(points) + 1) // 2
    weights = math.log(mu + 1) - np.log(np.arange(1, mu + 1))
    return np.array(weights @ points[:mu] / weights.sum(), dtype=np.float64)


class CmaEs(EvolutionStrategy):
    """CMA-ES for float axes: a normal distribution that adapts its mean, step size and covariance."""

    def _make_distribution(self, mean: Point, seed: int) -> Distribution:
        from cmaes import CMA  # pyright: ignore[reportMissingTypeStubs]  (a second, for scipy.stats)

        return CMA(**self._arguments(mean, seed))


class SepCmaEs(EvolutionStrategy):
    """CMA-ES with a diagonal covariance, for many float axes and few trials.

    It does not learn correlations between axes. With one axis, or a population of more than 5 trials per
    axis, it uses the full covariance: there the separable learning rate would exceed 1 and make the
    covariance negative.
    """

    def _make_distribution(self, mean: Point, seed: int) -> Distribution:
        from cmaes import CMA, SepCMA  # pyright: ignore[reportMissingTypeStubs]

        is_full = len(mean) == 1 or self._batch > MAX_SEPARABLE * len(mean)
        return (CMA if is_full else SepCMA)(**self._arguments(mean, seed))


STRATEGIES.register("cma-es")(CmaEs)
STRATEGIES.register("sep-cma-es")(SepCmaEs)


ATTEMPTS = 100  # samples until all floats are inside the box, as in the library's CMA-ES
PATIENCE = 10  # trials per possible single change before a converged search without floats restarts


class MixedCmaEs(EvolutionStrategy):
    """CMA-ES with margin for axes of every kind (Hamano et al. 2025, CatCMA with Margin, arXiv:2504.07884).

    Floats and ints share a Gaussian whose margin keeps ints from freezing; categorical probabilities follow
    the natural gradient and have a margin too. Categories, also those of binary axes, start equally likely.
    ``x0`` and known points move floats and ints only: a few points are no evidence about a category.
    """

    _takes_all_kinds = True

    def __init__(self, axes: Sequence[Axis], seed: int, settings: EvolutionSettings) -> None:
        kinds = [axis.kind for axis in axes]
        self._floats = [i for i, kind in enumerate(kinds) if kind == "float"]
        self._ints = [i for i, kind in enumerate(kinds) if kind == "int"]
        self._categories = [i for i, kind in enumerate(kinds) if kind in ("binary", "categorical")]
        super().__init__(axes, seed, settings)

    def _make_distribution(self, mean: Point, seed: int) -> Distribution:
        from cmaes import CatCMAwM  # pyright: ignore[reportMissingTypeStubs]

        gaussian, categories = [*self._floats, *self._ints], [self._axes[i] for i in self._categories]
        sigma = self._settings.sigma

        def relative_deviation(axis: Axis) -> float:
            return 1.0 if axis.kind == "float" else max(1.0, 0.5 / _steps(axis) / sigma)

        library = CatCMAwM(
            x_space=[[0.0, 1.0]] * len(self._floats) or None,
            z_space=[list(np.linspace(0, 1, _steps(self._axes[i]) + 1)) for i in self._ints] or None,
            c_space=[_steps(axis) + 1 for axis in categories] or None,
            population_size=self._batch,
            mean=mean[gaussian],
            sigma=sigma,
            cov=np.diag([relative_deviation(self._axes[i]) ** 2 for i in gaussian]),
            seed=seed,
        )
        changes = 2 * len(self._ints) + sum(map(_steps, categories))
        return _MixedDistribution(library, 0 if self._floats else changes, has_gaussian=bool(gaussian))

    def _point(self, sample: CatCMAwM.Solution) -> Point:
        point = np.zeros(len(self._axes))
        if sample.x is not None:
            point[self._floats] = sample.x
        if sample.z is not None:
            point[self._ints] = sample.z
        if sample.c is not None:
            n_steps = np.array([_steps(self._axes[i]) for i in self._categories])
            chosen = sample.c.argmax(axis=1) / n_steps
            point[self._categories] = np.where(sample.c.any(axis=1), chosen, np.nan)
        return point


class _MixedDistribution:
    """The library's distribution with a stop rule for spaces without floats.

    Sampling repeats until the floats are inside the box. The library then adds no penalty, whose size is
    undefined while all scores are equal.
    """

    def __init__(self, library: CatCMAwM, changes: int, *, has_gaussian: bool) -> None:
        self._library, self._changes, self._has_gaussian = library, changes, has_gaussian
        self._best = math.inf
        self._stale = 0

    def ask(self) -> CatCMAwM.Solution:
        for _ in range(ATTEMPTS):
            solution = self._library.ask()
            if solution.x is None or np.all((solution.x > 0) & (solution.x < 1)):
                return solution
        return self._library.ask()

    def tell(self, solutions: list[tuple[CatCMAwM.Solution, float]], /) -> None:
        best = min(cost for _, cost in solutions)
        is_stale = best >= self._best and self._has_converged([drawn for drawn, _ in solutions])
        self._stale = self._stale + len(solutions) if is_stale else 0
        self._best = min(self._best, best)
        self._library.tell(solutions)

    def _has_converged(self, solutions: Sequence[CatCMAwM.Solution]) -> bool:
        parts = [[part for part in (solution.z, solution.c) if part is not None] for solution in solutions]
        points = Counter(tuple(part.tobytes() for part in solution) for solution in parts)
        return 2 * max(points.values()) >= len(solutions)

    def should_stop(self) -> bool:
        """Return whether the Gaussian has converged, or a distribution without floats no longer improves.

        Margins keep such a distribution exploring forever; it has then tried every single change about twice.
        """
        if self._changes and self._stale > PATIENCE * self._changes:
            return True
        return self._has_gaussian and self._library.should_stop()


def _steps(axis: Axis) -> int:
    return round(axis.high - axis.low)


STRATEGIES.register("mixed-cma-es")(MixedCmaEs)
