"""Tree-structured Parzen Estimator (TPE).

    l(x), g(x)  Parzen estimates of the best tenth (at most 25) and of the others   (eq. 2)
    next x      of 24 samples from l, that with the largest l(x) / g(x): it maximises expected improvement

Bergstra, Bardenet, Bengio and Kégl 2011, Algorithms for Hyper-Parameter Optimization, NeurIPS. The estimators
are optuna's; with ``multivariate`` they model all axes jointly (Falkner et al. 2018, BOHB).

Each ask builds an in-memory study from the remembered outcomes and a sampler seeded by (seed, number of the
first trial). So proposals depend only on the log, and the cost of an ask does not grow with the search.
Optuna is imported when it is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from typing import TYPE_CHECKING, ClassVar

from kingyo.core.io.extras import require_extra
from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies import STRATEGIES, derived_seed, genes
from kingyo.search.strategies.base import BaseStrategy, Size, require

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

BEST = 25  # most trials that optuna counts as good; all of these are remembered
CHUNK = 32  # trials sampled from one study
MAX_PENDING = 64  # older trials without an outcome count as lost


class TreeParzen(BaseStrategy):
    """Tree-structured Parzen Estimator for axes of every kind; requires optuna.

    Pending trials count as bad ones (constant liar), which spreads a batch. Known points count as outcomes. A
    failure is shown as a score below the worst remembered one, by a tenth of the spread. If failures were
    left out, the sampler would propose their neighbourhood again. A proposal that repeats an earlier genome
    is mutated, one random gene at a time, until it is new (at most 20 times). Trials have no parents.
    """

    handles_objectives: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of TPE.

        Attributes:
            batch: trials to ask for at once; with fewer, the model is updated more often.
            startup: outcomes before the model is used; random until then.
            candidates: samples from which each trial is chosen.
            multivariate: model all axes jointly; false: each axis on its own.
            memory: outcomes remembered: the best 25 and the most recent; more cost more time.
        """

        batch: Size = 10
        startup: Size = 10
        candidates: Size = 24
        multivariate: bool = True
        memory: int = 250

    extra = "bayes"

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        least = max(settings.startup, BEST + 1)
        expected = f"{least} or more (startup, and more than {BEST})"
        require("memory", settings.memory, expected, holds=settings.memory >= least)
        require_extra("strategy tpe", self.extra)
        super().__init__(axes, seed, settings.batch)
        self._settings = settings
        # Named by position: optuna sorts names.
        self._distributions = {f"x{i:06}": _distribution(axis) for i, axis in enumerate(axes)}
        self._observations: list[Outcome] = []
        self._pending: dict[int, Genome] = {}

    def warm_start(self, known: Sequence[Outcome]) -> None:
        self._remember(known)
        self._seen.update(outcome.genome for outcome in self._observations)

    def ask(self, n: int) -> list[Trial]:
        fresh = self._history.take_all()
        for outcome in fresh:
            self._pending.pop(outcome.number, None)
        self._remember(fresh)
        scored = any(outcome.score is not None for outcome in self._observations)
        if len(self._observations) < self._settings.startup or not scored:
            return [
                self._propose(genes.random_point(self._axes, Random(self._derived_seed()))) for _ in range(n)
            ]
        return [trial for start in range(0, n, CHUNK) for trial in self._sample(min(CHUNK, n - start))]

    def _remember(self, fresh: Iterable[Outcome]) -> None:
        """Keep the best and the most recent outcomes; failures rank last, newer first of ties."""
        ranked = sorted(
            [*self._observations, *fresh],
            key=lambda outcome: (outcome.score is None, -(outcome.score or 0.0), -outcome.number),
        )
        recent = sorted(ranked[BEST:], key=attrgetter("number"))[-(self._settings.memory - BEST) :]
        self._observations = sorted([*ranked[:BEST], *recent], key=attrgetter("number"))

    def _sample(self, n: int) -> list[Trial]:
        with _silence():
            study = self._study()
            drawn = [study.ask(self._distributions).params for _ in range(n)]
        return [self._propose(tuple(map(_to_gene, self._axes, params.values()))) for params in drawn]

    def _study(self) -> Study:
        import optuna

        sampler = optuna.samplers.TPESampler(
            seed=self._derived_seed(),
            n_startup_trials=0,
            n_ei_candidates=self._settings.candidates,
            multivariate=self._settings.multivariate,
            constant_liar=True,
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        scores = [outcome.score for outcome in self._observations]
        known = [score for score in scores if score is not None]
        failure = min(known) - ((max(known) - min(known)) / 10 or 1.0)
        for outcome, score in zip(self._observations, scores, strict=True):
            study.add_trial(self._optuna_trial(outcome.genome, failure if score is None else score))
        for genome in self._pending.values():
            study.add_trial(self._optuna_trial(genome, None))
        return study

    def _optuna_trial(self, genome: Genome, value: float | None) -> FrozenTrial:
        from optuna.trial import TrialState, create_trial

        state = TrialState.RUNNING if value is None else TrialState.COMPLETE
        places = map(_to_parameter, self._axes, genome)
        params = dict(zip(self._distributions, places, strict=True))
        return create_trial(state=state, value=value, params=params, distributions=self._distributions)

    def _propose(self, genome: Genome) -> Trial:
        rng = Random(self._derived_seed())
        mutate = genes.mutation(self._axes, genes.RENEWAL_STEP, rng)
        trial = self._ask_new(genome, mutate, rng)
        self._pending[trial.number] = trial.genome
        if len(self._pending) > MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        return trial

    def _derived_seed(self) -> int:
        return derived_seed(self._seed, self._history.count)


@contextmanager
def _silence() -> Generator[None]:
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _distribution(axis: Axis) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.kind == "float":
        return FloatDistribution(0.0, 1.0)
    if axis.kind == "int":
        return IntDistribution(int(axis.low), int(axis.high))
    return CategoricalDistribution(range(int(axis.high) + 1))


def _to_parameter(axis: Axis, gene: float) -> float:
    if axis.kind != "float":
        return int(min(axis.high, max(axis.low, round(gene))))
    return float(min(1.0, max(0.0, genes.position_of(axis, gene))))


def _to_gene(axis: Axis, place: float) -> float:
    if axis.kind != "float":
        return float(place)
    return genes.gene_at(axis, round(place, genes.DECIMALS))


STRATEGIES.register("tpe")(TreeParzen)
