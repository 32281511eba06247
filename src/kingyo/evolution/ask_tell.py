"""Ask and tell the strategy of a search, check what it proposes, and replay the log to resume.

A resume replays the stored asks and tells into a fresh strategy, which must ask for the stored trials. So the
log is the whole state of a search, and a resume takes as long as the strategy took to ask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import cast

from kingyo.errors import KingyoError
from kingyo.evolution.types import Search
from kingyo.evolution.user_strategy import FIX_STRATEGY, call_strategy
from kingyo.store import StoredTrial
from kingyo.types import Axis, Outcome, Trial


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A step of the log: one ask, and the trials that it brought."""

    trials: Sequence[StoredTrial]


@dataclass(frozen=True, kw_only=True)
class Tell:
    """A step of the log: one tell."""

    outcomes: Sequence[Outcome]


Step = Ask | Tell


class StrategyDriver:
    """Asks and tells the strategy of a search, and checks what it asks for.

    Args:
        search: with a strategy that is new, or has learned what was known before.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self.n_told = 0

    def catch_up(self, steps: Sequence[Step]) -> None:
        """Replay the log, so that the strategy is where it was when the log ended.

        Raises:
            KingyoError: the strategy asks for other trials than the stored ones.
        """
        for step in steps:
            if isinstance(step, Ask):
                stored = step.trials
                asked = self.ask(len(stored), stored[0].asked.number)
                check_replay(self._search.name, asked, stored)
            else:
                self.tell(step.outcomes)

    def ask(self, n: int, first: int) -> list[Trial]:
        """Ask for n trials, the first of this number.

        Raises:
            KingyoError: it proposed what is no point of the space, or misnumbered it.
        """
        asked = cast(object, call_strategy(self._search, "ask", lambda: self._search.strategy.ask(n)))
        return check_asked(self._search, asked, n, first)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell outcomes that are stored."""
        call_strategy(self._search, "tell", lambda: self._search.strategy.tell(outcomes))
        self.n_told += len(outcomes)


def check_asked(search: Search, asked: object, most: int, first: int) -> list[Trial]:
    """A strategy of the user's own may propose anything; nothing but points of the space is measured.

    Args:
        search: whose strategy was asked.
        asked: what it answered.
        most: how many trials were wanted.
        first: the number that the first must have.

    Returns:
        The same trials, of plain tuples and numbers, as the store gives them back.
    """
    trials = cast("list[object]", asked) if isinstance(asked, list | tuple) else None
    if trials is None or not all(isinstance(each, Trial) for each in trials):
        raise _impossible(search, first, "a list of trials", repr(cast(object, asked))[:80])
    if len(trials) > most:
        raise _impossible(search, first + most, f"at most {most} trials", str(len(trials)))
    return [_checked(search, cast(Trial, each), number) for number, each in enumerate(trials, first)]


def _checked(search: Search, trial: Trial, number: int) -> Trial:
    if trial.number != number:
        expected = f"the number {number}, one more than the last"
        raise _impossible(search, trial.number, expected, str(trial.number))
    axes, genome = search.space.axes, cast(object, trial.genome)
    if not isinstance(genome, list | tuple):
        raise _impossible(search, number, f"a tuple of {len(axes)} genes", repr(genome))
    genes = cast("Sequence[object]", genome)
    if len(genes) != len(axes):
        raise _impossible(search, number, f"{len(axes)} genes", str(len(genes)))
    for axis, gene in zip(axes, genes, strict=True):
        if not _fits(axis, gene):
            whole = "a number" if axis.kind == "float" else "a whole number"
            wanted = f"{whole} from {axis.low:g} to {axis.high:g} on axis {axis.name}"
            raise _impossible(search, number, wanted, repr(gene))
    parents = cast(object, trial.parents)
    if not isinstance(parents, list | tuple) or not all(_is_earlier(each, number) for each in trial.parents):
        raise _impossible(
            search, number, "numbers of earlier trials as its parents", repr(cast(object, parents))
        )
    plain = tuple(float(gene) for gene in trial.genome)
    return replace(trial, genome=plain, parents=tuple(int(each) for each in trial.parents))


def _is_earlier(parent: object, number: int) -> bool:
    return isinstance(parent, Integral) and int(parent) < number


def _fits(axis: Axis, gene: object) -> bool:
    if not isinstance(gene, Real):
        return False
    number = float(cast(float, gene))
    inside = math.isfinite(number) and axis.low <= number <= axis.high
    return inside and (axis.kind == "float" or number.is_integer())


def _impossible(search: Search, number: int, expected: str, received: str) -> KingyoError:
    return KingyoError(
        f"search '{search.name}': trial {number} of {type(search.strategy).__name__}",
        expected=expected,
        received=received,
        remedy=FIX_STRATEGY,
    )


def check_replay(search: str, asked: Sequence[Trial], stored: Sequence[StoredTrial]) -> None:
    """The law of resuming: a fresh strategy, told the stored outcomes, asks for the stored trials."""
    if list(asked) != [each.asked for each in stored]:
        raise KingyoError(
            f"search '{search}'",
            expected=f"the strategy to ask for the stored batch {stored[0].batch} again",
            received="other genomes",
            remedy="Resume with the versions of kingyo and its libraries, and on the kind of processor, that "
            "began the run.",
        )
