"""The rules of the race on validation: a trial that is clearly behind is scored on no more items.

The trials of a race are the finalists of a search, or the baselines. All meet the same items in the same
order. After half of them, and before that after an eighth, a 32nd, …, as far as these are 10 items or more,
each is compared with the leader, the one with the best mean so far (of several tasks, the weighted mean of
their means). So there is no look below 20 items. Fit has no say in the race; it has one among the finalists
that met all items (``kingyo.evolution.picking``).

A trial is out if its scores are clearly below the leader's, paired by item: by the exact sign test of
``kingyo.screens.racing`` where one task is scored right or wrong, else by flipping the signs of the weighted
differences (``kingyo.stats.sign_flips``), which compares means.

**Error rate.** The tests are one-sided, each at the level α / (looks × (trials − 1)). The trial that is
truly best on validation is out with probability at most α: at a look it must lose to one of the others, so at
most (finalists − 1) × level, and the union bound over the looks does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kingyo.evolution.objectives import Scorer
from kingyo.screens import ScreenSettings
from kingyo.screens.racing import is_beaten
from kingyo.screens.strata import interleave
from kingyo.stats import sign_flips

SETTINGS = ScreenSettings()  # block and alpha, as of a search that races
Row = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Race:
    """The rules of one race.

    Attributes:
        scorer: of the split.
        n: how many trials began; those that failed count too, so that a failure drops nobody.
        seed: for the order of the items.
        has_looks: whether anybody may be out before all items are scored.
    """

    scorer: Scorer
    n: int
    seed: int
    has_looks: bool = True

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The items, the first to be scored first: a random order, in which each task has its share."""
        names = list(self.scorer.task_of)
        rng = np.random.default_rng([self.seed, len(names)])
        parts = [[own[int(i)] for i in rng.permutation(len(own))] for own in self.scorer.columns]
        return tuple(names[column] for column in interleave(parts))

    @property
    def stops(self) -> tuple[int, ...]:
        """After how many items there is a look, and how many there are at the end.

        Looks are few: whoever goes on is merged once more, and few items fill no batch.
        """
        n, stops = len(self.order), list[int]()
        stop = n // 2
        while self.has_looks and self.n > 1 and stop >= SETTINGS.block:
            stops.append(stop)
            stop //= 4
        return (*reversed(stops), n)

    def still_in(self, rows: Mapping[int, Row], stop: int) -> list[int]:
        """Return the trials that go on after a look: those that are not clearly behind the leader.

        Args:
            rows: trial -> the scores of its items, of those that are still in; the first stops of the
                order without a gap. Whoever has all items is never out.
            stop: how many items of the order have been scored.
        """
        met = self.order[:stop]
        tasks = [self._by_task(met, row) for row in rows.values()]
        if not all(tasks[0]):
            return list(rows)  # a task has no item yet
        means = [self._mean([sum(own) / len(own) for own in each]) for each in tasks]
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

    def _by_task(self, met: Sequence[str], row: Row) -> list[list[float]]:
        return self.scorer.by_task((item, row[item]) for item in met)

    def _mean(self, means: Sequence[float]) -> float:
        return self.scorer.objectives.value(tuple(means))
