"""Ask and tell the strategy of a search, possibly a user's own, and check the trials that it proposes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import TypeVar, cast

from kingyo.core.types import Axis, Outcome, Trial
from kingyo.core.user_code.timeout import TooSlowError, within_on_main
from kingyo.errors import KingyoError, crashes_as_errors
from kingyo.search.evolution.types import Search
from kingyo.store import StoredTrial

T = TypeVar("T")
FIX_STRATEGY = "Fix the strategy; kingyo.testing.strategies holds its contract. What was scored is stored."


def call_strategy(search: Search, name: str, call: Callable[[], T]) -> T:
    """Return the result of a call of a strategy; its crash, or its time limit, becomes a KingyoError."""
    argument = f"search '{search.name}': {name} of {type(search.strategy).__name__}"
    with crashes_as_errors(argument, expected="a call that succeeds", remedy=FIX_STRATEGY):
        try:
            return within_on_main(search.timeout, call)
        except TooSlowError as error:
            raise KingyoError(
                argument,
                expected=f"a call that returns within {search.timeout:g} s (search.timeout)",
                received="one that does not",
                remedy=FIX_STRATEGY,
            ) from error


class StrategyDriver:
    """Asks and tells the strategy of a search.

    The stored log of asks and tells is the whole state of a search: to resume, both are repeated with a new
    strategy, which must ask for the stored trials.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self.n_told = 0

    def ask(self, n: int, first: int) -> list[Trial]:
        """Ask for n trials, numbered from ``first``, and check them.

        Returns:
            The trials, with genomes and parents as plain tuples of numbers, as the store returns them.
        """
        return call_strategy(self._search, "ask", lambda: self._asked(n, first))

    def _asked(self, n: int, first: int) -> list[Trial]:
        asked = cast(object, self._search.strategy.ask(n))
        trials = cast("list[object]", asked) if isinstance(asked, list | tuple) else None
        if trials is None or not all(isinstance(trial, Trial) for trial in trials):
            raise _invalid(self._search, first, "a list of trials", repr(cast(object, asked))[:80])
        if len(trials) > n:
            raise _invalid(self._search, first + n, f"at most {n} trials", str(len(trials)))
        return [_checked(self._search, cast(Trial, trial), k) for k, trial in enumerate(trials, first)]

    def ask_again(self, stored: Sequence[StoredTrial]) -> None:
        """Repeat a stored ask."""
        trials = self.ask(len(stored), stored[0].asked.number)
        if trials != [trial.asked for trial in stored]:
            raise KingyoError(
                f"search '{self._search.name}'",
                expected=f"the strategy to ask for the stored batch {stored[0].batch} again",
                received="other genomes",
                remedy="Resume with the versions of kingyo and its libraries, and on the kind of processor, "
                "that began the run.",
            )

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell outcomes that are stored."""
        call_strategy(self._search, "tell", lambda: self._search.strategy.tell(outcomes))
        self.n_told += len(outcomes)


def _checked(search: Search, trial: Trial, number: int) -> Trial:
    axes, genome, parents = search.space.axes, tuple(trial.genome), tuple(trial.parents)
    if trial.number != number:
        raise _invalid(search, trial.number, f"the number {number}", str(trial.number))
    if len(genome) != len(axes):
        raise _invalid(search, number, f"{len(axes)} genes", str(len(genome)))
    for axis, gene in zip(axes, genome, strict=True):
        if not _fits(axis, gene):
            kind = "a number" if axis.kind == "float" else "a whole number"
            expected = f"{kind} from {axis.low:g} to {axis.high:g} on axis {axis.name}"
            raise _invalid(search, number, expected, repr(gene))
    if not all(isinstance(parent, Integral) and parent < number for parent in parents):
        raise _invalid(search, number, "numbers of earlier trials as its parents", repr(parents))
    return replace(trial, genome=tuple(map(float, genome)), parents=tuple(map(int, parents)))


def _fits(axis: Axis, gene: object) -> bool:
    if not isinstance(gene, Real):
        return False
    number = float(cast(float, gene))
    inside = math.isfinite(number) and axis.low <= number <= axis.high
    return inside and (axis.kind == "float" or number.is_integer())


def _invalid(search: Search, number: int, expected: str, received: str) -> KingyoError:
    return KingyoError(
        f"search '{search.name}': trial {number} of {type(search.strategy).__name__}",
        expected=expected,
        received=received,
        remedy=FIX_STRATEGY,
    )
