"""Separable CMA-ES (Ros and Hansen 2008).

The covariance is diagonal: it has n numbers instead of n²/2, its learning rate is (n + 2)/3 times higher, and
a sample costs O(n). The library ``cmaes`` samples and updates the distribution.

Ros and Hansen 2008, A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cmaes import CMA, SepCMA  # pyright: ignore[reportMissingTypeStubs]

from kingyo.strategies import STRATEGIES
from kingyo.strategies.checks import check_search
from kingyo.strategies.cma_es import check_floats, unit_box
from kingyo.strategies.evolution_strategy import Distribution, EvolutionSettings, EvolutionStrategy, Point
from kingyo.types import Axis

MAX_POPULATION_PER_AXIS = 5


class SepCmaEs(EvolutionStrategy):
    """CMA-ES with a diagonal covariance, for many float axes and few trials.

    The search runs in the unit box and does not learn correlations between axes. With one axis, or a
    population of more than 5 trials per axis, it uses the full covariance: there the separable learning rate
    would exceed 1 and make the covariance negative. ``EvolutionStrategy`` documents generations, failures and
    restarts.

    Args:
        axes: the search space; float axes only.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: an axis that is not a float, or an invalid setting.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(EvolutionSettings):
        """Options of separable CMA-ES."""

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(check_floats(check_search(axes, seed)), seed, settings)

    def _make_distribution(self, mean: Point, seed: int) -> Distribution:
        n = len(mean)
        sampler = CMA if n == 1 or self._population > MAX_POPULATION_PER_AXIS * n else SepCMA
        return sampler(
            mean=mean,
            sigma=self._settings.sigma,
            bounds=unit_box(n),
            seed=seed,
            population_size=self._population,
        )


STRATEGIES.register("sep-cma-es")(SepCmaEs)
