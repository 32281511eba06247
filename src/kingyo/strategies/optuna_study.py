"""Where optuna's samplers work as a strategy of ours: axes, memory, pending trials, failures, silence.

For every ask a study is made in memory, of what is remembered then, and a sampler seeded by (seed, number of
the first trial). So nothing but the log decides, no state drifts, and an ask costs the same after ten
thousand trials as after five hundred. It knows no sampler by name. Optuna is imported when a strategy that
needs it is made.
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

CHUNK = 32  # trials drawn from one study
MOST_PENDING = 64  # older trials that were never told are taken for lost


@dataclass(frozen=True, kw_only=True)
class KeptTrials:
    """What is remembered of a search, and how it is shown to the sampler.

    Attributes:
        startup: how many outcomes are in before the sampler is asked; until then trials are random.
        size: how many outcomes are remembered at most.
        best: how many of them are the best ever told; the others are the most recent.
    """

    startup: int
    size: int
    best: int

    def __post_init__(self) -> None:
        require("startup", self.startup, "1 or more", holds=self.startup >= 1)
        enough = self.size >= max(self.startup, self.best + 1)
        least = f"{max(self.startup, self.best + 1)} or more (startup, and more than the best {self.best})"
        require("memory", self.size, least, holds=enough)

    def keep(self, observations: Sequence[Observation]) -> list[Observation]:
        """The best and the most recent of these, by number. Failures rank last, of equals the newer first."""
        ranked = sorted(observations, key=_rank)
        recent = sorted(ranked[self.best :], key=_number)
        return sorted([*ranked[: self.best], *recent[-(self.size - self.best) :]], key=_number)


class OptunaSearch(ABC):
    """A search by one of optuna's samplers, for axes of every kind.

    A proposal that repeats an earlier genome would cost an evaluation and teach nothing: one random gene at
    a time is moved until it is new (20 attempts; a small space may be used up). Trials have no parents.

    A failure is shown as a score below the worst that is remembered, by a tenth of their spread. Left out,
    its surroundings would be proposed again and again.

    Args:
        axes: checked.
        seed: 0 or more.
        memory: what the sampler is shown.
        batch: how many trials to ask for at once, 1 or more.
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
        """How many trials to ask for at once."""
        return self._batch

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Remember points that were measured before, like outcomes older than all others."""
        self._observations = self._memory.keep([*self._observations, *map(Observation.of, known)])
        self._seen.update(observation.genome for observation in self._observations)

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials: at random at the beginning, then by the sampler."""
        check_count(n)
        fresh = self._history.take_all()
        for observation in fresh:
            self._pending.pop(observation.number, None)
        self._observations = self._memory.keep([*self._observations, *fresh])
        scored = any(observation.score is not None for observation in self._observations)
        if len(self._observations) < self._memory.startup or not scored:
            return [self._propose(genes.random_point(self._axes, self._random())) for _ in range(n)]
        return [trial for start in range(0, n, CHUNK) for trial in self._draw(min(CHUNK, n - start))]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn how trials ended; the sampler hears of it at the next ask."""
        self._history.tell(outcomes)

    @abstractmethod
    def _sampler(self, seed: int) -> BaseSampler:
        """Make the sampler from a seed, anew for every study."""

    def _draw(self, n: int) -> list[Trial]:
        with _silence():
            study = self._study()
            drawn = [study.ask(self._distributions).params for _ in range(n)]
        return [self._propose(self._genome(params)) for params in drawn]

    def _study(self) -> Study:
        import optuna

        sampler = self._sampler(self._derived_seed())
        study = optuna.create_study(direction="maximize", sampler=sampler)
        worst = _below(
            [observation.score for observation in self._observations if observation.score is not None]
        )
        for observation in self._observations:
            study.add_trial(
                self._frozen(observation.genome, worst if observation.score is None else observation.score)
            )
        for genome in self._pending.values():
            study.add_trial(self._frozen(genome, None))
        return study

    def _frozen(self, genome: Genome, value: float | None) -> FrozenTrial:
        """A point as optuna knows it: finished with a value, or running where there is none."""
        from optuna.trial import TrialState, create_trial

        state = TrialState.RUNNING if value is None else TrialState.COMPLETE
        places = map(_place, self._axes, genome)
        params = dict(zip(self._distributions, places, strict=True))
        return create_trial(state=state, value=value, params=params, distributions=self._distributions)

    def _genome(self, params: Mapping[str, float]) -> Genome:
        return tuple(_gene(axis, params[name]) for axis, name in zip(self._axes, params, strict=True))

    def _propose(self, genome: Genome) -> Trial:
        trial = self._history.ask(self._renewed(genome))
        self._seen.add(trial.genome)
        self._pending[trial.number] = trial.genome
        if len(self._pending) > MOST_PENDING:
            del self._pending[next(iter(self._pending))]
        return trial

    def _renewed(self, genome: Genome) -> Genome:
        rng = self._random()
        mutate = genes.mutation(self._axes, genes.RENEWAL_STEP, rng)
        return genes.renewed(genome, self._seen, mutate, rng)

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
            received="an installation without it",
            remedy="In a clone of kingyo: pip install -e '.[bayes]'",
        ) from error


@contextmanager
def _silence() -> Generator[None]:
    """Keep optuna's log and warnings from the user: they speak of its studies, which he never sees."""
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
    """By position, so that optuna, which sorts names, keeps the order of the axes."""
    return {f"x{position:06}": _distribution(axis) for position, axis in enumerate(axes)}


def _distribution(axis: Axis) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.kind == "float":
        return FloatDistribution(0.0, 1.0)
    if axis.kind == "int":
        return IntDistribution(int(axis.low), int(axis.high))
    return CategoricalDistribution(range(int(axis.high) + 1))


def _place(axis: Axis, gene: float) -> float:
    """A gene as optuna's parameter: floats as a fraction of the range."""
    if axis.kind != "float":
        return int(min(axis.high, max(axis.low, round(gene))))
    return float(min(1.0, max(0.0, genes.place_of(axis, gene))))


def _gene(axis: Axis, place: float) -> float:
    if axis.kind != "float":
        return float(place)
    return genes.gene_at(axis, round(place, genes.DECIMALS))


def _below(scores: Sequence[float]) -> float:
    low, high = min(scores), max(scores)
    return low - ((high - low) / 10 or 1.0)


def _rank(observation: Observation) -> tuple[bool, float, int]:
    return observation.score is None, -(observation.score or 0.0), -observation.number


def _number(observation: Observation) -> int:
    return observation.number
