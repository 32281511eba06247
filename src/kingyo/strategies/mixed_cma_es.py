"""Mixed CMA-ES: one distribution for floats, whole numbers and categories together.

Hamano et al. 2025, CatCMA with Margin, arXiv:2504.07884. Floats and ints share a Gaussian, whose margin keeps
every int able to move; categories have probabilities, which follow the natural gradient and have a margin
too. The library ``cmaes`` draws and updates the distribution; ``EvolutionStrategy`` makes it a search.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cmaes import CatCMAwM  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from kingyo.strategies import STRATEGIES
from kingyo.strategies.checks import check_search, require
from kingyo.strategies.evolution_strategy import Distribution, EvolutionSettings, EvolutionStrategy, Point
from kingyo.types import Axis

ATTEMPTS = 100  # to draw floats inside the box, as many as the library takes for CMA-ES
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

    def _make_distribution(self, mean: Point, seed: int) -> Distribution:
        start = None if self._restarts else self._start
        return _Mixed(self._axes, _First(mean, self._options.sigma, start), self._population, seed)

    def _point(self, drawn: CatCMAwM.Solution) -> Point:
        point = np.zeros(len(self._axes))
        kinds = _Kinds.of(self._axes)
        if drawn.x is not None:
            point[kinds.floats] = drawn.x
        if drawn.z is not None:
            point[kinds.ints] = drawn.z
        if drawn.c is not None:
            last = np.array([_steps(self._axes[i]) for i in kinds.categories])
            chosen = drawn.c.argmax(axis=1) / last
            point[kinds.categories] = np.where(drawn.c.any(axis=1), chosen, np.nan)
        return point


@dataclass(frozen=True)
class _Kinds:
    """Which axes the library has as floats, as ints and as categories; binary axes are categories of two."""

    floats: list[int]
    ints: list[int]
    categories: list[int]

    @staticmethod
    def of(axes: Sequence[Axis]) -> _Kinds:
        def places(*kinds: str) -> list[int]:
            return [i for i, axis in enumerate(axes) if axis.kind in kinds]

        return _Kinds(places("float"), places("int"), places("binary", "categorical"))


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
    """The library's distribution, kept inside the box, which also stops where there are no floats.

    Draws are repeated until their floats are inside the box, as in CMA-ES, so that the library has no
    penalty to add: while all scores are equal its size is not known.
    """

    def __init__(self, axes: tuple[Axis, ...], first: _First, population: int, seed: int) -> None:
        kinds = _Kinds.of(axes)
        gaussian, categories = [*kinds.floats, *kinds.ints], [axes[i] for i in kinds.categories]
        self._has_floats, self._has_gaussian = bool(kinds.floats), bool(gaussian)
        self._changes = 2 * len(kinds.ints) + sum(map(_steps, categories))
        self._best = math.inf
        self._stale = 0
        # The library moves what it is given in place: these arrays are its own.
        self._library = CatCMAwM(
            x_space=[[0.0, 1.0]] * len(kinds.floats) or None,
            z_space=[list(np.linspace(0, 1, _steps(axes[i]) + 1)) for i in kinds.ints] or None,
            c_space=[_steps(axis) + 1 for axis in categories] or None,
            population_size=population,
            mean=first.mean[gaussian],
            sigma=first.sigma,
            cov=np.diag([_stretch(axes[i], first.sigma) ** 2 for i in gaussian]),
            cat_param=_probabilities(categories, first.start),
            seed=seed,
        )

    def ask(self) -> CatCMAwM.Solution:
        """Draw a solution; one outside the box is clipped after 100 attempts."""
        for _ in range(ATTEMPTS):
            drawn = self._library.ask()
            if drawn.x is None or np.all((drawn.x > 0) & (drawn.x < 1)):
                return drawn
        return self._library.ask()

    def tell(self, solutions: list[tuple[CatCMAwM.Solution, float]], /) -> None:
        """Move by the costs of one generation."""
        best = min(cost for _, cost in solutions)
        is_stale = best >= self._best and _is_settled([drawn for drawn, _ in solutions])
        self._stale = self._stale + len(solutions) if is_stale else 0
        self._best = min(self._best, best)
        self._library.tell(solutions)

    def should_stop(self) -> bool:
        """As the library says of the Gaussian; without floats, also when what has settled finds no better.

        Margins would keep it exploring for ever. By then it has tried every single change about
        twice: a quarter of what is drawn (1 - 0.73) differs somewhere.
        """
        if not self._has_floats and self._stale > PATIENCE * self._changes:
            return True
        return self._has_gaussian and self._library.should_stop()


def _is_settled(drawn: Sequence[CatCMAwM.Solution]) -> bool:
    """Whether at least half of a generation is one point."""
    points = Counter(tuple(part.tobytes() for part in (each.z, each.c) if part is not None) for each in drawn)
    return 2 * max(points.values()) >= len(drawn)


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


def _stretch(axis: Axis, sigma: float) -> float:
    """The first deviation of an axis in sigmas: of an int at least half a step, else it could hardly move."""
    return 1.0 if axis.kind == "float" else max(1.0, 0.5 / _steps(axis) / sigma)


STRATEGIES.register("mixed-cma-es")(MixedCmaEs)
