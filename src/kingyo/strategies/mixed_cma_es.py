"""Mixed CMA-ES: one distribution for floats, whole numbers and categories together.

Hamano et al. 2025, CatCMA with Margin, arXiv:2504.07884. Floats and ints share a Gaussian, whose margin keeps
every int able to move; categories have probabilities, which follow the natural gradient and have a margin
too. The maths is the ``cmaes`` library's; what turns it into a search is ``EvolutionStrategy``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from cmaes import CatCMAwM  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from kingyo.strategies import STRATEGIES
from kingyo.strategies.checks import check_search, require
from kingyo.strategies.evolution_strategy import EvolutionSettings, EvolutionStrategy, Point
from kingyo.types import Axis, Genome

ATTEMPTS = 100  # to draw floats inside the box before they are clipped, as the library does for CMA-ES
PATIENCE = 10  # trials per possible single change of a settled distribution without floats


class MixedCmaEs(EvolutionStrategy):
    """CMA-ES for axes of every kind: one distribution for numbers, switches and choices together.

    See ``EvolutionStrategy`` for generations, failures and restarts.

    A binary axis is a category of two: its probability is then what is learned, without a detour through a
    Gaussian cut in two. Categories begin equally likely, or with the probability ``start`` where their axis
    starts. ``x0`` and what is known move floats and ints only, since a
    few points are no evidence against a category.

    Args:
        axes: the space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: axes or settings that make no sense.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(EvolutionSettings):
        """Options of mixed CMA-ES."""

        start: float | None = field(
            default=None,
            metadata={
                "doc": "probability with which a switch or choice begins at the start of its axis; default: "
                "all are equally likely"
            },
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        start = settings.start
        require("start", start, "more than 0, less than 1", holds=start is None or 0 < start < 1)
        self._start = start
        super().__init__(check_search(axes, seed), seed, settings)

    def _make_distribution(self, mean: Point, seed: int) -> _Mixed:
        start = None if self._restarts else self._start
        return _Mixed(self._axes, _First(mean, self._options.sigma, start), self._population, seed)

    def _genome(self, point: Point) -> Genome:
        floats = super()._genome(point)
        return tuple(
            gene if axis.kind == "float" else float(axis.low + _step(axis, place))
            for axis, gene, place in zip(self._axes, floats, point, strict=True)
        )


@dataclass(frozen=True)
class _First:
    """Where a distribution begins.

    Attributes:
        mean: of the Gaussian, a place per axis.
        sigma: its deviation.
        start: probability of the start of a categorical axis; None: all categories are equally likely.
    """

    mean: Point
    sigma: float
    start: float | None


class _Mixed:
    """The library's distribution, with points as the others have them: a place between the bounds per axis.

    The place of an int is where the Gaussian drew it, before it is rounded to a whole number.
    """

    def __init__(self, axes: tuple[Axis, ...], first: _First, population: int, seed: int) -> None:
        self._axes = axes
        floats = [i for i, axis in enumerate(axes) if axis.kind == "float"]
        ints = [i for i, axis in enumerate(axes) if axis.kind == "int"]
        self._gaussian = [*floats, *ints]
        self._categorical = [i for i, axis in enumerate(axes) if axis.kind in ("binary", "categorical")]
        self._choices = [_steps(axes[i]) + 1 for i in self._categorical]
        # The library moves what it is given in place: these arrays are its own.
        self._library = _Library(
            x_space=[[0.0, 1.0]] * len(floats) or None,
            z_space=[list(np.linspace(0, 1, _steps(axes[i]) + 1)) for i in ints] or None,
            c_space=self._choices or None,
            population_size=population,
            mean=first.mean[self._gaussian],
            sigma=first.sigma,
            cov=np.diag([_stretch(axes[i], first.sigma) ** 2 for i in self._gaussian]),
            cat_param=_probabilities([axes[i] for i in self._categorical], first.start),
            seed=seed,
        )

    @property
    def mean(self) -> Point:
        """Of the Gaussian, with what scales it, and the probabilities, one after the other."""
        return self._library.parameters

    def ask(self) -> Point:
        """Draw a point."""
        point = np.zeros(len(self._axes))
        drawn = self._library.ask()
        if drawn._v_raw is not None:  # pyright: ignore[reportPrivateUsage]  (ints before rounding)
            point[self._gaussian] = drawn._v_raw  # pyright: ignore[reportPrivateUsage]
        if drawn.c is not None:
            point[self._categorical] = drawn.c.argmax(axis=1) / (np.array(self._choices) - 1)
        return point

    def tell(self, solutions: list[tuple[Point, float]], /) -> None:
        """Move by the costs of one generation."""
        self._library.tell([(self._solution(point), cost) for point, cost in solutions])

    def should_stop(self) -> bool:
        """Whether it can learn no more."""
        return self._library.should_stop()

    def _solution(self, point: Point) -> CatCMAwM.Solution:
        chosen = np.zeros((len(self._choices), max(self._choices, default=0)), dtype=bool)
        for row, i in enumerate(self._categorical):
            chosen[row, _step(self._axes[i], point[i])] = True
        return CatCMAwM.Solution(c=chosen, _v_raw=point[self._gaussian])


class _Library(CatCMAwM):
    """The library's CatCMA with margin, made safe and the same on every machine.

    Draws do not depend on how eigenvectors are chosen (see ``Gaussian``), and are repeated until their
    floats are inside the box, as in CMA-ES: no penalty is needed, whose median has no value while all scores
    are equal.
    """

    _best = math.inf
    _stale = 0

    @property
    def parameters(self) -> NDArray[np.float64]:
        """All numbers of the distribution: what is not finite in any of them has broken down."""
        gaussian = [*self._mean, *self._A, self._sigma] if self._use_gaussian else []
        return np.append(np.array(gaussian, dtype=np.float64), self._probabilities)

    @property
    def _probabilities(self) -> NDArray[np.float64]:
        """One row per categorical axis, filled with zeros to the longest."""
        if not self._use_categorical:
            return np.zeros((0, 1))
        return cast(NDArray[np.float64], self._q)  # pyright: ignore[reportUnknownMemberType]

    def tell(self, solutions: list[tuple[CatCMAwM.Solution, float]]) -> None:
        super().tell(solutions)
        best = min(cost for _, cost in solutions)
        self._stale = 0 if best < self._best or not self._is_settled() else self._stale + 1
        self._best = min(self._best, best)
        if self._use_categorical:
            # β = δ / √N is a share, and √(β (2 - β)) not a number above 2: the library has no such bound.
            self._Delta = max(self._Delta, self._delta_init / math.sqrt(self._param_sum))

    def should_stop(self) -> bool:
        """As the library says of the Gaussian; without floats, also when what has settled finds no better.

        Margins would keep it exploring for ever. By then it has tried every single change about
        twice: a quarter of what is drawn (1 - 0.73) differs somewhere.
        """
        changes = 2 * self._Nin + (self._param_sum if self._use_categorical else 0)
        if not self._use_continuous and self._stale * self._popsize > PATIENCE * changes:
            return True
        return super().should_stop() if self._use_gaussian else False

    def _is_settled(self) -> bool:
        """Whether each int and category keeps to one value as far as its margin allows, or nearly so."""
        ints = self._pmut <= 2 * self._alpha if self._use_integer else True
        if not self._use_categorical:
            return bool(np.all(ints))
        others = 1 - self._probabilities.max(axis=1)
        return bool(np.all(ints) and np.all(others <= 2 * self._qmin * (self._K - 1)))

    def _sample_from_gaussian(self) -> NDArray[np.float64]:
        B, D = self._eigen_decomposition()  # noqa: N806  (the paper's symbols)
        v = self._mean
        for _ in range(ATTEMPTS):
            xi = self._rng.randn(self._Nmi)
            v = self._mean + self._sigma * self._A * ((B * D) @ (B.T @ xi))
            if np.all((v[: self._Nco] >= 0) & (v[: self._Nco] <= 1)):
                return v
        v[: self._Nco] = np.clip(v[: self._Nco], 0, 1)
        return v

    def _calc_continuous_penalty(
        self,
        v_raw: NDArray[np.float64],
        sorted_fvals: NDArray[np.float64],  # noqa: ARG002  (the library's)
    ) -> NDArray[np.float64]:
        return np.zeros(len(v_raw))


def _probabilities(axes: Sequence[Axis], start: float | None) -> NDArray[np.float64] | None:
    """First probabilities of the categories, a row per axis, filled with zeros to the longest."""
    if not axes:
        return None
    found = np.zeros((len(axes), max(map(_steps, axes)) + 1))
    for row, axis in zip(found, axes, strict=True):
        n = _steps(axis) + 1
        row[:n] = 1 / n
        if start is not None and axis.start is not None:
            row[:n] = (1 - start) / (n - 1)
            row[round(axis.start - axis.low)] = start
    return found


def _steps(axis: Axis) -> int:
    return round(axis.high - axis.low)


def _step(axis: Axis, place: float) -> int:
    """The whole number nearest to a place, counted from the low bound; halves go down, as in the library."""
    steps = _steps(axis)
    return min(steps, max(0, math.ceil(place * steps - 0.5)))


def _stretch(axis: Axis, sigma: float) -> float:
    """The first deviation of an axis in sigmas: of an int at least half a step, else it could hardly move."""
    return 1.0 if axis.kind == "float" else max(1.0, 0.5 / _steps(axis) / sigma)


STRATEGIES.register("mixed-cma-es")(MixedCmaEs)
