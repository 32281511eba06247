"""A search without generations: who is free gets the next candidate, and the strategy learns of each at once.

A slow candidate holds nobody up. What is asked depends on who finishes first, so another run with the same
seed may find others; but the store keeps how asks and tells were interleaved, and a resumed run repeats just
that.
"""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.evolution.ask_tell import Ask, Step
from kingyo.evolution.earlier_sessions import EarlierSessions
from kingyo.evolution.search import AnySearchRun
from kingyo.evolution.trial_evaluation import ScoringRequest, TrialEvaluation
from kingyo.evolution.types import Limits
from kingyo.store import StoredTrial


@dataclass(frozen=True, kw_only=True)
class _Open:
    """A trial that was asked for and not told yet, with the items that it is scored on."""

    trial: StoredTrial
    items: tuple[str, ...]


class AsynchronousRun(AnySearchRun):
    """Runs one search of a journey without generations, or the rest of it."""

    def _search(self, past: EarlierSessions, limits: Limits, most: int) -> None:
        opened = self._in_flight(past)
        for each in list(opened.values()):
            self._begin_trial(each, opened)
        while True:
            while len(opened) < self._measurer.n_workers:
                new = self._ask_one(limits, most, len(opened))
                if new is None:
                    break
                opened[new.trial.id] = new
                self._begin_trial(new, opened)
            if not opened:
                return
            for trial, measured in self._measurer.finish():
                self._end_trial(opened.pop(trial.id), measured)

    def _in_flight(self, past: EarlierSessions) -> dict[int, _Open]:
        """Ask and tell as it was done in earlier sessions; return what was in flight when they ended."""
        trials = {each.id: each for each in self._store.trials(self.search.name)}
        told = [trials[each] for each in past.outcomes]
        opened: dict[int, _Open] = {}
        steps: list[Step] = []
        n_told = 0
        for trial in trials.values():
            steps += [self._told_again([each], past) for each in told[n_told : trial.told]]
            n_told = trial.told
            steps.append(Ask(trials=[trial]))
            if trial.id not in past.outcomes:
                opened[trial.id] = self._opened(trial)
        steps += [self._told_again([each], past) for each in told[n_told:]]
        self._strategist.catch_up(steps)
        return opened

    def _ask_one(self, limits: Limits, most: int, n_open: int) -> _Open | None:
        """One more trial, unless what is in flight may use up the budget, or there is none."""
        if self._spent.room(limits, n_open + 1, most) <= n_open:
            return None
        number = self._spent.trials + n_open
        trials = self._asked(number, 1, number)
        return self._opened(trials[0]) if trials else None

    def _opened(self, trial: StoredTrial) -> _Open:
        """Choose its items, by what is known when it is asked for."""
        number = trial.asked.number
        order = self._screen.rounds(self._responses, [number], number).order
        return _Open(trial=trial, items=tuple(self._items[column] for column in order))

    def _begin_trial(self, each: _Open, opened: dict[int, _Open]) -> None:
        known = self._measurer.begin(ScoringRequest(trial=each.trial, split="fit", items=each.items))
        if known is not None:
            self._end_trial(opened.pop(each.trial.id), known)

    def _end_trial(self, each: _Open, measured: TrialEvaluation) -> None:
        trial, evaluation = each.trial, measured.evaluation
        self._tell_ended(trial, measured)
        self._remember(trial.asked.number, self._store.scores_of(trial.id, "fit"))
        before = self._spent.items
        outcomes = self._outcomes([trial], {trial.asked.number: evaluation})
        self._count(*self._store.costs(self.search.name, "fit", trial.batch)[trial.id])
        self._note_idle(before, 1)
        self._tell_told(outcomes)
        self._strategist.tell(outcomes)
