"""Data of the search loop: searches, limits and events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from kingyo.core.types import Answered, Evaluation, Genome, Split, Strategy
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution.limits import Limits
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
        screen: which items candidates are scored on.
        seed: for the order of the items.
        objectives: what is maximised. If set measures count, the screen keeps all items.
        given: number of points that the strategy begins with and did not choose.
        known: baselines that are points of the space: name -> genome; the strategy may learn from them.
        keep: points that go to validation in any case, if they were tried. The best of them on fit wins
            unless the best other finalist, on fit and validation together, is better than it, and ahead of it
            on validation by more than a standard error: the best of many on validation is partly luck
            (Breiman et al. 1984, Classification and Regression Trees, the 1 SE rule).
        learns_fit: candidates are trained on fit items, so that their fit scores mean nothing, and validation
            alone picks the winner, among all of them; ties go to the oldest.
        simplicity: returns a number that is larger for simpler recipes; of merges that fit cannot
            distinguish, the simplest is preferred. None for no preference.
        prepare: called with the run's database before the first candidate, in each session; it may report
            events.
        is_asynchronous: candidates are asked for and told one by one; the screen has no racing then.
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
        """Return the screen of baselines: four times the items of a candidate, drawn at random.

        There are few baselines, item difficulties are estimated from them, and the winner must beat the best.
        """
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
        search: the search that it belongs to.
        split: what is being evaluated.
        done, total: finished trials of this part, and all of them (None if only time limits them).
        trial: for ``answered``, ``ended`` and ``more``.
        answered: for ``answered``: the items of this evaluation; of Ray's workers there are no such events.
        evaluation: for ``ended`` and ``more``.
        value: for ``told``: the value that the strategy receives; for ``ended`` outside a search: the mean of
            the tasks. None for a failure, and for a trial that was dropped from a race.
        is_estimate: ``value`` is estimated from some of the items.
        replayed: it was read from the store; nothing was run.
        text: for ``said``.
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


def ignore_events(_: Event) -> None:
    """Ignore events."""
