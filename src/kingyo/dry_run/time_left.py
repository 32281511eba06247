"""Progress of a run and the time left, from its events and its expected cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from kingyo.dry_run.cost import STAGES, Cost, CostPart, Stage, total
from kingyo.evolution import BASELINES, MAIN, Event
from kingyo.run.config import WEIGHT_SEARCH
from kingyo.types import Split

WARMUP_SHARE = 0.1
"""Share of the first model's time after it in which other models count as warm-up: a race ends several."""

State: TypeAlias = Literal["waiting", "running", "done"]
_Key: TypeAlias = tuple[str, Split]


@dataclass(frozen=True, kw_only=True)
class Warmup:
    """The first model of each worker on a part in this session, and those that end soon after the first.

    They are slower than others because they load models and compile kernels.

    Attributes:
        until: seconds of the part after which a worker's second model no longer counts.
        seconds, models, answers: totals of the warm-up.
    """

    until: float
    seconds: float
    models: int
    answers: int


@dataclass(kw_only=True)
class ProgressPart:
    """A part of a run and its progress.

    Attributes:
        part: the part.
        total: number of models, at least those that are done; None if the budget is in seconds.
        done: models scored so far.
        answers: answers graded so far, including earlier sessions.
        new, new_answers: models and answers of this session.
        seconds: wall time of this session.
        warmup: the warm-up of this session; None before its first model.
        state: waiting, running or done.
        scored: items of each trial, by trial id.
        workers: number of models scored at the same time.
    """

    part: CostPart
    total: int | None
    done: int = 0
    answers: int = 0
    new: int = 0
    new_answers: int = 0
    seconds: float = 0.0
    warmup: Warmup | None = None
    state: State = "waiting"
    scored: dict[int, int] = field(default_factory=dict[int, int])
    workers: int = 1

    def take(self, event: Event) -> None:
        """Count a scored model, or more items of one. Copied scores cost no answers."""
        trial, evaluation = event.trial, event.evaluation
        assert trial is not None and evaluation is not None, "events of trials have both"
        self.done = max(self.done, event.done)
        if self.total is not None:
            self.total = max(self.total, self.done)
        graded = 0 if evaluation.copied_from is not None else len(evaluation.scores)
        more = max(0, graded - self.scored.get(trial.id, 0))
        self.scored[trial.id] = max(graded, self.scored.get(trial.id, 0))
        self.answers += more
        if not event.replayed:
            self.new += event.kind == "ended"
            self.new_answers += more
            self._warm_up()

    def _warm_up(self) -> None:
        until = (1 + WARMUP_SHARE) * self.seconds if self.warmup is None else self.warmup.until
        if self.new and (self.new <= self.workers or self.seconds <= until):
            self.warmup = Warmup(until=until, seconds=self.seconds, models=self.new, answers=self.new_answers)

    @property
    def per_model(self) -> float | None:
        """Seconds per model after the warm-up; None if no model ended after it."""
        first = self.warmup
        if first is None or self.new <= first.models:
            return None
        return (self.seconds - first.seconds) / (self.new - first.models)

    @property
    def per_answer(self) -> float | None:
        """Seconds per answer after the warm-up; None if no answer came after it."""
        first = self.warmup
        if first is None or self.new_answers <= first.answers:
            return None
        return (self.seconds - first.seconds) / (self.new_answers - first.answers)


class TimeLeft:
    """Follow a run by its events. Unexpected parts are added when they start.

    Args:
        cost: expected cost of the run.
        clock: monotonic clock in seconds.
    """

    def __init__(self, cost: Cost, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = {
            (part.name, part.split): _progress(
                part, cost.stored.get((part.name, part.split), {}), cost.workers
            )
            for part in cost.parts
        }
        self._workers = cost.workers
        self._clock = clock
        self._since = clock()
        self.running: ProgressPart | None = None

    @property
    def has_begun(self) -> bool:
        """Whether any part has begun."""
        return any(part.state != "waiting" for part in self._parts.values())

    def take(self, event: Event) -> None:
        """Update the progress with an event."""
        if event.kind == "phase":
            self._begin_part(event)
        elif event.kind in ("ended", "more") and self.running is not None:
            self._tick(is_counted=not event.replayed)
            self.running.take(event)

    def finish(self) -> None:
        """Mark all parts as done."""
        self._end_part()
        for part in self._parts.values():
            part.state = "done"

    def parts(self, stage: Stage | None = None) -> list[ProgressPart]:
        """Return the parts of a stage, or of all stages in order."""
        every = list(self._parts.values())
        return [
            progress
            for name in STAGES
            for progress in every
            if progress.part.stage == name and stage in (None, name)
        ]

    def seconds(self, part: ProgressPart) -> float:
        """Return the seconds of a part in this session."""
        return part.seconds + (self._clock() - self._since if part is self.running else 0.0)

    def left(self, parts: Sequence[ProgressPart]) -> float | None:
        """Estimate the seconds left for parts; None before an estimate is possible."""
        return total(self._seconds_left(part) for part in parts)

    def share(self) -> float:
        """Return the share of answers that are done, 0 to 1; 0 while their number is unknown."""
        left = total(self._answers_left(part) for part in self.parts())
        done = sum(part.answers for part in self.parts())
        return 0.0 if left is None or not done else done / (done + left)

    def _begin_part(self, event: Event) -> None:
        """End the running part and begin the next."""
        self._end_part()
        key: _Key = event.search, event.split
        part = self._parts.get(key) or ProgressPart(
            part=_unexpected(event), total=event.total, workers=self._workers
        )
        self._parts[key] = part
        part.total, part.state, part.done = event.total, "running", 0
        self._since, self.running = self._clock(), part

    def _end_part(self) -> None:
        if self.running is not None:
            self._tick(is_counted=True)
            part, self.running = self.running, None
            part.state, part.total = "done", part.done if part.total is None else part.total

    def _tick(self, *, is_counted: bool) -> None:
        """Add the time since the last event to the running part, unless the event was replayed."""
        now = self._clock()
        if self.running is not None and is_counted:
            self.running.seconds += now - self._since
        self._since = now

    def _seconds_left(self, progress: ProgressPart) -> float | None:
        """Estimate from the part's own time per model, else from the time per answer of other parts."""
        if progress.state == "done":
            return 0.0
        limit = (
            None
            if progress.part.seconds is None
            else max(0.0, progress.part.seconds - self.seconds(progress))
        )
        models = None if progress.total is None else progress.total - progress.done
        if models == 0:
            return 0.0
        estimate: float | None = None
        if models is not None and progress.per_model is not None:
            estimate = models * progress.per_model
        elif models is not None:
            answers, speed = self._answers_left(progress), self._per_answer(progress)
            estimate = None if answers is None or speed is None else answers * speed
        return limit if estimate is None else estimate if limit is None else min(estimate, limit)

    def _answers_left(self, progress: ProgressPart) -> float | None:
        if progress.state == "done":
            return 0.0
        if progress.total is None:
            seconds, speed = progress.part.seconds, self._per_answer(progress)
            return (
                None if seconds is None or not speed else max(0.0, seconds - self.seconds(progress)) / speed
            )
        left = (progress.total - progress.done) * (
            progress.answers / progress.done if progress.done else progress.part.items
        )
        like = [self._parts[name, "fit"] for name in progress.part.like if (name, "fit") in self._parts]
        most = [other.answers + (self._answers_left(other) or 0.0) for other in like]
        return min(left, max(0.0, sum(most) - progress.answers)) if most else left

    def _per_answer(self, progress: ProgressPart) -> float | None:
        """Return seconds per answer: of the part, of the last part on its split, or of the most similar part.

        An answer takes less time if each model gives more of them, so similar parts have as many per model.
        """
        measured = [progress for progress in self._parts.values() if progress.per_answer]
        same_split = [other for other in measured if other.part.split == progress.part.split]
        others = sorted(measured, key=lambda other: _distance(other, progress.part.items))
        candidates = (progress, *same_split[::-1], *others)
        return next((progress.per_answer for progress in candidates if progress.per_answer), None)


def _distance(progress: ProgressPart, items: int) -> float:
    """Return the distance of two numbers of answers per model, on a log scale."""
    return (
        abs(math.log((progress.new_answers / progress.new) / max(1, items)))
        if progress.new_answers
        else math.inf
    )


def _progress(part: CostPart, stored: Mapping[int, int], workers: int) -> ProgressPart:
    """Return a part with the progress of earlier sessions."""
    total = None if part.models is None else max(part.models, len(stored))
    return ProgressPart(
        part=part,
        total=total,
        done=len(stored),
        answers=sum(stored.values()),
        scored=dict(stored),
        workers=workers,
    )


def _unexpected(event: Event) -> CostPart:
    stages: dict[str, Stage] = {BASELINES: "baselines", MAIN: "search", WEIGHT_SEARCH: "search"}
    stage = stages.get(event.search, "controls") if event.split == "fit" else event.split
    return CostPart(stage=stage, name=event.search, split=event.split, models=event.total, items=0)
