"""What strategies share: a log of trials, a base class, types of settings with bounds, and checks."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from random import Random
from typing import Annotated

from pydantic import Field

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.errors import KingyoError
from kingyo.search.strategies import genes


class History:
    """In-memory log of a search: it numbers trials, rejects invalid outcomes, and ignores repeated ones."""

    def __init__(self) -> None:
        self._trials: list[Trial] = []
        self._told: set[int] = set()
        self._fresh: dict[int, Outcome] = {}

    @property
    def count(self) -> int:
        return len(self._trials)

    def ask(self, genome: Genome, parents: tuple[int, ...] = ()) -> Trial:
        trial = Trial(number=self.count, genome=genome, parents=parents)
        self._trials.append(trial)
        return trial

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Record new outcomes; on an error, record none."""
        for outcome in outcomes:
            self._check(outcome)
        for outcome in outcomes:
            if outcome.number not in self._told:
                self._told.add(outcome.number)
                self._fresh[outcome.number] = outcome

    def take(self, n: int, since: int = 0) -> list[Outcome]:
        """Remove and return the n lowest-numbered outcomes from ``since`` on, or none if there are fewer."""
        self._fresh = {number: outcome for number, outcome in self._fresh.items() if number >= since}
        if len(self._fresh) < n:
            return []
        return [self._fresh.pop(number) for number in sorted(self._fresh)[:n]]

    def take_all(self) -> list[Outcome]:
        return self.take(len(self._fresh)) if self._fresh else []

    def _check(self, outcome: Outcome) -> None:
        number = outcome.trial.number
        where, remedy = f"outcome of trial {number}", "Tell the trials as `ask` returned them."
        expected = f"one of the {self.count} trials that were asked"
        require(where, f"number {number}", expected, holds=0 <= number < self.count, remedy=remedy)
        asked, told = self._trials[number].genome, outcome.trial.genome
        require(where, told, "the genome that was asked", holds=told == asked, remedy=remedy)
        numbers = (*outcome.objectives, *([] if outcome.score is None else [outcome.score]))
        remedy = "Report an evaluation without a score as a failure, with its reason."
        require(where, numbers, "finite scores", holds=all(map(math.isfinite, numbers)), remedy=remedy)


class BaseStrategy:
    """What most strategies share: axes, a history, and a batch."""

    def __init__(self, axes: Sequence[Axis], seed: int, batch: int) -> None:
        self._axes = tuple(axes)
        self._seed = seed
        self._batch = batch
        self._history = History()
        self._seen: set[Genome] = set()

    @property
    def batch(self) -> int:
        return self._batch

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self._history.tell(outcomes)

    def _ask_new(
        self,
        genome: Genome,
        mutate: Callable[[int, float], float],
        rng: Random,
        parents: Iterable[int] = (),
    ) -> Trial:
        """Ask for a genome, mutated gene by gene until it is new; known points are not named as parents."""
        for _ in range(genes.NOVELTY_ATTEMPTS):
            if genome not in self._seen:
                break
            index = rng.randrange(len(genome))
            genome = (*genome[:index], mutate(index, genome[index]), *genome[index + 1 :])
        self._seen.add(genome)
        return self._history.ask(genome, tuple(dict.fromkeys(each for each in parents if each >= 0)))


MAX_SIZE = 100_000
"""Most trials per generation; guards against typing errors that would fill the memory."""
FIX_STRATEGY = "Correct the strategy; kingyo.testing.strategies tests its contract."

Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]
Population = Annotated[int, Field(ge=2, le=MAX_SIZE)]
Whole = Annotated[int, Field(ge=0, le=MAX_SIZE)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


def require(argument: str, value: object, expected: str, *, holds: bool, remedy: str | None = None) -> None:
    """Raise a KingyoError unless a condition holds; by default ``argument`` is a setting of the strategy."""
    if not holds:
        remedy = remedy or f"Change {argument} in the settings of the strategy."
        raise KingyoError(argument, expected=expected, received=str(value), remedy=remedy)


def check_strategy(where: str, strategy: object) -> None:
    for name in ("ask", "tell"):
        is_method = callable(getattr(strategy, name, None))
        require(where, "none", f"a method `{name}`", holds=is_method, remedy=FIX_STRATEGY)
    for name, least, default in (("batch", 1, None), ("size", 0, 0)):
        count = getattr(strategy, name, default)
        is_count = not isinstance(count, bool) and isinstance(count, Integral) and int(count) >= least
        expected = f"`{name}`, an int of {least} or more"
        require(where, repr(count)[:80], expected, holds=is_count, remedy=FIX_STRATEGY)


def check_search(axes: Sequence[Axis], seed: int) -> None:
    require("seed", seed, "0 or more", holds=seed >= 0, remedy="Change seed:, or leave it out.")
    remedy = "Give at least one parameter a range."
    require("axes", "none", "at least one axis", holds=len(axes) > 0, remedy=remedy)
    for name, count in Counter(axis.name for axis in axes).items():
        remedy = "Give each axis a unique name."
        require(f"axis {name}", f"{count} of them", "a unique name", holds=count == 1, remedy=remedy)
    for axis in axes:
        holds = math.isfinite(axis.low) and math.isfinite(axis.high) and axis.low < axis.high
        received, remedy = f"{axis.low}..{axis.high}", "Write a fixed value as a constant, not as a range."
        require(f"axis {axis.name}", received, "finite bounds, low < high", holds=holds, remedy=remedy)
