"""The race on validation: trials that are clearly behind are scored on no more items.

The trials of a race are the finalists of a search, or the baselines. All get the same items in the same
order. After half of the items, and before that after an eighth, a 32nd, …, if these are 10 items or more,
each trial is compared with the leader: the one with the best mean so far (for several tasks, the weighted
mean of their means). So there is no look below 20 items. Fit scores do not count in the race; they do among
the finalists that finish it (``kingyo.search.evolution.picking``).

A trial is dropped if its scores are clearly below the leader's, paired by item: by an exact sign test if
there is one task with scores of 0 and 1; otherwise by flipping the signs of the weighted differences
(``kingyo.stats.sign_flips``), which compares means. Items that belong together flip together.

**Error rate.** The tests are one-sided, each at the level α / (looks × (trials − 1)). The truly best trial on
validation is dropped with probability at most α: at a look it must lose to one of the others, with
probability at most (trials − 1) × level, and the union bound over the looks gives α.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kingyo.core.types import Evaluation
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.screens import interleave
from kingyo.search.evolution.trial_evaluation import TrialEvaluator
from kingyo.search.evolution.types import Event
from kingyo.stats import Groups, sign_flips
from kingyo.store import RunStore, StoredTrial

BLOCK = 10  # fewest items before a look
ALPHA = 0.05  # largest chance that the truly best trial is dropped


@dataclass(frozen=True, kw_only=True)
class Race:
    """The rules of a race of n trials. There is no look with several objectives or set measures."""

    scorer: Scorer
    n: int
    seed: int

    @cached_property
    def order(self) -> tuple[str, ...]:
        names = list(self.scorer.task_of)
        rng = np.random.default_rng([self.seed, len(names)])
        parts = [[own[int(i)] for i in rng.permutation(len(own))] for own in self.scorer.columns]
        return tuple(names[column] for column in interleave(parts))

    @property
    def stops(self) -> tuple[int, ...]:
        """The numbers of items after which there is a look, and the total."""
        n, stops = len(self.order), list[int]()
        has_looks = self.n > 1 and not (self.scorer.objectives.names or self.scorer.objectives.by_set)
        stop = n // 2
        while has_looks and stop >= BLOCK:
            stops.append(stop)
            stop //= 4
        return (*reversed(stops), n)

    def still_in(self, rows: Mapping[int, Mapping[str, float]], stop: int) -> list[int]:
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
        level = ALPHA / ((len(self.stops) - 1) * (self.n - 1))
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


def is_beaten(one: NDArray[np.float64], other: NDArray[np.float64], level: float) -> bool:
    """Return whether one is right on fewer items than the other, by a one-sided sign test at this level."""
    from scipy.special import bdtr  # pyright: ignore[reportMissingTypeStubs]

    lost, won = int((other > one).sum()), int((one > other).sum())
    return lost > won and float(bdtr(won, lost + won, 0.5)) <= level


class ValidationRace:
    """Races trials on validation, block by block, and reports each once it is done."""

    def __init__(
        self,
        store: RunStore,
        evaluator: TrialEvaluator,
        scorer: Scorer,
        trials: Sequence[StoredTrial],
        seed: int,
    ) -> None:
        self._store, self._evaluator, self._trials = store, evaluator, trials
        self._rules = Race(scorer=scorer, n=len(trials), seed=seed)
        self._results: dict[int, Evaluation] = {}
        self._ended: set[int] = set()

    def run(self, name: str, keep: Collection[StoredTrial] = ()) -> list[tuple[StoredTrial, Evaluation]]:
        """Return the trials that were scored on all of validation, in the given order.

        Those to ``keep`` are never dropped. If a trial fails, those that were dropped before are raced again
        without it.
        """
        self._evaluator.notify(Event(kind="phase", search=name, split="validation", total=len(self._trials)))
        while True:
            n_left = len(self._successful())
            alive = self._race(keep)
            if len(self._successful()) == n_left:
                return [(self._trials[i], self._results[i]) for i in alive]

    def _race(self, keep: Collection[StoredTrial]) -> list[int]:
        alive, rules = self._successful(), self._rules
        for start, stop in zip((0, *rules.stops), rules.stops, strict=False):
            is_last = stop == len(rules.order)
            self._score(alive, rules.order[start:stop], is_last=is_last)
            alive = [i for i in alive if i in self._successful()]
            if alive and not is_last:
                rows = {i: self._store.scores_of(self._trials[i].id, "validation") for i in alive}
                remaining = {*rules.still_in(rows, stop), *(i for i in alive if self._trials[i] in keep)}
                self._end(i for i in alive if i not in remaining)
                alive = [i for i in alive if i in remaining]
        return alive

    def _successful(self) -> list[int]:
        failed = {i for i, result in self._results.items() if result.failure is not None}
        return [i for i in range(len(self._trials)) if i not in failed]

    def _score(self, trials: Sequence[int], items: Sequence[str], *, is_last: bool) -> None:
        place = {self._trials[i].id: i for i in trials}
        chosen = [self._trials[i] for i in trials]
        for trial, result in self._evaluator.evaluate_all(chosen, "validation", items):
            i = place[trial.id]
            is_new = i not in self._results or not result.replayed
            if is_new:
                self._results[i] = result
            if is_last or result.failure is not None:
                self._end([i])
            elif is_new:
                self._report("more", i)

    def _end(self, trials: Iterable[int]) -> None:
        for i in trials:
            if i not in self._ended:
                self._ended.add(i)
                self._report("ended", i)

    def _report(self, kind: Literal["ended", "more"], i: int) -> None:
        trial, result, scorer = self._trials[i], self._results[i], self._rules.scorer
        is_complete = len(result.scores) == len(scorer.task_of)
        event = Event.of(trial, "validation", result, len(self._ended), len(self._trials))
        value = scorer.value(result) if is_complete else None
        self._evaluator.notify(replace(event, kind=kind, value=value))
