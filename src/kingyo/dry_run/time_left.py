"""Progress of a run and the time left, from its events and its expected cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from kingyo.dry_run.cost import STAGES, Cost, CostPart, Stage, total
from kingyo.evolution import BASELINES, MAIN, Event
from kingyo.run.config import PARAMETERS
from kingyo.types import Split

GRACE = 0.1
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
        until = (1 + GRACE) * self.seconds if self.warmup is None else self.warmup.until
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
        self._legs = {
            (part.name, part.split): _begun(part, cost.stored.get((part.name, part.split), {}), cost.workers)
            for part in cost.parts
        }
        self._workers = cost.workers
        self._clock = clock
        self._since = clock()
        self.running: ProgressPart | None = None

    @property
    def has_begun(self) -> bool:
        """Whether any part has begun."""
        return any(leg.state != "waiting" for leg in self._legs.values())

    def take(self, event: Event) -> None:
        """Update the progress with an event."""
        if event.kind == "phase":
            self._turn(event)
        elif event.kind in ("ended", "more") and self.running is not None:
            self._tick(is_counted=not event.replayed)
            self.running.take(event)

    def finish(self) -> None:
        """Mark all parts as done."""
        self._end()
        for leg in self._legs.values():
            leg.state = "done"

    def legs(self, stage: Stage | None = None) -> list[ProgressPart]:
        """Return the parts of a stage, or of all stages in order."""
        every = list(self._legs.values())
        return [leg for each in STAGES for leg in every if leg.part.stage == each and stage in (None, each)]

    def seconds(self, leg: ProgressPart) -> float:
        """Return the seconds of a part in this session."""
        return leg.seconds + (self._clock() - self._since if leg is self.running else 0.0)

    def left(self, legs: Sequence[ProgressPart]) -> float | None:
        """Estimate the seconds left for parts; None before an estimate is possible."""
        return total(self._seconds_left(leg) for leg in legs)

    def share(self) -> float:
        """Return the share of answers that are done, 0 to 1; 0 while their number is unknown."""
        left = total(self._answers_left(leg) for leg in self.legs())
        done = sum(leg.answers for leg in self.legs())
        return 0.0 if left is None or not done else done / (done + left)

    def _turn(self, event: Event) -> None:
        """End the running part and begin the next."""
        self._end()
        key: _Key = event.search, event.split
        leg = self._legs.get(key) or ProgressPart(
            part=_unforeseen(event), total=event.total, workers=self._workers
        )
        self._legs[key] = leg
        leg.total, leg.state, leg.done = event.total, "running", 0
        self._since, self.running = self._clock(), leg

    def _end(self) -> None:
        if self.running is not None:
            self._tick(is_counted=True)
            leg, self.running = self.running, None
            leg.state, leg.total = "done", leg.done if leg.total is None else leg.total

    def _tick(self, *, is_counted: bool) -> None:
        """Add the time since the last event to the running part, unless the event was replayed."""
        now = self._clock()
        if self.running is not None and is_counted:
            self.running.seconds += now - self._since
        self._since = now

    def _seconds_left(self, leg: ProgressPart) -> float | None:
        """Estimate from the part's own time per model, else from the time per answer of other parts."""
        if leg.state == "done":
            return 0.0
        limit = None if leg.part.seconds is None else max(0.0, leg.part.seconds - self.seconds(leg))
        models = None if leg.total is None else leg.total - leg.done
        if models == 0:
            return 0.0
        estimate: float | None = None
        if models is not None and leg.per_model is not None:
            estimate = models * leg.per_model
        elif models is not None:
            answers, each = self._answers_left(leg), self._per_answer(leg)
            estimate = None if answers is None or each is None else answers * each
        return limit if estimate is None else estimate if limit is None else min(estimate, limit)

    def _answers_left(self, leg: ProgressPart) -> float | None:
        if leg.state == "done":
            return 0.0
        if leg.total is None:
            seconds, each = leg.part.seconds, self._per_answer(leg)
            return None if seconds is None or not each else max(0.0, seconds - self.seconds(leg)) / each
        left = (leg.total - leg.done) * (leg.answers / leg.done if leg.done else leg.part.items)
        like = [self._legs[name, "fit"] for name in leg.part.like if (name, "fit") in self._legs]
        most = [each.answers + (self._answers_left(each) or 0.0) for each in like]
        return min(left, max(0.0, sum(most) - leg.answers)) if most else left

    def _per_answer(self, leg: ProgressPart) -> float | None:
        """Return seconds per answer: of the part, of the last part on its split, or of the likest part.

        Answers cost less where each model gives more of them, so the likest part has about as many per model.
        """
        measured = [each for each in self._legs.values() if each.per_answer]
        alike = [each for each in measured if each.part.split == leg.part.split]
        others = sorted(measured, key=lambda each: _unlike(each, leg.part.items))
        return next((each.per_answer for each in (leg, *alike[::-1], *others) if each.per_answer), None)


def _unlike(leg: ProgressPart, items: int) -> float:
    """Return the distance of two numbers of answers per model, on a log scale."""
    return abs(math.log((leg.new_answers / leg.new) / max(1, items))) if leg.new_answers else math.inf


def _begun(part: CostPart, stored: Mapping[int, int], workers: int) -> ProgressPart:
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


def _unforeseen(event: Event) -> CostPart:
    stages: dict[str, Stage] = {BASELINES: "baselines", MAIN: "search", PARAMETERS: "search"}
    stage = stages.get(event.search, "controls") if event.split == "fit" else event.split
    return CostPart(stage=stage, name=event.search, split=event.split, models=event.total, items=0)
