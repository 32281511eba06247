"""Progress of a run and the time left, from its events and its expected cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from kingyo.evolution import BASELINES, MAIN, Event
from kingyo.outlook.cost import STAGES, Cost, Part, Stage, total
from kingyo.run.config import PARAMETERS
from kingyo.types import Split

GRACE = 0.1
"""Models that end within this share of the first one's time after it are warm-up: a race ends several."""

State: TypeAlias = Literal["waiting", "running", "done"]
_Key: TypeAlias = tuple[str, Split]


@dataclass(frozen=True, kw_only=True)
class Warmup:
    """The first model of each worker on a part in this session, and those that ended soon after the first.

    They are slower than others: they may load models, and compile kernels.

    Attributes:
        until: seconds of the part after which a worker's second model is no part of it.
        seconds, models, answers: what it took, and what it scored.
    """

    until: float
    seconds: float
    models: int
    answers: int


@dataclass(kw_only=True)
class Leg:
    """A part of a run, and how far it is.

    Attributes:
        part: what it scores.
        total: models that it scores, at least those that are done; None where time decides.
        done: models that it has scored.
        answers: how many were graded, in this session and before it.
        new, new_answers: of these, models and answers of this session.
        seconds: of this session, on the clock.
        warmup: how it began in this session; None before its first model.
        state: whether it has begun, or ended.
        scored: items of each trial, by its id.
        workers: how many models are scored at a time.
    """

    part: Part
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
        """Count a model that was scored, or scored on more items. Copied scores cost no answers."""
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
        """Seconds of a model after the warm-up; None before there is one."""
        first = self.warmup
        if first is None or self.new <= first.models:
            return None
        return (self.seconds - first.seconds) / (self.new - first.models)

    @property
    def per_answer(self) -> float | None:
        """The same of an answer."""
        first = self.warmup
        if first is None or self.new_answers <= first.answers:
            return None
        return (self.seconds - first.seconds) / (self.new_answers - first.answers)


class Pace:
    """Follows a run by its events. Parts that were not foreseen are added as they begin.

    Args:
        cost: what the run scores.
        clock: seconds that only go forward.
    """

    def __init__(self, cost: Cost, clock: Callable[[], float] = time.monotonic) -> None:
        self._legs = {
            (part.name, part.split): _begun(part, cost.stored.get((part.name, part.split), {}), cost.workers)
            for part in cost.parts
        }
        self._workers = cost.workers
        self._clock = clock
        self._since = clock()
        self.running: Leg | None = None

    @property
    def has_begun(self) -> bool:
        """Whether any part has."""
        return any(leg.state != "waiting" for leg in self._legs.values())

    def take(self, event: Event) -> None:
        """Take one event in."""
        if event.kind == "phase":
            self._turn(event)
        elif event.kind in ("ended", "more") and self.running is not None:
            self._tick(is_counted=not event.replayed)
            self.running.take(event)

    def finish(self) -> None:
        """Take the run as finished: nothing is left of it."""
        self._end()
        for leg in self._legs.values():
            leg.state = "done"

    def legs(self, stage: Stage | None = None) -> list[Leg]:
        """Return the parts of a stage, or of all in their order."""
        every = list(self._legs.values())
        return [leg for each in STAGES for leg in every if leg.part.stage == each and stage in (None, each)]

    def seconds(self, leg: Leg) -> float:
        """Return the time that a part has taken in this session."""
        return leg.seconds + (self._clock() - self._since if leg is self.running else 0.0)

    def left(self, legs: Sequence[Leg]) -> float | None:
        """Return the seconds that parts still take, by what answers took so far; None until that is known."""
        return total(self._seconds_left(leg) for leg in legs)

    def share(self) -> float:
        """Return how much of the run is done, 0 to 1, by answers; 0 until it is known how many there are."""
        left = total(self._answers_left(leg) for leg in self.legs())
        done = sum(leg.answers for leg in self.legs())
        return 0.0 if left is None or not done else done / (done + left)

    def _turn(self, event: Event) -> None:
        """End the part that was running, and begin the next."""
        self._end()
        key: _Key = event.search, event.split
        leg = self._legs.get(key) or Leg(part=_unforeseen(event), total=event.total, workers=self._workers)
        self._legs[key] = leg
        leg.total, leg.state, leg.done = event.total, "running", 0
        self._since, self.running = self._clock(), leg

    def _end(self) -> None:
        if self.running is not None:
            self._tick(is_counted=True)
            leg, self.running = self.running, None
            leg.state, leg.total = "done", leg.done if leg.total is None else leg.total

    def _tick(self, *, is_counted: bool) -> None:
        """Add the time since the last event to what is running; what was read from the store took none."""
        now = self._clock()
        if self.running is not None and is_counted:
            self.running.seconds += now - self._since
        self._since = now

    def _seconds_left(self, leg: Leg) -> float | None:
        """By the time of a model where the part has measured one, else by the time of an answer elsewhere."""
        if leg.state == "done":
            return 0.0
        limit = None if leg.part.seconds is None else max(0.0, leg.part.seconds - self.seconds(leg))
        models = None if leg.total is None else leg.total - leg.done
        if models == 0:
            return 0.0
        found: float | None = None
        if models is not None and leg.per_model is not None:
            found = models * leg.per_model
        elif models is not None:
            answers, each = self._answers_left(leg), self._per_answer(leg)
            found = None if answers is None or each is None else answers * each
        return limit if found is None else found if limit is None else min(found, limit)

    def _answers_left(self, leg: Leg) -> float | None:
        if leg.state == "done":
            return 0.0
        if leg.total is None:
            seconds, each = leg.part.seconds, self._per_answer(leg)
            return None if seconds is None or not each else max(0.0, seconds - self.seconds(leg)) / each
        left = (leg.total - leg.done) * (leg.answers / leg.done if leg.done else leg.part.items)
        like = [self._legs[name, "fit"] for name in leg.part.like if (name, "fit") in self._legs]
        most = [each.answers + (self._answers_left(each) or 0.0) for each in like]
        return min(left, max(0.0, sum(most) - leg.answers)) if most else left

    def _per_answer(self, leg: Leg) -> float | None:
        """Seconds of an answer: of the part itself, of the last part on the same split, or of the last."""
        measured = [each for each in self._legs.values() if each.per_answer is not None]
        alike = [each for each in measured if each.part.split == leg.part.split]
        return next(
            (each.per_answer for each in (leg, *alike[::-1], *measured[::-1]) if each.per_answer), None
        )


def _begun(part: Part, stored: Mapping[int, int], workers: int) -> Leg:
    """Return a part that has done what earlier sessions stored of it."""
    total = None if part.models is None else max(part.models, len(stored))
    return Leg(
        part=part,
        total=total,
        done=len(stored),
        answers=sum(stored.values()),
        scored=dict(stored),
        workers=workers,
    )


def _unforeseen(event: Event) -> Part:
    stages: dict[str, Stage] = {BASELINES: "baselines", MAIN: "search", PARAMETERS: "search"}
    stage = stages.get(event.search, "controls") if event.split == "fit" else event.split
    return Part(stage=stage, name=event.search, split=event.split, models=event.total, items=0)
