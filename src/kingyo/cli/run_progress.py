"""Count the progress of a run: scored models, best values, and an estimate of the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from kingyo.cli.part_progress import PartProgress
from kingyo.dry_run import STAGES, Cost, total
from kingyo.evolution import BASELINES, MAIN, Event
from kingyo.run.choice import CHOICE
from kingyo.run.config import TRAININGS, TUNED, TUNED_PARENT, WEIGHT_SEARCH, WEIGHT_SEARCH_LABEL
from kingyo.types import Split


class RunProgress:
    """Follow a run by its events.

    Args:
        cost: expected cost of the run.
        n_workers: models that are scored at a time.
        clock: monotonic clock in seconds.
    """

    def __init__(self, cost: Cost, n_workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.running: PartProgress | None = None
        self.best: dict[str, tuple[float, bool]] = {}
        """Row -> the best value, and whether it is estimated."""
        self._n_workers = n_workers
        self._parts = {
            (part.name, part.split): PartProgress(
                part=part, scored=dict(cost.stored.get((part.name, part.split), {}))
            )
            for part in cost.parts
        }
        self._updated = self.clock()

    def take(self, event: Event) -> None:
        """Update the progress with an event."""
        if event.kind == "phase":
            self._begin_part(event)
        elif event.kind not in ("told", "said") and self.running is not None:
            self._count(self.running, event)
        row = row_name(event.search, event.split)
        if event.value is not None and (event.split == "fit" or event.search == MAIN):
            self.best[row] = max(self.best.get(row, (event.value, False)), (event.value, event.is_estimate))

    def rows(self) -> Mapping[str, list[PartProgress]]:
        """Return the parts of each row: a search, or validation or test of all searches."""
        rows: dict[str, list[PartProgress]] = {}
        for each in sorted(self._parts.values(), key=lambda each: STAGES.index(each.part.stage)):
            rows.setdefault(row_name(each.part.name, each.part.split), []).append(each)
        return rows

    def seconds_left(self) -> float | None:
        """Estimate the seconds left of the run; None before the first answers are timed."""
        since = self.clock() - self._updated
        return total(
            None
            if (left := self._seconds_left(each)) is None
            else max(0.0, left - since)
            if each is self.running
            else left
            for each in self._parts.values()
        )

    def share(self) -> float | None:
        """Return the share of answers that are done, 0 to 1; None if time limits them."""
        done = sum(each.answers for each in self._parts.values())
        left = total(each.answers_left for each in self._parts.values())
        return None if left is None else done / max(1, done + left)

    def _begin_part(self, event: Event) -> None:
        now = self.clock()
        if self.running is not None:
            self.running.ended = now
        self.running = self._parts.get((event.search, event.split))
        if self.running is not None:
            self.running.part = replace(self.running.part, models=event.total)
            self.running.began = now
        self._updated = now

    def _count(self, running: PartProgress, event: Event) -> None:
        now = self._updated = self.clock()
        if event.kind == "trained":
            running.train(event.done, event.total or 0, now)
        elif event.kind == "answered":
            running.answer(event, now)
        else:
            running.score(event, now)
            is_replay = event.replayed and event.split == "fit" and event.search != BASELINES
            running.replayed = event.done if is_replay else 0

    def _seconds_left(self, progress: PartProgress) -> float | None:
        """Estimate the seconds left of a part from the time of its answers, or from a similar part."""
        answers, now = progress.answers_left, self.clock()
        if answers == 0:
            return 0.0
        known: list[float] = []
        scoring = None if answers is None else self._scoring_seconds(progress, answers)
        training = self._training_seconds(progress)
        if scoring is not None and training is not None:
            known.append(scoring + training)
        if progress.part.seconds is not None:
            known.append(max(0.0, progress.part.seconds - progress.seconds(now)))
        return min(known, default=None)

    def _scoring_seconds(self, progress: PartProgress, answers: float) -> float | None:
        """Return the time of answers of a part.

        Before its first, they take as long as in the last part whose models have nearly as many items.
        """
        if progress.pace.seconds is not None:
            return answers * progress.pace.seconds
        if progress.models is None:
            return None
        measured = [each for each in reversed(self._parts.values()) if each.costs.answers]
        if measured:
            similar = min(measured, key=lambda each: _unlike(each.part.items, progress.part.items))
            models = progress.models - len(progress.scored)
            parallel = max(1, min(self._n_workers, models))
            return similar.costs.estimate(models, answers) / parallel
        first = None if self.running is None else self.running.pace.seconds
        return None if first is None else answers * first

    def _training_seconds(self, progress: PartProgress) -> float | None:
        """Return the time left of the training of a part; before it begins, that of the searches on fit."""
        if progress.part.name not in TRAININGS or progress.part.split != "fit" or progress.scored:
            return 0.0
        if progress.steps is not None:
            done, steps = progress.steps
            pace = progress.step_pace.seconds
            return 0.0 if done == steps else None if pace is None else (steps - done) * pace
        searches = [each for each in self._parts.values() if each.part.stage == "search"]
        left = [self._seconds_left(each) for each in searches]
        spent = sum(each.costs.seconds for each in searches)
        more = total(left)
        return None if more is None else spent + more * self._n_workers


def _unlike(items: int, others: int) -> float:
    """Return how many times one number of items is larger than the other."""
    return max(items, others) / max(1, min(items, others))


def row_name(search: str, split: Split) -> str:
    """Return the name of the row of a search and a split."""
    if split != "fit":
        return split
    tuning = {TUNED: "tuning", TUNED_PARENT: "tuning, parent"}
    searches = {CHOICE: "choice of sources", WEIGHT_SEARCH: WEIGHT_SEARCH_LABEL, MAIN: "search"}
    names = {**searches, BASELINES: BASELINES, **tuning}
    return names.get(search, f"control {search}")
