"""Separable CMA-ES: a Gaussian distribution that stretches along each axis, but does not turn; for many axes.

Ros and Hansen 2008, A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity. A diagonal
covariance has n numbers instead of n²/2, so it is learned (n + 2)/3 times faster and a draw costs O(n). The
library ``cmaes`` draws points and updates the distribution; ``EvolutionStrategy`` makes it a search.
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

LARGEST = 5  # population for each axis


class SepCmaEs(EvolutionStrategy):
    """Separable CMA-ES, for float axes: a diagonal covariance, for many axes and few trials.

    It works in the unit box, and cannot learn that two axes belong together. On one axis, and where a
    population has more than 5 trials for each axis, it is CMA-ES: the separable learning rate, times
    (n + 2)/3, would exceed 1 there and make the covariance negative. See ``EvolutionStrategy`` for
    generations, failures and restarts.

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
        n = len(mean)
        kind = CMA if n == 1 or self._population > LARGEST * n else SepCMA
        return kind(
            mean=mean,
            sigma=self._options.sigma,
            bounds=unit_box(n),
            seed=seed,
            population_size=self._population,
        )


STRATEGIES.register("sep-cma-es")(SepCmaEs)
