"""The strategy of a search as the loop meets it: checked at every ask, and brought to where the log ends.

The law of resuming: a fresh strategy, told the stored outcomes, asks for the stored trials. Now and then the
state of a strategy that has one is noted with the trials that it asks for next; a resume begins there, and
those trials are asked for again like all after them. How fast a resume is depends on notes; no result does.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from numbers import Integral, Real
from typing import TypeVar, cast

from kingyo.errors import KingyoError
from kingyo.evolution.own_code import FIX, called
from kingyo.evolution.versions import version_of
from kingyo.evolution.words import Search
from kingyo.store import RunStore, StoredTrial, StrategyState
from kingyo.types import Axis, Outcome, Resumable, Trial

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A step of the log: one ask, and the trials that it brought."""

    trials: Sequence[StoredTrial]


@dataclass(frozen=True, kw_only=True)
class Tell:
    """A step of the log: one tell."""

    outcomes: Sequence[Outcome]


Step = Ask | Tell


class Strategist:
    """Asks and tells the strategy of a search, and keeps a hash of all of it.

    Args:
        search: with a strategy that is new, or has learned what was known before.
        store: the run's database.
    """

    def __init__(self, search: Search, store: RunStore) -> None:
        self._search = search
        self._store = store
        self._log = sha256()
        self._seconds = 0.0  # of the strategy since its last note
        # Now, and not when it is needed: files may be edited while a run goes on with what was in them.
        self._version = version_of(search) if isinstance(search.strategy, Resumable) else ""
        self.n_told = 0

    def catch_up(self, steps: Sequence[Step]) -> None:
        """Bring the strategy to where the log ends: from the latest note that holds, else from the beginning.

        Raises:
            KingyoError: the strategy asks for something else than is stored.
        """
        for step in steps[self._restored(steps) :]:
            if isinstance(step, Ask):
                stored = step.trials
                asked = self.ask(len(stored), stored[0].asked.number)
                check_replay(self._search.name, asked, stored)
                self.logged(stored)
            else:
                self.tell(step.outcomes)

    def ask(self, n: int, first: int) -> list[Trial]:
        """Ask for n trials, the first of this number.

        Raises:
            KingyoError: it proposed what is no point of the space, or misnumbered it.
        """
        began = time.perf_counter()
        asked = cast(object, self._called("ask", lambda: self._search.strategy.ask(n)))
        self._seconds += time.perf_counter() - began
        return check_asked(self._search, asked, n, first)

    def logged(self, trials: Sequence[StoredTrial]) -> None:
        """Take note of what was asked, once it is stored."""
        self._log.update(_line(Ask(trials=trials)))

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell outcomes that are stored."""
        began = time.perf_counter()
        self._called("tell", lambda: self._search.strategy.tell(outcomes))
        self._seconds += time.perf_counter() - began
        self._log.update(_line(Tell(outcomes=outcomes)))
        self.n_told += len(outcomes)

    def note(self) -> StrategyState | None:
        """Return the state of the strategy as it is before an ask, if a replay to here takes too long."""
        strategy = self._search.strategy
        if self._seconds < self._search.note_after or not isinstance(strategy, Resumable):
            return None
        self._seconds = 0.0
        state = self._called("state", lambda: _storable(strategy.state()))
        if state is None:
            return None
        return StrategyState(content=state, version=self._version, log=self._log.hexdigest())

    def _called(self, name: str, call: Callable[[], T]) -> T:
        return called(self._search, name, call)

    def _restored(self, steps: Sequence[Step]) -> int:
        """Restore the strategy; return how many steps need no replay: none where no note holds."""
        found, strategy = self._store.state(self._search.name), self._search.strategy
        if found is None or not isinstance(strategy, Resumable):
            return 0
        first, note = found
        before, log = _before(steps, first), sha256()
        for step in before:
            log.update(_line(step))
        if note.log != log.hexdigest() or note.version != self._version:
            return 0
        trials = [trial.asked for step in before if isinstance(step, Ask) for trial in step.trials]
        outcomes = [outcome for step in before if isinstance(step, Tell) for outcome in step.outcomes]
        self._called("restore", lambda: strategy.restore(note.content, trials, outcomes))
        self._log, self.n_told = log, len(outcomes)
        return len(before)


def _storable(state: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """A state that has been through JSON, as it will be."""
    json.dumps(state)
    return state


def _before(steps: Sequence[Step], first: int) -> Sequence[Step]:
    """The steps before the ask for the trial of this id; none where it was not asked for."""
    for index, step in enumerate(steps):
        if isinstance(step, Ask) and step.trials[0].id == first:
            return steps[:index]
    return []


def _line(step: Step) -> bytes:
    """A step as it is hashed: all that a strategy learns by it but the answers."""
    if isinstance(step, Ask):
        asked = [each.asked for each in step.trials]
        return json.dumps([(each.number, each.genome, each.parents) for each in asked]).encode()
    rows: list[tuple[object, ...]] = []
    for each in step.outcomes:
        value = None if each.value is None else float(each.value)
        scores = [(score.item, float(score.score)) for score in each.scores]
        objectives = [float(one) for one in each.objectives]
        rows.append((each.trial.number, each.failure, value, objectives, each.is_partial, scores))
    return json.dumps(rows).encode()


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
        remedy=FIX,
    )


def check_replay(search: str, asked: Sequence[Trial], stored: Sequence[StoredTrial]) -> None:
    """The law of resuming: a fresh strategy, told the stored outcomes, asks for the stored trials."""
    if list(asked) != [each.asked for each in stored]:
        raise KingyoError(
            f"search '{search}'",
            expected=f"the strategy to ask for the stored batch {stored[0].batch} again",
            received="other genomes",
            remedy="Resume with the versions of kingyo and its libraries that began the run.",
        )
