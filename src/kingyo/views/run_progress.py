"""How far a run is, by its events: for displays."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from kingyo.core.types import Answered, Split
from kingyo.runs.choice import CHOICE
from kingyo.runs.config import TRAININGS, TUNED, TUNED_PARENT, WEIGHT_SEARCH, WEIGHT_SEARCH_LABEL
from kingyo.runs.cost import Cost, CostPart
from kingyo.search.evolution import BASELINES, MAIN, Event

ROWS = {
    CHOICE: "choice of sources",
    WEIGHT_SEARCH: WEIGHT_SEARCH_LABEL,
    MAIN: "search",
    BASELINES: BASELINES,
    TUNED: "tuning",
    TUNED_PARENT: "tuning, parent",
}


def row_name(search: str, split: Split) -> str:
    """Return the row of a part: validation and test of all searches are one row each."""
    return ROWS.get(search, f"control {search}") if split == "fit" else split


@dataclass(kw_only=True)
class PartProgress:
    """A part of a run and its progress.

    Attributes:
        part: the part, with the number of models that is expected now.
        scored: answers of each scored model by trial id, including earlier sessions; a copied score has none.
        began: seconds of the clock; None before it.
        is_over: whether another part has begun after it.
    """

    part: CostPart
    scored: dict[int, int]
    began: float | None = None
    is_over: bool = False

    @property
    def models(self) -> int | None:
        """Number of models of the part; None if only time limits them."""
        if self.is_over:
            return len(self.scored)
        return None if self.part.models is None else max(self.part.models, len(self.scored))

    @property
    def answers_left(self) -> int | None:
        """Number of answers left at most; None if time limits it."""
        return None if self.models is None else (self.models - len(self.scored)) * self.part.items


class RunProgress:
    """Follows a run by its events.

    Attributes:
        best: row -> the best value, and whether it is estimated.
        running: the part under way.
        under_way: name and progress of each unfinished evaluation, by trial id.
        training: what is trained, by its steps; empty at other times.
    """

    def __init__(self, cost: Cost, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._parts: dict[tuple[str, Split], PartProgress] = {}
        for part in cost.parts:
            scored = dict(cost.stored.get((part.name, part.split), {}))
            self._parts[part.name, part.split] = PartProgress(part=part, scored=scored)
        self._first: tuple[float, int] | None = None
        self._pace: float | None = None
        self.running: PartProgress | None = None
        self.best: dict[str, tuple[float, bool]] = {}
        self.under_way: dict[int, tuple[str, Answered]] = {}
        self.training = ""

    def take(self, event: Event) -> None:
        now, trial, evaluation = self._clock(), event.trial, event.evaluation
        if event.kind == "phase":
            if self.running is not None:
                self.running.is_over = True
            self.running = self._parts.get((event.search, event.split))
            if self.running is not None:
                self.running.part = replace(self.running.part, models=event.total)
                self.running.began = now
            self.under_way = {}
        self.training = ""
        if event.kind == "trained":
            what = "training" if event.search in TRAININGS else "learning weights"
            self.training = f"{what}: step {event.done:,} of {event.total or 0:,}"
        elif event.answered is not None and trial is not None:
            self.under_way[trial.id] = trial.name or f"trial {trial.asked.number}", event.answered
        elif trial is not None and evaluation is not None and self.running is not None:
            self.under_way.pop(trial.id, None)
            graded = 0 if evaluation.copied_from is not None else len(evaluation.scores)
            self.running.scored[trial.id] = max(graded, self.running.scored.get(trial.id, 0))
        if trial is not None and not event.replayed:
            self._time(now)
        if event.value is not None and (event.split == "fit" or event.search == MAIN):
            row, value = row_name(event.search, event.split), (event.value, event.is_estimate)
            self.best[row] = max(self.best.get(row, value), value)

    def _time(self, now: float) -> None:
        """Time the answers since the first event, so that loading models does not count."""
        timed = sum(sum(each.scored.values()) for each in self._parts.values())
        timed += sum(each.timed for _, each in self.under_way.values())
        if self._first is None:
            self._first = now, timed
        elif timed > self._first[1]:
            self._pace = (now - self._first[0]) / (timed - self._first[1])

    def rows(self) -> Mapping[str, list[PartProgress]]:
        """Return the parts of each row."""
        rows: dict[str, list[PartProgress]] = {}
        for (name, split), part in self._parts.items():
            rows.setdefault(row_name(name, split), []).append(part)
        return rows

    def seconds_left(self) -> float | None:
        """Estimate the seconds left of the run without training; None before the first answers are timed."""
        if self._pace is None:
            return None
        under_way, now = sum(each.done for _, each in self.under_way.values()), self._clock()
        seconds = -under_way * self._pace
        for each in self._parts.values():
            left = float("inf") if each.answers_left is None else each.answers_left * self._pace
            limit, began = each.part.seconds, now if each.began is None else each.began
            seconds += left if limit is None or each.is_over else min(left, max(0.0, limit - now + began))
        return max(0.0, seconds)
