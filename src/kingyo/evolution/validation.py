"""Scores trials on validation as a race, by the rules of ``kingyo.evolution.race``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from kingyo.evolution.objectives import Scorer
from kingyo.evolution.race import Race
from kingyo.evolution.trial_evaluation import ScoringRequest, TrialEvaluation, TrialEvaluator
from kingyo.evolution.types import Event
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Evaluation


@dataclass(frozen=True, kw_only=True)
class ValidationRace:
    """Runs races on validation.

    Attributes:
        store: the run's database.
        evaluator: evaluates trials.
        scorer: of validation. With several objectives nobody is dropped, nor where measures count.
        notify: told of every step.
    """

    store: RunStore
    evaluator: TrialEvaluator
    scorer: Scorer
    notify: Callable[[Event], None]

    def run(
        self, name: str, trials: Sequence[StoredTrial], seed: int, keep: Collection[StoredTrial] = ()
    ) -> list[tuple[StoredTrial, Evaluation]]:
        """Race trials, and return those that were scored on all of validation, in the given order.

        If a trial fails, trials that were dropped while it took part are raced again without it.

        Args:
            name: of the search that the trials belong to.
            trials: who takes part.
            seed: for the order of the items.
            keep: trials that are scored on all items in any case.
        """
        has_looks = not (self.scorer.objectives.names or self.scorer.objectives.by_set)
        race = Race(scorer=self.scorer, n=len(trials), seed=seed, has_looks=has_looks)
        kept = {i for i, trial in enumerate(trials) if trial in keep}
        laps = _Laps(self.scorer, trials, self.evaluator, self.notify)
        self.notify(Event(kind="phase", search=name, split="validation", total=len(trials)))
        while True:
            alive = laps.fine()
            n_failed = len(trials) - len(alive)
            for start, stop in zip((0, *race.stops), race.stops, strict=False):
                laps.score(alive, race.order[start:stop], is_last=stop == len(race.order))
                alive = [i for i in alive if i in laps.fine()]
                if stop < len(race.order) and alive:
                    rows = {i: self.store.scores_of(trials[i].id, "validation") for i in alive}
                    going_on = {*race.still_in(rows, stop), *kept}
                    laps.end([i for i in alive if i not in going_on])
                    alive = [i for i in alive if i in going_on]
            if len(trials) - len(laps.fine()) == n_failed:
                return [(trials[i], laps.found[i].evaluation) for i in alive]


class _Laps:
    """Scores trials block by block, and tells of those that are done."""

    def __init__(
        self,
        scorer: Scorer,
        trials: Sequence[StoredTrial],
        evaluator: TrialEvaluator,
        notify: Callable[[Event], None],
    ) -> None:
        self._judge, self._trials = scorer, trials
        self._measurer, self._notify = evaluator, notify
        self._ended: set[int] = set()
        self.found: dict[int, TrialEvaluation] = {}

    def fine(self) -> list[int]:
        """Return the trials that have not failed so far."""
        failed = {i for i, each in self.found.items() if each.evaluation.failure is not None}
        return [i for i in range(len(self._trials)) if i not in failed]

    def score(self, trials: Sequence[int], items: Sequence[str], *, is_last: bool) -> None:
        """Score trials on items that they have no scores of yet."""
        place = {self._trials[i].id: i for i in trials}
        requests = [ScoringRequest(trial=self._trials[i], split="validation", items=items) for i in trials]
        for trial, measured in self._measurer.measure_all(requests):
            i = place[trial.id]
            is_new = i not in self.found or not measured.replayed
            if is_new:
                self.found[i] = measured
            if is_last or measured.evaluation.failure is not None:
                self.end([i])
            elif is_new:
                self._tell("more", i)

    def end(self, trials: Sequence[int]) -> None:
        """Tell that trials are scored on no more items."""
        for i in trials:
            if i not in self._ended:
                self._ended.add(i)
                self._tell("ended", i)

    def _tell(self, kind: Literal["ended", "more"], i: int) -> None:
        trial, measured = self._trials[i], self.found[i]
        has_all = len(measured.evaluation.scores) == len(self._judge.task_of)
        self._notify(
            Event(
                kind=kind,
                search=trial.search,
                split="validation",
                done=len(self._ended),
                total=len(self._trials),
                trial=trial,
                evaluation=measured.evaluation,
                value=self._judge.value(measured.evaluation) if has_all else None,
                replayed=measured.replayed,
            )
        )
