"""Count the progress of a part of a run, such as the search on fit, and time its answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from kingyo.dry_run import CostPart
from kingyo.evolution import Event
from kingyo.types import Answered, Evaluation


@dataclass(kw_only=True)
class Costs:
    """The time that evaluations of this session took, without pauses between them."""

    builds: list[float] = field(default_factory=list[float])
    answers: int = 0
    score_seconds: float = 0.0

    def add(self, new: Evaluation, before: Evaluation) -> None:
        """Add an evaluation; ``before`` has the scores and times that it includes and that were added."""
        self.builds.append(new.build_seconds - before.build_seconds)
        self.answers += len(new.scores) - len(before.scores)
        self.score_seconds += new.score_seconds - before.score_seconds

    @property
    def seconds(self) -> float:
        """Return the seconds of all evaluations."""
        return sum(self.builds) + self.score_seconds

    def estimate(self, models: float, answers: float) -> float:
        """Return the seconds that models with some answers take.

        Merging takes the median time, because the first merges also load or compile code.
        """
        return models * median(self.builds) + answers * self.score_seconds / self.answers


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
        """Seconds per unit; None if unknown."""
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
        costs: what evaluations of this session took.
        pace: time per answer by the clock, with all that happens between evaluations.
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
    costs: Costs = field(default_factory=Costs)
    pace: Pace = field(default_factory=Pace)
    step_pace: Pace = field(default_factory=Pace)
    began: float | None = None
    ended: float | None = None
    _added: dict[int, Evaluation] = field(default_factory=dict[int, Evaluation])

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
        """Return the seconds of this session."""
        return 0.0 if self.began is None else (now if self.ended is None else self.ended) - self.began

    def answer(self, event: Event, now: float) -> None:
        """Count the answers of an unfinished evaluation."""
        trial = event.trial
        assert trial is not None and event.answered is not None, "events of unfinished evaluations have both"
        self.under_way[trial.id] = trial.name or f"trial {trial.asked.number}", event.answered
        self.pace.add(now, self._timed)

    def train(self, done: int, steps: int, now: float) -> None:
        """Count the steps of training."""
        self.steps = done, steps
        self.step_pace.add(now, done)

    def score(self, event: Event, now: float) -> None:
        """Count a scored model, or more answers of it."""
        assert event.trial is not None and event.evaluation is not None, "events of scored trials have both"
        trial, evaluation = event.trial.id, event.evaluation
        if not event.replayed:
            self._add_costs(trial, evaluation)
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

    def _add_costs(self, trial: int, evaluation: Evaluation) -> None:
        before = self._added.get(trial, Evaluation())
        is_mixed = trial in self.scored and trial not in self._added  # with times of an earlier session
        self._added[trial] = evaluation
        if not is_mixed and evaluation.copied_from is None and len(evaluation.scores) > len(before.scores):
            self.costs.add(evaluation, before)

    @property
    def _timed(self) -> int:
        """Number of answers whose time is representative."""
        return sum(self.scored.values()) + sum(each.timed for _, each in self.under_way.values())
