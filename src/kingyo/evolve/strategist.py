"""The strategy of a search as the loop meets it: checked at every ask, and brought to where the log ends.

The law of resuming: a fresh strategy, told the stored outcomes, asks for the stored trials. Now and then the
state of a strategy that has one is noted with the trials that it asks for next; a resume begins there, and
those trials are asked for again like all after them. How fast a resume is depends on notes; no result does.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from kingyo.errors import KingyoError
from kingyo.evolve.versions import version_of
from kingyo.evolve.words import Search
from kingyo.store import RunStore, StoredTrial, StrategyState
from kingyo.types import Axis, Outcome, Resumable, Trial


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A step of the log: one ask, and the trials that it brought."""

    trials: Sequence[StoredTrial]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A step of the log: one tell."""

    outcomes: Sequence[Outcome]


Step = Asked | Told


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
            if isinstance(step, Asked):
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
        asked = self._search.strategy.ask(n)
        self._seconds += time.perf_counter() - began
        check_asked(self._search, asked, n, first)
        return asked

    def logged(self, trials: Sequence[StoredTrial]) -> None:
        """Take note of what was asked, once it is stored."""
        self._log.update(_line(Asked(trials=trials)))

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell outcomes that are stored."""
        began = time.perf_counter()
        self._search.strategy.tell(outcomes)
        self._seconds += time.perf_counter() - began
        self._log.update(_line(Told(outcomes=outcomes)))
        self.n_told += len(outcomes)

    def note(self) -> StrategyState | None:
        """Return the state of the strategy as it is before an ask, if a replay to here takes too long."""
        strategy = self._search.strategy
        if self._seconds < self._search.note_after or not isinstance(strategy, Resumable):
            return None
        self._seconds = 0.0
        state = strategy.state()
        if state is None:
            return None
        return StrategyState(content=state, version=self._version, log=self._log.hexdigest())

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
        trials = [trial.asked for step in before if isinstance(step, Asked) for trial in step.trials]
        outcomes = [outcome for step in before if isinstance(step, Told) for outcome in step.outcomes]
        strategy.restore(note.content, trials, outcomes)
        self._log, self.n_told = log, len(outcomes)
        return len(before)


def _before(steps: Sequence[Step], first: int) -> Sequence[Step]:
    """The steps before the ask for the trial of this id; none where it was not asked for."""
    for index, step in enumerate(steps):
        if isinstance(step, Asked) and step.trials[0].id == first:
            return steps[:index]
    return []


def _line(step: Step) -> bytes:
    """A step as it is hashed: all that a strategy learns by it but the answers."""
    if isinstance(step, Asked):
        asked = [each.asked for each in step.trials]
        return json.dumps([(each.number, each.genome, each.parents) for each in asked]).encode()
    rows: list[tuple[object, ...]] = []
    for each in step.outcomes:
        value = None if each.value is None else float(each.value)
        scores = [(score.item, float(score.score)) for score in each.scores]
        objectives = [float(one) for one in each.objectives]
        rows.append((each.trial.number, each.failure, value, objectives, each.is_partial, scores))
    return json.dumps(rows).encode()


def check_asked(search: Search, asked: Sequence[Trial], most: int, first: int) -> None:
    """A strategy of the user's own may propose anything; nothing but points of the space is measured."""
    if len(asked) > most:
        raise _impossible(search, asked[most], f"at most {most} trials", str(len(asked)))
    for number, trial in enumerate(asked, first):
        if trial.number != number:
            raise _impossible(
                search, trial, f"the number {number}, one more than the last", str(trial.number)
            )
        axes = search.space.axes
        if len(trial.genome) != len(axes):
            raise _impossible(search, trial, f"{len(axes)} genes", str(len(trial.genome)))
        for axis, gene in zip(axes, trial.genome, strict=True):
            if not _fits(axis, gene):
                whole = "a number" if axis.kind == "float" else "a whole number"
                wanted = f"{whole} from {axis.low:g} to {axis.high:g} on axis {axis.name}"
                raise _impossible(search, trial, wanted, repr(gene))


def _fits(axis: Axis, gene: float) -> bool:
    inside = math.isfinite(gene) and axis.low <= gene <= axis.high
    return inside and (axis.kind == "float" or float(gene).is_integer())


def _impossible(search: Search, trial: Trial, expected: str, received: str) -> KingyoError:
    return KingyoError(
        f"search '{search.name}': trial {trial.number} of {type(search.strategy).__name__}",
        expected=expected,
        received=received,
        remedy="Mend the strategy; kingyo.testing.strategies holds its contract. What was scored is stored.",
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
