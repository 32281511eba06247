"""Score trials on validation as a race, by the rules of ``kingyo.evolution.race``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from kingyo.evolution.race import Race
from kingyo.evolution.scorer import Scorer
from kingyo.evolution.trial_evaluation import TrialEvaluation, TrialEvaluator
from kingyo.evolution.types import Event
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Evaluation


@dataclass(frozen=True, kw_only=True)
class ValidationRace:
    """Runs races on validation.

    Attributes:
        store: the run's database.
        evaluator: evaluates trials.
        scorer: scorer of validation. With several objectives or set measures no trial is dropped.
        notify: called with every event.
    """

    store: RunStore
    evaluator: TrialEvaluator
    scorer: Scorer
    notify: Callable[[Event], None]

    def run(
        self, name: str, trials: Sequence[StoredTrial], seed: int, keep: Collection[StoredTrial] = ()
    ) -> list[tuple[StoredTrial, Evaluation]]:
        """Race trials, and return those that were scored on all of validation, in the given order.

        If a trial fails, trials that were dropped before are raced again without it.

        Args:
            name: name of the search that the trials belong to.
            trials: the participants.
            seed: for the order of the items.
            keep: trials that are never dropped.
        """
        has_looks = not (self.scorer.objectives.names or self.scorer.objectives.by_set)
        race = Race(scorer=self.scorer, n=len(trials), seed=seed, has_looks=has_looks)
        kept = {i for i, trial in enumerate(trials) if trial in keep}
        blocks = _Blocks(self.scorer, trials, self.evaluator, self.notify)
        self.notify(Event(kind="phase", search=name, split="validation", total=len(trials)))
        while True:
            n_failed = len(trials) - len(blocks.successful())
            alive = self._race(race, trials, blocks, kept)
            if len(trials) - len(blocks.successful()) == n_failed:
                return [(trials[i], blocks.results[i].evaluation) for i in alive]

    def _race(
        self, race: Race, trials: Sequence[StoredTrial], blocks: _Blocks, kept: Collection[int]
    ) -> list[int]:
        """Race all trials that have not failed; return those that were scored on all items."""
        alive = blocks.successful()
        for start, stop in zip((0, *race.stops), race.stops, strict=False):
            blocks.score(alive, race.order[start:stop], is_last=stop == len(race.order))
            alive = [i for i in alive if i in blocks.successful()]
            if stop < len(race.order) and alive:
                rows = {i: self.store.scores_of(trials[i].id, "validation") for i in alive}
                remaining = {*race.still_in(rows, stop), *kept}
                blocks.end([i for i in alive if i not in remaining])
                alive = [i for i in alive if i in remaining]
        return alive


class _Blocks:
    """Scores trials block by block, and reports each trial once it is done."""

    def __init__(
        self,
        scorer: Scorer,
        trials: Sequence[StoredTrial],
        evaluator: TrialEvaluator,
        notify: Callable[[Event], None],
    ) -> None:
        self._scorer, self._trials = scorer, trials
        self._evaluator, self._notify = evaluator, notify
        self._ended: set[int] = set()
        self.results: dict[int, TrialEvaluation] = {}

    def successful(self) -> list[int]:
        """Return the trials that have not failed so far."""
        failed = {i for i, result in self.results.items() if result.evaluation.failure is not None}
        return [i for i in range(len(self._trials)) if i not in failed]

    def score(self, trials: Sequence[int], items: Sequence[str], *, is_last: bool) -> None:
        """Score trials on the next block of items."""
        place = {self._trials[i].id: i for i in trials}
        for result in self._evaluator.evaluate_all([self._trials[i] for i in trials], "validation", items):
            i = place[result.trial.id]
            is_new = i not in self.results or not result.replayed
            if is_new:
                self.results[i] = result
            if is_last or result.evaluation.failure is not None:
                self.end([i])
            elif is_new:
                self._report("more", i)

    def end(self, trials: Sequence[int]) -> None:
        """Report that trials are done."""
        for i in trials:
            if i not in self._ended:
                self._ended.add(i)
                self._report("ended", i)

    def _report(self, kind: Literal["ended", "more"], i: int) -> None:
        result = self.results[i]
        is_complete = len(result.evaluation.scores) == len(self._scorer.task_of)
        self._notify(
            Event(
                kind=kind,
                search=result.trial.search,
                split="validation",
                done=len(self._ended),
                total=len(self._trials),
                trial=result.trial,
                evaluation=result.evaluation,
                value=self._scorer.value(result.evaluation) if is_complete else None,
                replayed=result.replayed,
            )
        )
