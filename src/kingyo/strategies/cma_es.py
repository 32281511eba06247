"""CMA-ES: a Gaussian distribution that moves, turns and stretches towards better scores.

Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772. The maths is the ``cmaes`` library's;
what turns it into a search (generations, failures, restarts) is ``EvolutionStrategy``, as for its relatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cmaes import CMA  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from kingyo.errors import KingyoError
from kingyo.strategies import STRATEGIES
from kingyo.strategies.checks import check_search
from kingyo.strategies.evolution_strategy import EvolutionSettings, EvolutionStrategy, Point
from kingyo.types import Axis


class CmaEs(EvolutionStrategy):
    """CMA-ES, for float axes: a Gaussian distribution that moves, turns and stretches towards better scores.

    It works in the unit box. See ``EvolutionStrategy`` for generations, failures and restarts.

    Args:
        axes: the space, float axes only.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: an axis that is not a float, or settings that make no sense.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(EvolutionSettings):
        """Options of CMA-ES."""

        lr_adapt: bool = field(
            default=False,
            metadata={
                "doc": "learn slower where scores are noisy or rugged (learning rate adaptation, Nomura et "
                "al. 2023); safer with thousands of trials, too slow for hundreds"
            },
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        self._lr_adapt = settings.lr_adapt
        super().__init__(check_floats(check_search(axes, seed)), seed, settings)

    def _make_distribution(self, mean: Point, seed: int) -> Gaussian:
        return Gaussian(
            mean=mean,
            sigma=self._options.sigma,
            bounds=np.tile([0.0, 1.0], (len(mean), 1)),
            seed=seed,
            population_size=self._population,
            lr_adapt=self._lr_adapt,
        )


class Gaussian(CMA):
    """The library's CMA-ES, with draws that do not depend on how eigenvectors are chosen.

    While λ < n, C has equal eigenvalues, and their eigenvectors are any basis of a subspace: another for
    every build of LAPACK. m + σ B D z then differs from machine to machine for the same z, but
    m + σ C^(1/2) z, with C^(1/2) = B D B^T, does not. Both are N(m, σ² C) (Hansen 2016, section 0.2).
    """

    def _sample_solution(self) -> NDArray[np.float64]:
        B, D = self._eigen_decomposition()  # noqa: N806  (the paper's symbols)
        z = self._rng.randn(self._n_dim)
        return self.mean + self._sigma * ((B * D) @ (B.T @ z))


def check_floats(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Return the axes unless one of them is not a float."""
    for axis in axes:
        if axis.kind != "float":
            raise KingyoError(
                f"axis {axis.name}",
                expected="a float axis, the only kind that this CMA-ES can search",
                received=f"the kind {axis.kind}",
                remedy="Use the strategy 'mixed-cma-es' or 'ga', which take every kind.",
            )
    return axes


STRATEGIES.register("cma-es")(CmaEs)
