"""CMA-ES: a Gaussian cloud that moves, turns and stretches towards better scores.

Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772. The maths is the ``cmaes`` library's;
this file maps axes to the unit box, turns scores into costs, collects tells into generations, ranks failures
last, and starts again when the cloud has collapsed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cmaes import CMA  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from kingyo.errors import KingyoError
from kingyo.strategies import STRATEGIES
from kingyo.strategies.checks import check_search, require
from kingyo.strategies.history import History, Told, check_count
from kingyo.types import Axis, Genome, Outcome, Trial

DECIMALS = 6  # of a point in the unit box
SMALLEST_POPULATION = 4  # below it, the library's rank-μ learning rate (eq. 58) is zero and it divides by it


class CmaEs:
    """CMA-ES in the unit box, for float axes.

    A generation is complete when ``population`` outcomes are in, in the order of their numbers; asks before
    that draw from the cloud as it is. A failure costs more than everything told so far.

    When the library says that the cloud can learn no more (collapsed, or the same score for many
    generations), a new cloud with the first sigma starts at a uniformly random point, seeded by (seed,
    restart): the optimum that was found is in the log already, so the rest of the budget looks elsewhere.
    Late outcomes of the old cloud no longer count.

    Points are rounded to a millionth of each axis' range, and drawn by the symmetric root of the
    covariance, so that a search goes on unchanged on another kind of processor, whose arithmetic differs in
    the last bits.

    Trials have no parents: a point is drawn from a distribution that all earlier outcomes have moved, and no
    pair of them can be called its origin.

    Args:
        axes: the space, float axes only.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: an axis that is not a float, or settings that make no sense.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of CMA-ES."""

        x0: float | None = field(
            default=None,
            metadata={
                "doc": "first mean on every axis, 0 (low) to 1 (high); default: the start of each axis"
            },
        )
        sigma: float = field(
            default=1 / 6, metadata={"doc": "first standard deviation, as a fraction of each axis' range"}
        )
        population: int | None = field(
            default=None, metadata={"doc": "trials per generation, default 4 + floor(3 ln n) for n axes"}
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        self._axes = check_search(axes, seed)
        _check_kinds(self._axes)
        n = len(self._axes)
        self._population = settings.population or 4 + math.floor(3 * math.log(n))  # eq. 48
        _check_settings(settings)
        self._settings = settings
        self._low = np.array([axis.low for axis in self._axes], dtype=np.float64)
        self._high = np.array([axis.high for axis in self._axes], dtype=np.float64)
        self._seed = seed
        self._restarts = 0
        self._first = 0
        self._worst = -math.inf
        self._history = History()
        self._points: dict[int, NDArray[np.float64]] = {}
        self._cma: CMA = self._cloud(self._first_mean())

    @property
    def batch(self) -> int:
        """The size of a generation: λ."""
        return self._population

    def ask(self, n: int) -> list[Trial]:
        """Draw n trials from the cloud."""
        check_count(n)
        if n == 0:
            return []
        while generation := self._history.take(self._population, since=self._first):
            self._update(generation)
        return [self._propose() for _ in range(n)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn how trials ended; the cloud moves at the next ask."""
        self._history.tell(outcomes)

    def _propose(self) -> Trial:
        point = np.array(np.round(self._cma.ask(), DECIMALS), dtype=np.float64)
        trial = self._history.ask(self._genome(point))
        self._points[trial.number] = point
        return trial

    def _genome(self, point: NDArray[np.float64]) -> Genome:
        inside = np.clip(self._low + point * (self._high - self._low), self._low, self._high)
        return tuple(float(gene) for gene in inside)

    def _update(self, generation: Sequence[Told]) -> None:
        costs = [-told.score for told in generation if told.score is not None]
        self._worst = max([self._worst, *costs])
        failure = self._worst + 1 if math.isfinite(self._worst) else 0.0
        # The library sorts the list that it is given: this one is ours.
        solutions = [
            (self._points.pop(told.number), failure if told.score is None else -told.score)
            for told in generation
        ]
        with np.errstate(all="ignore"):  # a collapsed cloud divides by zero; _is_spent sees it
            self._cma.tell(solutions)
            spent = _is_spent(self._cma)
        if spent:
            self._restart()

    def _restart(self) -> None:
        self._restarts += 1
        self._first = self._history.count
        self._points.clear()
        rng = np.random.RandomState(self._derived_seed())
        self._cma = self._cloud(rng.uniform(size=len(self._axes)))

    def _first_mean(self) -> NDArray[np.float64]:
        if self._settings.x0 is not None:
            return np.full(len(self._axes), self._settings.x0)
        return (np.array([axis.first for axis in self._axes]) - self._low) / (self._high - self._low)

    def _cloud(self, mean: NDArray[np.float64]) -> CMA:
        return _Cloud(
            mean=mean,
            sigma=self._settings.sigma,
            bounds=np.tile([0.0, 1.0], (len(self._axes), 1)),
            seed=self._derived_seed(),
            population_size=self._population,
        )

    def _derived_seed(self) -> int:
        return int(np.random.SeedSequence([self._seed, self._restarts]).generate_state(1)[0])


class _Cloud(CMA):
    """The library's CMA-ES, with draws that do not depend on how eigenvectors are chosen.

    While λ < n, C has equal eigenvalues, and their eigenvectors are any basis of a subspace: another for
    every build of LAPACK. m + σ B D z then differs from machine to machine for the same z, but
    m + σ C^(1/2) z, with C^(1/2) = B D B^T, does not. Both are N(m, σ² C) (Hansen 2016, section 0.2).
    """

    def _sample_solution(self) -> NDArray[np.float64]:
        B, D = self._eigen_decomposition()  # noqa: N806  (the paper's symbols)
        z = self._rng.randn(self._n_dim)
        return self.mean + self._sigma * ((B * D) @ (B.T @ z))


def _is_spent(cma: CMA) -> bool:
    if not np.all(np.isfinite(cma.mean)):
        return True
    try:
        return bool(cma.should_stop())
    except np.linalg.LinAlgError:  # a covariance with NaN or inf has no eigenvalues
        return True


def _check_kinds(axes: Sequence[Axis]) -> None:
    for axis in axes:
        if axis.kind != "float":
            raise KingyoError(
                f"axis {axis.name}",
                expected="a float axis, the only kind that CMA-ES can search",
                received=f"the kind {axis.kind}",
                remedy="Use the strategy 'ga', which takes every kind.",
            )


def _check_settings(settings: CmaEs.Settings) -> None:
    x0, sigma, population = settings.x0, settings.sigma, settings.population
    require("x0", x0, "0 to 1", holds=x0 is None or 0 <= x0 <= 1)
    require("sigma", sigma, "more than 0, at most 1", holds=0 < sigma <= 1)
    enough = population is None or population >= SMALLEST_POPULATION
    require("population", population, f"{SMALLEST_POPULATION} or more", holds=enough)


STRATEGIES.register("cma-es")(CmaEs)
