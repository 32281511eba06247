"""The rules of the race on validation: trials that are clearly behind are scored on no more items.

The trials of a race are the finalists of a search, or the baselines. All get the same items in the same
order. After half of the items, and before that after an eighth, a 32nd, …, if these are 10 items or more,
each trial is compared with the leader: the one with the best mean so far (for several tasks, the weighted
mean of their means). So there is no look below 20 items. Fit scores do not count in the race; they do among
the finalists that finish it (``kingyo.evolution.picking``).

A trial is dropped if its scores are clearly below the leader's, paired by item: by the exact sign test of
``kingyo.screens`` if there is one task with scores of 0 and 1; otherwise by flipping the signs of the
weighted differences (``kingyo.stats.sign_flips``), which compares means.

**Error rate.** The tests are one-sided, each at the level α / (looks × (trials − 1)). The truly best trial on
validation is dropped with probability at most α: at a look it must lose to one of the others, with
probability at most (trials − 1) × level, and the union bound over the looks gives α.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kingyo.evolution.scorer import Scorer
from kingyo.screens import ScreenSettings, interleave, is_beaten
from kingyo.stats import sign_flips

SETTINGS = ScreenSettings()  # default block and alpha
Row = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Race:
    """The rules of one race.

    Attributes:
        scorer: scorer of the split.
        n: number of trials at the start, including those that fail, so that a failure drops no other trial.
        seed: for the order of the items.
        has_looks: whether trials may be dropped.
    """

    scorer: Scorer
    n: int
    seed: int
    has_looks: bool = True

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Return the items in a random order, in which the tasks are evenly mixed."""
        names = list(self.scorer.task_of)
        rng = np.random.default_rng([self.seed, len(names)])
        parts = [[own[int(i)] for i in rng.permutation(len(own))] for own in self.scorer.columns]
        return tuple(names[column] for column in interleave(parts))

    @property
    def stops(self) -> tuple[int, ...]:
        """Return the numbers of items after which there is a look, and the total.

        There are few looks, because each remaining trial is merged again, and few items fill no batch.
        """
        n, stops = len(self.order), list[int]()
        stop = n // 2
        while self.has_looks and self.n > 1 and stop >= SETTINGS.block:
            stops.append(stop)
            stop //= 4
        return (*reversed(stops), n)

    def still_in(self, rows: Mapping[int, Row], stop: int) -> list[int]:
        """Return the trials that are not clearly behind the leader.

        Args:
            rows: trial -> item scores, for the trials that are still in; complete for the first ``stop``
                items of the order. A trial with scores on all items is never dropped.
            stop: number of items scored so far.
        """
        items = self.order[:stop]
        tasks = [self._by_task(items, row) for row in rows.values()]
        if not all(tasks[0]):
            return list(rows)  # a task has no item yet
        means = [self._mean([sum(own) / len(own) for own in scores]) for scores in tasks]
        leader = max(range(len(means)), key=lambda i: means[i])
        return [
            trial
            for i, (trial, row) in enumerate(rows.items())
            if len(row) == len(self.order) or not self._is_behind(tasks[i], tasks[leader])
        ]

    def _is_behind(self, one: Sequence[Sequence[float]], leader: Sequence[Sequence[float]]) -> bool:
        looks = len(self.stops) - 1
        level = SETTINGS.alpha / (looks * (self.n - 1))
        pairs = list(zip(one, leader, strict=True))
        if len(pairs) == 1 and all(score in (0, 1) for own in pairs[0] for score in own):
            return is_beaten(np.array(one[0]), np.array(leader[0]), level)
        gaps = [[x - y for x, y in zip(*pair, strict=True)] for pair in pairs]
        is_lower = self._mean([sum(own) / len(own) for own in gaps]) < 0
        return is_lower and sign_flips(gaps, list(self.scorer.objectives.tasks.values())) / 2 <= level

    def _by_task(self, items: Sequence[str], row: Row) -> list[list[float]]:
        return self.scorer.by_task((item, row[item]) for item in items)

    def _mean(self, means: Sequence[float]) -> float:
        return self.scorer.objectives.value(tuple(means))
