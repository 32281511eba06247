"""Trials, their outcomes, and the protocols of strategies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

from kingyo.core.types.data import Genome, ItemScore


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """The gradient steps that changed a genome."""

    steps: int  # updates of the genome
    targets: int  # answers that were learned
    items: int  # the cost, in evaluations of an item
    seconds: float  # the duration
    loss: tuple[float, float]  # mean loss of the first and of the last steps


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One proposal of a strategy. Numbers count from 0 within a search; parents are earlier numbers.

    ``lesson`` says how its genome was learned; None for all other trials.
    """

    number: int
    genome: Genome
    parents: tuple[int, ...] = ()
    lesson: Lesson | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of one candidate on one split: item scores or a failure, and the time that it took."""

    scores: tuple[ItemScore, ...] = ()
    failure: str | None = None
    build_seconds: float = 0.0  # time to merge the weights into the live model
    score_seconds: float = 0.0  # time to answer and grade the items
    # id of an earlier trial with the same recipe, whose scores were copied. The trial's own id means a run
    # with another seed.
    copied_from: int | None = None
    # names and hashes of the user's files that graders have read, so far as they are known. A hash is empty
    # if graders have written the file.
    files: tuple[tuple[str, str], ...] = ()
    replayed: bool = False  # all of it was stored before; nothing was run or copied

    @property
    def mean(self) -> float | None:
        """Mean item score; None for a failure."""
        if self.failure is not None or not self.scores:
            return None
        return sum(each.score for each in self.scores) / len(self.scores)

    @property
    def items(self) -> dict[str, float]:
        """Item id -> score."""
        return {each.item: each.score for each in self.scores}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a trial, as its strategy gets it: scores, or a failure with its reason, never both."""

    trial: Trial
    # item id -> score, of the items that were scored
    items: Mapping[str, float] = field(default_factory=dict[str, float])
    failure: str | None = None
    # what a search with one objective maximises, if that is not the mean of ``items``: an estimate for all
    # items if only some were scored, or a mean over several tasks
    value: float | None = None
    objectives: tuple[float, ...] = ()  # one number per objective of the run; empty if there is only one
    # whether only some items were scored, so that ``value`` and ``objectives`` are estimates
    is_partial: bool = False

    def __post_init__(self) -> None:
        if (self.score is None) == (self.failure is None):
            raise ValueError(f"outcome of trial {self.number}: give scores or a failure, not both or neither")

    @property
    def number(self) -> int:
        return self.trial.number

    @property
    def genome(self) -> Genome:
        return self.trial.genome

    @cached_property
    def score(self) -> float | None:
        """What a search with one objective maximises; None for a failure."""
        if self.value is not None or not self.items:
            return self.value
        return sum(self.items.values()) / len(self.items)

    @property
    def values(self) -> tuple[float, ...]:
        """The objectives, or the score if there is only one; empty for a failure."""
        return self.objectives or (() if self.score is None else (self.score,))


@runtime_checkable
class Strategy(Protocol):
    """A search algorithm with an ask/tell interface.

    Its proposals depend only on axes, settings, seed and history. Outcomes may arrive late, in parts and in
    any order within a batch. A failure is an outcome that ranks below every score. ``ask`` never blocks:
    before all outcomes are in, it proposes from what it knows.
    """

    @property
    def batch(self) -> int:
        """Preferred number of trials per ask: the population size."""
        ...

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials with consecutive numbers; fewer or none only if the space is exhausted."""
        ...

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Receive the outcomes of trials."""


@runtime_checkable
class FiniteStrategy(Strategy, Protocol):
    """A strategy with a fixed number of trials, such as a grid."""

    @property
    def size(self) -> int: ...


@runtime_checkable
class InformedStrategy(Strategy, Protocol):
    """A strategy that can start from known points, such as the parents and their mean."""

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Start from known points; called at most once, before the first ask.

        Args:
            known: outcomes without failures. Their trials have numbers below 0, and must not be named as
                parents.
        """


@runtime_checkable
class ContinuingStrategy(Strategy, Protocol):
    """A strategy that can continue a search whose axes have changed."""

    def continue_from(self, known: Sequence[Outcome]) -> None:
        """Begin as with ``warm_start``, without exploring the space again; points may lie beyond the axes."""


@runtime_checkable
class TaskAware(Strategy, Protocol):
    """A strategy that uses item scores, and so needs to know the task of each item."""

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        """Receive the tasks of a run with several tasks; called first.

        Args:
            task_of: id of an item of fit -> name of its task.
            weights: name of a task -> weight; the search maximises the weighted mean.
        """


@runtime_checkable
class PredictingStrategy(Strategy, Protocol):
    """A strategy that predicts the scores of genomes, with less noise than a single measurement."""

    def predict(self, genomes: Sequence[Genome]) -> list[float] | None:
        """Return the expected mean score over all items of each genome, given all outcomes so far.

        Predictions are averaged with scores on validation. None means no prediction, for example because an
        inner strategy does not predict.
        """
        ...


Learn = Callable[[int, Genome], tuple[Genome, Lesson] | None]
"""Improves a genome by gradient, for the trial of a number; None if there is nothing to learn."""


@runtime_checkable
class LearningStrategy(Strategy, Protocol):
    """A strategy that has some of its genomes improved by the gradient of a loss.

    ``learn`` is set before the first ask. For the number of a stored trial it returns the same as before.
    """

    learn: Learn
