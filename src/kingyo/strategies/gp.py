"""Bayesian optimisation: a Gaussian process says how good a point may be; try where it may be best.

    model   Gaussian process, Matérn 5/2 kernel, one length per axis, fitted to the scores that are remembered
    next x  the largest log expected improvement; with pending trials its mean over what they may turn out

Jones, Schonlau, Welch 1998, Efficient Global Optimization; Ament et al. 2023, arXiv:2310.20708 (log EI).
Model and maximiser are optuna's ``GPSampler``, which needs scipy and torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kingyo.strategies import STRATEGIES
from kingyo.strategies.checks import check_search, require, require_size
from kingyo.strategies.optuna_study import Memory, OptunaSearch, require_optuna
from kingyo.types import Axis

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class GaussianProcess(OptunaSearch):
    """Bayesian optimisation by a Gaussian process, for axes of every kind; it needs optuna, scipy and torch.

    For few and costly trials on up to some twenty axes. Trials of a batch are chosen one after the other,
    each in view of those that are pending. A failure counts as a score below the worst by a tenth of the
    spread, so that its surroundings are left. Of what is remembered, half are the best, half the most
    recent: time grows with the cube of it. Known points are observations like any other.

    A log is replayed exactly by the same libraries on the same kind of processor. On another kind the last
    bits of its matrices differ, and where two maxima are nearly equal the search may take the other one.

    Args:
        axes: the space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: axes or settings that make no sense, each named; a library is not installed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of Bayesian optimisation."""

        batch: int = field(
            default=4, metadata={"doc": "how many trials to ask for at once; fewer learn faster"}
        )
        startup: int = field(default=10, metadata={"doc": "outcomes before it models; until then, random"})
        memory: int = field(
            default=100,
            metadata={"doc": "outcomes remembered: half the best, half the most recent; time grows fast"},
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        checked = check_search(axes, seed)
        require_size("batch", settings.batch, 1)
        require("memory", settings.memory, "2 or more", holds=settings.memory >= 2)
        best = settings.memory // 2
        memory = Memory(startup=settings.startup, size=settings.memory, best=best)
        require_optuna("gp", "scipy", "torch")
        super().__init__(checked, seed, memory, settings.batch)

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed, n_startup_trials=0, warn_independent_sampling=False)


STRATEGIES.register("gp")(GaussianProcess)
