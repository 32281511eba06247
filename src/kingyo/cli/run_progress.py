"""Count the progress of a run: scored models, best values, and an estimate of the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from kingyo.core.types import Answered, Split
from kingyo.runs.choice import CHOICE
from kingyo.runs.config import TRAININGS, TUNED, TUNED_PARENT, WEIGHT_SEARCH, WEIGHT_SEARCH_LABEL
from kingyo.runs.cost import STAGES, Cost, CostPart, total
from kingyo.search.evolution import BASELINES, MAIN, Event


@dataclass(kw_only=True)
class Pace:
    """Measures the time per unit of work, from pairs of the clock and the units done so far.

    It begins with the first pair, so that loading models and the first choice of a strategy do not count.
    """

    first: tuple[float, float] | None = None
    last: tuple[float, float] | None = None

    def add(self, now: float, done: float) -> None:
        """Begin to measure, or measure up to now if more is done."""
        if self.first is None:
            self.first = now, done
        elif done > (self.last or self.first)[1]:
            self.last = now, done

    @property
    def seconds(self) -> float | None:
        if self.first is None or self.last is None:
            return None
        return (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])


@dataclass(kw_only=True)
class PartProgress:
    """A part of a run and its progress.

    Attributes:
        part: the part, with the number of models that is expected now.
        scored: answers of each scored model by trial id, including earlier sessions; a copied score has none.
        racing: trials that are scored on more items if they are not dropped.
        under_way: name and progress of each unfinished evaluation, by trial id.
        new, failed: number of models that were scored, and that failed, in this session.
        replayed: number of stored trials that were replayed so far; 0 after the replay.
        steps: finished steps of training, and all steps; None without training.
        pace: time per answer by the clock, with merging and all that happens between evaluations.
        began, ended: seconds of the clock; None before it.
    """

    part: CostPart
    scored: dict[int, int] = field(default_factory=dict[int, int])
    racing: set[int] = field(default_factory=set[int])
    under_way: dict[int, tuple[str, Answered]] = field(default_factory=dict[int, tuple[str, Answered]])
    new: int = 0
    failed: int = 0
    replayed: int = 0
    steps: tuple[int, int] | None = None
    pace: Pace = field(default_factory=Pace)
    step_pace: Pace = field(default_factory=Pace)
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
        """Number of answers, including those of unfinished evaluations."""
        return sum(self.scored.values()) + sum(each.done for _, each in self.under_way.values())

    @property
    def answers_left(self) -> float | None:
        """Number of answers left, if further models give as many as those so far; None if time limits it."""
        if self.models is None:
            return None
        if self.ended is not None:
            return 0.0
        done = [n for trial, n in self.scored.items() if trial not in self.racing]
        mean = sum(done) / len(done) if done else self.part.items
        racing = sum(max(0, self.part.items - self.scored[trial]) for trial in self.racing)
        under_way = sum(each.done for _, each in self.under_way.values())
        return max(0.0, (self.models - len(self.scored)) * mean + racing - under_way)

    def seconds(self, now: float) -> float:
        return 0.0 if self.began is None else (now if self.ended is None else self.ended) - self.began

    def answer(self, event: Event, now: float) -> None:
        trial = event.trial
        assert trial is not None and event.answered is not None, "events of unfinished evaluations have both"
        self.under_way[trial.id] = trial.name or f"trial {trial.asked.number}", event.answered
        self.pace.add(now, self._timed)

    def train(self, done: int, steps: int, now: float) -> None:
        self.steps = done, steps
        self.step_pace.add(now, done)

    def score(self, event: Event, now: float) -> None:
        assert event.trial is not None and event.evaluation is not None, "events of scored trials have both"
        trial, evaluation = event.trial.id, event.evaluation
        self.under_way.pop(trial, None)
        graded = 0 if evaluation.copied_from is not None else len(evaluation.scores)
        self.scored[trial] = max(graded, self.scored.get(trial, 0))
        if event.kind == "more" and event.split == "validation":
            self.racing.add(trial)
        elif event.kind == "ended":
            self.racing.discard(trial)
            self.new += not event.replayed
            self.failed += not event.replayed and evaluation.failure is not None
        if not event.replayed:
            self.pace.add(now, self._timed)

    @property
    def _timed(self) -> int:
        """Number of answers whose time is representative."""
        return sum(self.scored.values()) + sum(each.timed for _, each in self.under_way.values())


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
        self._updated = self.clock()

    def take(self, event: Event) -> None:
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
        timed = [
            each for each in (progress, *reversed(self._parts.values())) if each.pace.seconds is not None
        ]
        if not timed or (progress.models is None and timed[0] is not progress):
            return None
        similar = min(timed, key=lambda each: _unlike(each.part.items, progress.part.items))
        pace = (timed[0] if timed[0] is progress else similar).pace.seconds
        return None if pace is None else answers * pace

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
        more = total(left)
        return None if more is None else sum(each.seconds(self.clock()) for each in searches) + more


def _unlike(items: int, others: int) -> float:
    return max(items, others) / max(1, min(items, others))


def row_name(search: str, split: Split) -> str:
    if split != "fit":
        return split
    tuning = {TUNED: "tuning", TUNED_PARENT: "tuning, parent"}
    searches = {CHOICE: "choice of sources", WEIGHT_SEARCH: WEIGHT_SEARCH_LABEL, MAIN: "search"}
    names = {**searches, BASELINES: BASELINES, **tuning}
    return names.get(search, f"control {search}")
