"""The rules of the race on validation: trials that are clearly behind are scored on no more items.

The trials of a race are the finalists of a search, or the baselines. All get the same items in the same
order. After half of the items, and before that after an eighth, a 32nd, …, if these are 10 items or more,
each trial is compared with the leader: the one with the best mean so far (for several tasks, the weighted
mean of their means). So there is no look below 20 items. Fit scores do not count in the race; they do among
the finalists that finish it (``kingyo.search.evolution.picking``).

A trial is dropped if its scores are clearly below the leader's, paired by item: by the exact sign test of
``screens`` if there is one task with scores of 0 and 1; otherwise by flipping the signs of the weighted
differences (``kingyo.stats.sign_flips``), which compares means. Items that belong together flip together.

**Error rate.** The tests are one-sided, each at the level α / (looks × (trials − 1)). The truly best trial on
validation is dropped with probability at most α: at a look it must lose to one of the others, with
probability at most (trials − 1) × level, and the union bound over the looks gives α.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from kingyo.core.types import Evaluation
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.screens import ScreenSettings, interleave, is_beaten
from kingyo.search.evolution.trial_evaluation import TrialEvaluator
from kingyo.search.evolution.types import Event
from kingyo.stats import Groups, sign_flips
from kingyo.store import RunStore, StoredTrial

SETTINGS = ScreenSettings()  # default block and alpha
Row = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Race:
    """The rules of one race."""

    scorer: Scorer
    n: int
    seed: int
    has_looks: bool = True

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The items in a random order, in which the tasks are evenly mixed."""
        names = list(self.scorer.task_of)
        rng = np.random.default_rng([self.seed, len(names)])
        parts = [[own[int(i)] for i in rng.permutation(len(own))] for own in self.scorer.columns]
        return tuple(names[column] for column in interleave(parts))

    @property
    def stops(self) -> tuple[int, ...]:
        """The numbers of items after which there is a look, and the total.

        There are few looks, because each remaining trial is merged again, and few items fill no batch.
        """
        n, stops = len(self.order), list[int]()
        stop = n // 2
        while self.has_looks and self.n > 1 and stop >= SETTINGS.block:
            stops.append(stop)
            stop //= 4
        return (*reversed(stops), n)

    def still_in(self, rows: Mapping[int, Row], stop: int) -> list[int]:
        """Return the trials that are not clearly behind the leader."""
        items = self.order[:stop]
        tasks = [self.scorer.by_task((item, row[item]) for item in items) for row in rows.values()]
        if not all(tasks[0]):
            return list(rows)  # a task has no item yet
        groups = [self.scorer.groups(own) for own in self.scorer.by_task((item, item) for item in items)]
        means = [self._mean([sum(own) / len(own) for own in scores]) for scores in tasks]
        leader = max(range(len(means)), key=lambda i: means[i])
        return [
            trial
            for i, (trial, row) in enumerate(rows.items())
            if len(row) == len(self.order) or not self._is_behind(tasks[i], tasks[leader], groups)
        ]

    def _is_behind(
        self,
        one: Sequence[Sequence[float]],
        leader: Sequence[Sequence[float]],
        groups: Sequence[Groups | None],
    ) -> bool:
        looks = len(self.stops) - 1
        level = SETTINGS.alpha / (looks * (self.n - 1))
        pairs = list(zip(one, leader, strict=True))
        if groups == [None] and all(score in (0, 1) for own in pairs[0] for score in own):
            return is_beaten(np.array(one[0]), np.array(leader[0]), level)
        gaps = [np.subtract(*pair) for pair in pairs]
        is_lower = self._mean([float(own.mean()) for own in gaps]) < 0
        flipped = [
            (own if of is None else of.totals(own)).tolist() for own, of in zip(gaps, groups, strict=True)
        ]
        return is_lower and sign_flips(flipped, list(self.scorer.objectives.tasks.values())) / 2 <= level

    def _mean(self, means: Sequence[float]) -> float:
        return self.scorer.objectives.value(tuple(means))


@dataclass(frozen=True, kw_only=True)
class ValidationRace:
    """Runs races on validation."""

    store: RunStore
    evaluator: TrialEvaluator
    scorer: Scorer
    notify: Callable[[Event], None]

    def run(
        self, name: str, trials: Sequence[StoredTrial], seed: int, keep: Collection[StoredTrial] = ()
    ) -> list[tuple[StoredTrial, Evaluation]]:
        """Race trials, and return those that were scored on all of validation, in the given order.

        If a trial fails, trials that were dropped before are raced again without it.
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
                return [(trials[i], blocks.results[i]) for i in alive]

    def _race(
        self, race: Race, trials: Sequence[StoredTrial], blocks: _Blocks, kept: Collection[int]
    ) -> list[int]:
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
        self.results: dict[int, Evaluation] = {}

    def successful(self) -> list[int]:
        failed = {i for i, result in self.results.items() if result.failure is not None}
        return [i for i in range(len(self._trials)) if i not in failed]

    def score(self, trials: Sequence[int], items: Sequence[str], *, is_last: bool) -> None:
        place = {self._trials[i].id: i for i in trials}
        chosen = [self._trials[i] for i in trials]
        for trial, result in self._evaluator.evaluate_all(chosen, "validation", items):
            i = place[trial.id]
            is_new = i not in self.results or not result.replayed
            if is_new:
                self.results[i] = result
            if is_last or result.failure is not None:
                self.end([i])
            elif is_new:
                self._report("more", i)

    def end(self, trials: Sequence[int]) -> None:
        for i in trials:
            if i not in self._ended:
                self._ended.add(i)
                self._report("ended", i)

    def _report(self, kind: Literal["ended", "more"], i: int) -> None:
        trial, result = self._trials[i], self.results[i]
        is_complete = len(result.scores) == len(self._scorer.task_of)
        self._notify(
            Event(
                kind=kind,
                search=trial.search,
                split="validation",
                done=len(self._ended),
                total=len(self._trials),
                trial=trial,
                evaluation=result,
                value=self._scorer.value(result) if is_complete else None,
                replayed=result.replayed,
            )
        )
