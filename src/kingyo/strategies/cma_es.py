"""CMA-ES (Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772).

The library ``cmaes`` samples and updates the distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cmaes import CMA  # pyright: ignore[reportMissingTypeStubs]

from kingyo.errors import KingyoError
from kingyo.strategies import STRATEGIES
from kingyo.strategies.checks import check_search
from kingyo.strategies.evolution_strategy import Distribution, EvolutionSettings, EvolutionStrategy, Point
from kingyo.types import Axis


class CmaEs(EvolutionStrategy):
    """CMA-ES for float axes: a normal distribution that adapts its mean, step size and covariance.

    The search runs in the unit box. ``EvolutionStrategy`` documents generations, failures and restarts.

    Args:
        axes: the search space; float axes only.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: an axis that is not a float, or an invalid setting.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(EvolutionSettings):
        """Options of CMA-ES."""

        lr_adapt: bool = field(
            default=False,
            metadata={
                "doc": "adapt the learning rate to noisy or multimodal scores (Nomura et al. 2023); for "
                "thousands of trials, too slow for hundreds"
            },
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        self._lr_adapt = settings.lr_adapt
        super().__init__(check_floats(check_search(axes, seed)), seed, settings)

    def _make_distribution(self, mean: Point, seed: int) -> Distribution:
        return CMA(
            mean=mean,
            sigma=self._settings.sigma,
            bounds=unit_box(len(mean)),
            seed=seed,
            population_size=self._population,
            lr_adapt=self._lr_adapt,
        )


def unit_box(n: int) -> Point:
    """Return the bounds 0 and 1 of n axes, shape (n, 2)."""
    return np.tile([0.0, 1.0], (n, 1))


def check_floats(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Return the axes, or raise if one of them is not a float."""
    for axis in axes:
        if axis.kind != "float":
            raise KingyoError(
                f"axis {axis.name}",
                expected="a float axis, the only kind that this strategy supports",
                received=f"an axis of kind {axis.kind}",
                remedy="Use the strategy 'mixed-cma-es' or 'ga', which support every kind.",
            )
    return axes


STRATEGIES.register("cma-es")(CmaEs)
