"""Count the progress of a run: scored models, best values, and an estimate of the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from kingyo.dry_run import STAGES, Cost, CostPart, total
from kingyo.evolution import BASELINES, MAIN, Event
from kingyo.run.config import WEIGHT_SEARCH, WEIGHT_SEARCH_LABEL
from kingyo.types import Split


@dataclass(kw_only=True)
class PartProgress:
    """A part of a run and its progress.

    Attributes:
        part: the part, with the number of models that is expected now.
        scored: answers of each scored model by trial id, including earlier sessions; a copied score has none.
        new, failed: number of models that were scored, and that failed, in this session.
        replayed: number of stored trials that were replayed so far; 0 after the replay.
        began, ended: seconds of the clock; None before it.
    """

    part: CostPart
    scored: dict[int, int] = field(default_factory=dict[int, int])
    new: int = 0
    failed: int = 0
    replayed: int = 0
    began: float | None = None
    ended: float | None = None

    @property
    def models(self) -> int | None:
        """Number of models of the part; None if only time limits them."""
        if self.ended is not None:
            return len(self.scored)
        return None if self.part.models is None else max(self.part.models, len(self.scored))

    @property
    def answers(self) -> int:
        """Number of graded answers."""
        return sum(self.scored.values())

    @property
    def answers_left(self) -> float | None:
        """Number of answers left, if further models give as many as those so far; None if time limits it."""
        if self.models is None:
            return None
        each = self.answers / len(self.scored) if self.scored else self.part.items
        return (self.models - len(self.scored)) * each

    def seconds(self, now: float) -> float:
        """Return the seconds of this session."""
        return 0.0 if self.began is None else (now if self.ended is None else self.ended) - self.began


class RunProgress:
    """Follow a run by its events.

    Args:
        cost: expected cost of the run.
        clock: monotonic clock in seconds.
    """

    def __init__(self, cost: Cost, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.running: PartProgress | None = None
        self.best: dict[str, tuple[float, bool]] = {}
        """Row -> the best value, and whether it is estimated."""
        self._parts = {
            (part.name, part.split): PartProgress(
                part=part, scored=dict(cost.stored.get((part.name, part.split), {}))
            )
            for part in cost.parts
        }
        self._measured_since: float | None = None
        self._seconds = 0.0
        self._answers = 0

    def take(self, event: Event) -> None:
        """Update the progress with an event."""
        if event.kind == "phase":
            self._begin_part(event)
        elif event.kind in ("ended", "more"):
            self._count(event)
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
        """Estimate the seconds left of the run from the time per answer; None before it is measured."""
        return total(self._seconds_left(each) for each in self._parts.values())

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

    def _count(self, event: Event) -> None:
        """Count a model, or more answers of it. The first new one also loads models, so it is not timed."""
        assert event.trial is not None and event.evaluation is not None, "events of trials have both"
        running, trial = self.running, event.trial.id
        if running is None:
            return
        graded = 0 if event.evaluation.copied_from is not None else len(event.evaluation.scores)
        before = running.scored.get(trial, 0)
        running.scored[trial] = max(graded, before)
        is_replay = event.replayed and event.split == "fit" and event.search != BASELINES
        running.replayed = event.done if is_replay else 0
        if event.replayed:
            return
        if event.kind == "ended":
            running.new += 1
            running.failed += event.evaluation.failure is not None
        if self._measured_since is None:
            self._measured_since = self.clock()
        else:
            self._answers += max(0, graded - before)
            self._seconds = self.clock() - self._measured_since

    def _seconds_left(self, progress: PartProgress) -> float | None:
        known: list[float] = []
        answers = progress.answers_left
        if answers == 0:
            return 0.0
        if answers is not None and self._answers:
            known.append(answers * self._seconds / self._answers)
        if progress.part.seconds is not None:
            known.append(max(0.0, progress.part.seconds - progress.seconds(self.clock())))
        return min(known, default=None)


def row_name(search: str, split: Split) -> str:
    """Return the name of the row of a search and a split."""
    if split != "fit":
        return split
    names = {MAIN: "search", WEIGHT_SEARCH: WEIGHT_SEARCH_LABEL, BASELINES: BASELINES}
    return names.get(search, f"control {search}")
