"""Data of the search loop: searches, limits and events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from pydantic import Field

from kingyo.core.io.schema import Count, Real, StrictModel
from kingyo.core.types import Answered, Evaluation, Genome, Split, Strategy
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution.objectives import Objectives
from kingyo.search.evolution.screens import ScreenSettings
from kingyo.search.space import Space
from kingyo.store import RunStore, StoredTrial

BASELINES = "baselines"
MAIN = "main"
RACED = "baselines were raced"  # fact: the baselines' validation scores are final
BASELINE_ITEMS = 4  # baselines are scored on this many times the items of a candidate


@dataclass(frozen=True, kw_only=True)
class Search:
    """A strategy on a space with limits.

    Attributes:
        name: unique within the run.
        space, strategy, limits: what is searched, how, and at what cost.
        like: searches whose total candidates and item evaluations limit this one, instead of ``limits``.
        screen, seed: which items candidates are scored on, and in which order.
        objectives: what is maximised. If set measures count, the screen keeps all items.
        given: number of points that the strategy begins with and did not choose.
        known: baselines that are points of the space: name -> genome; the strategy may learn from them.
        keep: points that go to validation in any case, if they were tried. The best of them on fit wins
            unless the best other finalist, on fit and validation together, is better than it, and ahead of it
            on validation by more than a standard error: the best of many on validation is partly luck.
        learns_fit: candidates are trained on fit, so validation alone picks the winner, among all of them.
        simplicity: returns a number that is larger for simpler recipes; of merges that fit cannot
            distinguish, the simplest is preferred. None for no preference.
        prepare: called with the run's database before the first candidate, in each session; it may report
            events.
        is_asynchronous: candidates are asked for and told one by one.
        timeout: seconds that a call of its strategy may take; None for no limit.
        description: stored with the search.
    """

    name: str
    space: Space
    strategy: Strategy
    limits: Limits
    like: tuple[str, ...] = ()
    screen: ScreenSettings = field(default_factory=ScreenSettings)
    seed: int = 0
    objectives: Objectives = field(default_factory=Objectives)
    given: int = 0
    known: Mapping[str, Genome] = field(default_factory=dict[str, Genome])
    keep: tuple[Genome, ...] = ()
    learns_fit: bool = False
    simplicity: Callable[[Recipe], float] | None = None
    prepare: Callable[[RunStore, Callable[[Event], None]], None] | None = None
    is_asynchronous: bool = False
    timeout: float | None = None
    description: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def screen_of_baselines(self) -> ScreenSettings:
        """Four times the items of a candidate, at random: there are few, and the best must be beaten."""
        items = self.screen.items
        return ScreenSettings(items=None if items is None else BASELINE_ITEMS * items, choose="random")


@dataclass(frozen=True, kw_only=True)
class Event:
    """A step of a run, for progress displays.

    Attributes:
        kind: ``phase`` when a part of the run begins, ``answered`` when a trial that is evaluated has more
            answers, ``trained`` when ``done`` of ``total`` steps of training are done, ``ended`` when a trial
            was evaluated (or copied) for the first time, ``more`` when it was scored on more items, ``told``
            when its strategy is told, ``said`` for a line of text, such as a decision.
        done, total: finished trials of this part, and all of them (None if only time limits them).
        answered: for ``answered``: the items of this evaluation; Ray's workers do not report them.
        value: for ``told``: the value that the strategy receives; for ``ended`` outside a search: the mean of
            the tasks. None for a failure, and for a trial that was dropped from a race.
        is_estimate: ``value`` is estimated from some of the items.
        replayed: it was read from the store; nothing was run.
    """

    kind: Literal["phase", "answered", "trained", "ended", "more", "told", "said"]
    search: str
    split: Split
    done: int = 0
    total: int | None = None
    trial: StoredTrial | None = None
    answered: Answered | None = None
    evaluation: Evaluation | None = None
    value: float | None = None
    is_estimate: bool = False
    replayed: bool = False
    text: str = ""

    @classmethod
    def of(
        cls, trial: StoredTrial, split: Split, evaluation: Evaluation, done: int, total: int | None
    ) -> Self:
        """Return the event that a trial was evaluated for the first time."""
        return cls(
            kind="ended",
            search=trial.search,
            split=split,
            done=done,
            total=total,
            trial=trial,
            evaluation=evaluation,
            replayed=evaluation.replayed,
        )


def ignore_events(_: Event) -> None: ...


MAX_IDLE = 200
"""A search ends after this many consecutive candidates that were copies: it has converged."""


class Limits(StrictModel):
    """Limits of a search; it ends at the first one that it reaches.

    Attributes:
        candidates: merged models to try. Default: no bound.
        item_evaluations: answers to grade: candidates x items of each. Default: no bound.
        minutes: time for merging and scoring, of all workers together; pauses do not count. Default: no
            bound.
    """

    candidates: Count | None = None
    item_evaluations: Count | None = None
    minutes: Annotated[Real, Field(gt=0)] | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.minutes is None else 60 * self.minutes

    def plus(self, more: Mapping[str, float]) -> Limits:
        own = self.model_dump(exclude_none=True).items()
        return self.model_copy(update={key: type(value)(value + more.get(key, 0)) for key, value in own})


@dataclass(kw_only=True)
class BudgetSpent:
    """The cost of a search so far. Copied scores cost nothing; a failure costs as much as a full evaluation.

    ``learned`` are the item evaluations of lessons, a part of ``items``; they also count as candidates.
    ``idle`` counts consecutive candidates, in batches that consisted of copies only.
    """

    trials: int = 0
    items: int = 0
    learned: int = 0
    seconds: float = 0.0
    idle: int = 0

    def add(self, costs: Iterable[tuple[int, float]]) -> None:
        before, n = self.items, self.trials
        for items, seconds in costs:
            self.trials += 1
            self.items += items
            self.seconds += seconds
        self.idle = 0 if self.items > before else self.idle + self.trials - n

    def room(self, limits: Limits, batch: int, most_items: int) -> int:
        room = batch if self.idle < MAX_IDLE else 0
        if limits.candidates is not None:
            room = min(room, limits.candidates - self.trials - in_candidates(self.learned, most_items))
        if limits.item_evaluations is not None:
            room = min(room, (limits.item_evaluations - self.items) // most_items)
        if limits.seconds is not None:
            left = limits.seconds - self.seconds
            mean = self.seconds / self.trials if self.trials else 0.0
            room = min(room, 0 if left <= 0 else room if mean == 0 else max(1, int(left / mean)))
        return room


def in_candidates(items: int, most_items: int) -> int:
    return -(-items // most_items)


def expected_trials(limits: Limits, most_items: int) -> int | None:
    bounds = [limits.candidates]
    if limits.item_evaluations is not None:
        bounds.append(limits.item_evaluations // most_items)
    return min((bound for bound in bounds if bound is not None), default=None)
