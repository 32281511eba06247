"""Tree-structured Parzen Estimator (TPE).

    l(x), g(x)  Parzen estimates of the best tenth (at most 25) and of the others   (eq. 2)
    next x      of 24 samples from l, that with the largest l(x) / g(x): it maximises expected improvement

Bergstra, Bardenet, Bengio and Kégl 2011, Algorithms for Hyper-Parameter Optimization, NeurIPS. The estimators
are optuna's; with ``multivariate`` they model all axes jointly (Falkner et al. 2018, BOHB).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kingyo.strategies import STRATEGIES
from kingyo.strategies.checks import check_search, require, require_size
from kingyo.strategies.optuna_study import KeptTrials, OptunaSearch, require_optuna
from kingyo.types import Axis

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

BEST = 25  # most trials that optuna counts as good; all of these are remembered


class TreeParzen(OptunaSearch):
    """Tree-structured Parzen Estimator for axes of every kind; requires optuna.

    Pending trials count as bad ones (constant liar), which spreads a batch. A failure ranks below every
    score. Known points count as outcomes.

    Args:
        axes: the search space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: invalid axes or settings, or optuna is not installed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of TPE."""

        batch: int = field(
            default=10,
            metadata={"doc": "trials to ask for at once; with fewer, the model is updated more often"},
        )
        startup: int = field(
            default=10, metadata={"doc": "outcomes before the model is used; random until then"}
        )
        candidates: int = field(default=24, metadata={"doc": "samples from which each trial is chosen"})
        multivariate: bool = field(
            default=True, metadata={"doc": "model all axes jointly; false: each axis on its own"}
        )
        memory: int = field(
            default=250,
            metadata={
                "doc": f"outcomes remembered: the best {BEST} and the most recent; more cost more time"
            },
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        checked = check_search(axes, seed)
        require_size("batch", settings.batch, 1)
        require("candidates", settings.candidates, "1 or more", holds=settings.candidates >= 1)
        memory = KeptTrials(startup=settings.startup, size=settings.memory, best=BEST)
        require_optuna("tpe")
        super().__init__(checked, seed, memory, settings.batch)
        self._settings = settings

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(
            seed=seed,
            n_startup_trials=0,
            n_ei_candidates=self._settings.candidates,
            multivariate=self._settings.multivariate,
            constant_liar=True,
        )


STRATEGIES.register("tpe")(TreeParzen)
