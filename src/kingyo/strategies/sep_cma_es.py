"""Separable CMA-ES: a Gaussian distribution that stretches along each axis, but does not turn; for many axes.

Ros and Hansen 2008, A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity. A diagonal
covariance has n numbers instead of n²/2, so it is learned (n + 2)/3 times faster and a draw costs O(n). The
maths is the ``cmaes`` library's; what turns it into a search is ``EvolutionStrategy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cmaes import SepCMA  # pyright: ignore[reportMissingTypeStubs]

from kingyo.strategies import STRATEGIES
from kingyo.strategies.checks import check_search
from kingyo.strategies.cma_es import Gaussian, check_floats
from kingyo.strategies.evolution_strategy import Distribution, EvolutionSettings, EvolutionStrategy, Point
from kingyo.types import Axis


class SepCmaEs(EvolutionStrategy):
    """Separable CMA-ES, for float axes: a diagonal covariance, for many axes and few trials.

    It works in the unit box, and cannot learn that two axes belong together. On one axis it is CMA-ES: there
    is nothing to separate. See ``EvolutionStrategy`` for generations, failures and restarts.

    Args:
        axes: the space, float axes only.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: an axis that is not a float, or settings that make no sense.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(EvolutionSettings):
        """Options of separable CMA-ES."""

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(check_floats(check_search(axes, seed)), seed, settings)

    def _make_distribution(self, mean: Point, seed: int) -> Distribution:
        kind = Gaussian if len(mean) == 1 else _Separable
        return kind(
            mean=mean,
            sigma=self._options.sigma,
            bounds=np.tile([0.0, 1.0], (len(mean), 1)),
            seed=seed,
            population_size=self._population,
        )


class _Separable(SepCMA):
    """The library's, with a rank-μ learning rate of at most 1 - c₁.

    Times (n + 2)/3 it can exceed that in few dimensions with a large population, and C would turn negative.
    """

    def __init__(self, mean: Point, sigma: float, bounds: Point, seed: int, population_size: int) -> None:
        super().__init__(mean, sigma, bounds=bounds, seed=seed, population_size=population_size)
        self._cmu = min(self._cmu, 1 - self._c1)


STRATEGIES.register("sep-cma-es")(SepCmaEs)
