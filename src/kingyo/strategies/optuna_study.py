"""Run optuna's samplers as strategies.

Each ask builds an in-memory study from the remembered outcomes and a sampler seeded by (seed, number of the
first trial). So proposals depend only on the log, and the cost of an ask does not grow with the search.
Optuna is imported when a strategy that needs it is built.
"""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from kingyo.errors import KingyoError
from kingyo.strategies import derived_seed, genes
from kingyo.strategies.checks import require
from kingyo.strategies.history import History, Observation, check_count
from kingyo.types import Axis, Genome, Outcome, Trial

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

CHUNK = 32  # trials sampled from one study
MAX_PENDING = 64  # older trials without an outcome count as lost


@dataclass(frozen=True, kw_only=True)
class KeptTrials:
    """Which outcomes are remembered and shown to the sampler.

    Attributes:
        startup: outcomes before the sampler is used; until then trials are random.
        size: most outcomes remembered.
        best: how many of these are the best so far; the others are the most recent.
    """

    startup: int
    size: int
    best: int

    def __post_init__(self) -> None:
        require("startup", self.startup, "1 or more", holds=self.startup >= 1)
        enough = self.size >= max(self.startup, self.best + 1)
        expected = f"{max(self.startup, self.best + 1)} or more (startup, and more than {self.best})"
        require("memory", self.size, expected, holds=enough)

    def keep(self, observations: Sequence[Observation]) -> list[Observation]:
        """Return the best and the most recent observations, by number; failures rank last, newer first of
        ties.
        """
        ranked = sorted(observations, key=_rank)
        recent = sorted(ranked[self.best :], key=_number)
        return sorted([*ranked[: self.best], *recent[-(self.size - self.best) :]], key=_number)


class OptunaSearch(ABC):
    """Search with an optuna sampler, for axes of every kind.

    A proposal that repeats an earlier genome is mutated, one random gene at a time, until it is new (at most
    20 times). Trials have no parents.

    A failure is shown as a score below the worst remembered one, by a tenth of the spread. If failures were
    left out, the sampler would propose their neighbourhood again.

    Args:
        axes: the search space, already checked.
        seed: 0 or more.
        memory: which outcomes the sampler sees.
        batch: trials to ask for at once, 1 or more.
    """

    extra = "bayes"

    def __init__(self, axes: tuple[Axis, ...], seed: int, memory: KeptTrials, batch: int) -> None:
        self._axes = axes
        self._seed = seed
        self._memory = memory
        self._batch = batch
        self._distributions = _distributions(axes)
        self._history = History()
        self._observations: list[Observation] = []
        self._pending: dict[int, Genome] = {}
        self._seen: set[Genome] = set()

    @property
    def batch(self) -> int:
        """Trials to ask for at once."""
        return self._batch

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Add known points, as the oldest outcomes."""
        self._observations = self._memory.keep([*self._observations, *map(Observation.of, known)])
        self._seen.update(observation.genome for observation in self._observations)

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials: random ones until ``startup`` outcomes are in, then from the sampler."""
        check_count(n)
        fresh = self._history.take_all()
        for observation in fresh:
            self._pending.pop(observation.number, None)
        self._observations = self._memory.keep([*self._observations, *fresh])
        scored = any(observation.score is not None for observation in self._observations)
        if len(self._observations) < self._memory.startup or not scored:
            return [self._propose(genes.random_point(self._axes, self._random())) for _ in range(n)]
        return [trial for start in range(0, n, CHUNK) for trial in self._sample(min(CHUNK, n - start))]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Record how trials ended; the sampler sees them at the next ask."""
        self._history.tell(outcomes)

    @abstractmethod
    def _sampler(self, seed: int) -> BaseSampler:
        """Build the sampler for one study."""

    def _sample(self, n: int) -> list[Trial]:
        with _silence():
            study = self._study()
            drawn = [study.ask(self._distributions).params for _ in range(n)]
        return [self._propose(self._genome(params)) for params in drawn]

    def _study(self) -> Study:
        import optuna

        sampler = self._sampler(self._derived_seed())
        study = optuna.create_study(direction="maximize", sampler=sampler)
        scores = [observation.score for observation in self._observations]
        worst = _failure_score([score for score in scores if score is not None])
        for observation, score in zip(self._observations, scores, strict=True):
            study.add_trial(self._optuna_trial(observation.genome, worst if score is None else score))
        for genome in self._pending.values():
            study.add_trial(self._optuna_trial(genome, None))
        return study

    def _optuna_trial(self, genome: Genome, value: float | None) -> FrozenTrial:
        """Return a trial of optuna: complete with a value, or running if the value is None."""
        from optuna.trial import TrialState, create_trial

        state = TrialState.RUNNING if value is None else TrialState.COMPLETE
        places = map(_to_parameter, self._axes, genome)
        params = dict(zip(self._distributions, places, strict=True))
        return create_trial(state=state, value=value, params=params, distributions=self._distributions)

    def _genome(self, params: Mapping[str, float]) -> Genome:
        return tuple(_to_gene(axis, params[name]) for axis, name in zip(self._axes, params, strict=True))

    def _propose(self, genome: Genome) -> Trial:
        rng = self._random()
        mutate = genes.mutation(self._axes, genes.RENEWAL_STEP, rng)
        trial = self._history.ask(genes.mutate_until_new(genome, self._seen, mutate, rng))
        self._seen.add(trial.genome)
        self._pending[trial.number] = trial.genome
        if len(self._pending) > MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        return trial

    def _random(self) -> Random:
        return Random(self._derived_seed())

    def _derived_seed(self) -> int:
        return derived_seed(self._seed, self._history.count)


def require_optuna(strategy: str) -> None:
    """Raise unless optuna is installed."""
    try:
        importlib.import_module("optuna")
    except ImportError as error:
        raise KingyoError(
            f"strategy {strategy}",
            expected="the library optuna",
            received="an environment without it",
            remedy="In a clone of kingyo: pip install -e '.[bayes]'",
        ) from error


@contextmanager
def _silence() -> Generator[None]:
    """Suppress optuna's log and warnings, which are about its studies."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _distributions(axes: Sequence[Axis]) -> dict[str, BaseDistribution]:
    """Return one distribution per axis, named by position: optuna sorts names."""
    return {f"x{position:06}": _distribution(axis) for position, axis in enumerate(axes)}


def _distribution(axis: Axis) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.kind == "float":
        return FloatDistribution(0.0, 1.0)
    if axis.kind == "int":
        return IntDistribution(int(axis.low), int(axis.high))
    return CategoricalDistribution(range(int(axis.high) + 1))


def _to_parameter(axis: Axis, gene: float) -> float:
    """Return a gene as optuna's parameter: a float as a fraction of its range."""
    if axis.kind != "float":
        return int(min(axis.high, max(axis.low, round(gene))))
    return float(min(1.0, max(0.0, genes.position_of(axis, gene))))


def _to_gene(axis: Axis, place: float) -> float:
    if axis.kind != "float":
        return float(place)
    return genes.gene_at(axis, round(place, genes.DECIMALS))


def _failure_score(scores: Sequence[float]) -> float:
    low, high = min(scores), max(scores)
    return low - ((high - low) / 10 or 1.0)


def _rank(observation: Observation) -> tuple[bool, float, int]:
    return observation.score is None, -(observation.score or 0.0), -observation.number


def _number(observation: Observation) -> int:
    return observation.number
