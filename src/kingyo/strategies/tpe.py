"""TPE: model where the good points lie and where the others lie, and try what is likelier among the good.

    l(x), g(x)  Parzen estimates of the best tenth (25 at most) and of the others   (eq. 2)
    next x      of 24 draws from l the one with the largest l(x) / g(x), which maximises expected improvement

Bergstra, Bardenet, Bengio, Kégl 2011, Algorithms for Hyper-Parameter Optimization, NeurIPS. The estimators
are optuna's; with ``multivariate`` they model all axes together (Falkner et al. 2018, BOHB).
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

BEST = 25  # what optuna counts as good at most: of those none may be forgotten


class TreeParzen(OptunaSearch):
    """Tree-structured Parzen Estimator, for axes of every kind; it needs optuna.

    Pending trials count among the bad (constant liar), so that a batch spreads. A failure ranks below every
    score. Known points are observations like any other.

    Args:
        axes: the space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: axes or settings that make no sense, each named; optuna is not installed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of TPE."""

        batch: int = field(
            default=10, metadata={"doc": "how many trials to ask for at once; fewer learn faster"}
        )
        startup: int = field(default=10, metadata={"doc": "outcomes before it models; until then, random"})
        candidates: int = field(default=24, metadata={"doc": "draws among which each trial is chosen"})
        multivariate: bool = field(
            default=True, metadata={"doc": "model all axes together; false: each axis on its own"}
        )
        memory: int = field(
            default=250,
            metadata={
                "doc": f"outcomes remembered: the best {BEST}, and the most recent; time grows with it"
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
