"""Ask and tell the strategy of a search, and check the trials that it proposes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import cast

from kingyo.errors import KingyoError
from kingyo.evolution.types import Search
from kingyo.evolution.user_strategy import FIX_STRATEGY, call_strategy
from kingyo.store import StoredTrial
from kingyo.types import Axis, Outcome, Trial


class StrategyDriver:
    """Asks and tells the strategy of a search.

    The stored log of asks and tells is the whole state of a search: to resume, both are repeated with a new
    strategy, which must ask for the stored trials.

    Args:
        search: with a new strategy, which may have been warm-started.

    Attributes:
        n_told: number of outcomes that the strategy was told.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self.n_told = 0

    def ask(self, n: int, first: int) -> list[Trial]:
        """Ask for n trials, numbered from ``first``.

        Raises:
            KingyoError: the strategy failed, or proposed an invalid trial.
        """
        trials = cast(object, call_strategy(self._search, "ask", lambda: self._search.strategy.ask(n)))
        return check_trials(self._search, trials, n, first)

    def ask_again(self, stored: Sequence[StoredTrial]) -> None:
        """Repeat a stored ask.

        Raises:
            KingyoError: the strategy asks for other trials than the stored ones.
        """
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


def check_trials(search: Search, asked: object, most: int, first: int) -> list[Trial]:
    """Check the trials that a strategy proposes.

    Args:
        search: search of the strategy.
        asked: its answer.
        most: how many trials it was asked for.
        first: number of the first trial.

    Returns:
        The trials, with genomes and parents as plain tuples of numbers, as the store returns them.

    Raises:
        KingyoError: it is no list of trials, or too long, or a trial has a wrong number, genome or parents.
    """
    trials = cast("list[object]", asked) if isinstance(asked, list | tuple) else None
    if trials is None or not all(isinstance(trial, Trial) for trial in trials):
        raise _invalid(search, first, "a list of trials", repr(cast(object, asked))[:80])
    if len(trials) > most:
        raise _invalid(search, first + most, f"at most {most} trials", str(len(trials)))
    return [_checked(search, cast(Trial, trial), number) for number, trial in enumerate(trials, first)]


def _checked(search: Search, trial: Trial, number: int) -> Trial:
    if trial.number != number:
        expected = f"the number {number}, one more than the last"
        raise _invalid(search, trial.number, expected, str(trial.number))
    _check_genome(search, trial)
    parents = cast(object, trial.parents)
    if not isinstance(parents, list | tuple) or not all(_is_earlier(each, number) for each in trial.parents):
        raise _invalid(
            search, number, "numbers of earlier trials as its parents", repr(cast(object, parents))
        )
    genome = tuple(float(gene) for gene in trial.genome)
    return replace(trial, genome=genome, parents=tuple(int(parent) for parent in trial.parents))


def _check_genome(search: Search, trial: Trial) -> None:
    axes, genome = search.space.axes, cast(object, trial.genome)
    if not isinstance(genome, list | tuple):
        raise _invalid(search, trial.number, f"a tuple of {len(axes)} genes", repr(genome))
    genes = cast("Sequence[object]", genome)
    if len(genes) != len(axes):
        raise _invalid(search, trial.number, f"{len(axes)} genes", str(len(genes)))
    for axis, gene in zip(axes, genes, strict=True):
        if not _fits(axis, gene):
            kind = "a number" if axis.kind == "float" else "a whole number"
            expected = f"{kind} from {axis.low:g} to {axis.high:g} on axis {axis.name}"
            raise _invalid(search, trial.number, expected, repr(gene))


def _is_earlier(parent: object, number: int) -> bool:
    return isinstance(parent, Integral) and int(parent) < number


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
