"""What the loop works with, as data: searches and their limits, and the events that it tells of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from kingyo.evolution.objectives import Objectives
from kingyo.recipe import Recipe
from kingyo.screens import ScreenSettings
from kingyo.space import Space
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Evaluation, Genome, Split, Strategy

BASELINES = "baselines"
MAIN = "main"
RACED = "baselines were raced"  # fact: their scores on validation are final
BASELINE_ITEMS = 4  # a baseline is scored on this many times the items of a candidate


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a search may spend; None is no bound. The first bound that is reached ends it."""

    candidates: int | None = None
    item_evaluations: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """A strategy on a space with limits.

    Attributes:
        name: unique within the run.
        space, strategy, limits: what is searched, how, and how much it may cost.
        like: searches whose candidates and item evaluations, added up, bound this one; then ``limits``
            does not count.
        screen: which items candidates are scored on.
        seed: for the order of the items.
        objectives: what is maximised. If set measures count, the screen keeps all items.
        given: how many points its strategy begins with, which others chose.
        known: baselines that are points of the space: name -> genome; a strategy may learn of them.
        keep: points that go to validation in any case, if they were tried. The best of them on fit wins
            unless the best of the other finalists, on fit and validation together, is better than it and
            ahead of it on validation by more than a standard error: of many, the best on validation is
            there by luck, too (Breiman et al. 1984, Classification and Regression Trees, the 1 SE rule).
        learns_fit: candidates are trained on the items of fit, so their scores there say nothing, and
            validation alone picks the winner.
        simplicity: of merges that fit cannot tell apart, the one with the most of it is preferred; none is
            when None.
        prepare: what has to be done before the first candidate, given the run's database; a session that
            resumes the search calls it again.
        is_asynchronous: candidates are asked for and told one by one; the screen's rule is none then.
        timeout: seconds that a call of its strategy may take; None is any time.
        description: what it was made of, for the store.
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
    prepare: Callable[[RunStore], None] | None = None
    is_asynchronous: bool = False
    timeout: float | None = None
    description: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def screen_of_baselines(self) -> ScreenSettings:
        """Which items of fit baselines are scored on: four times as many as a candidate, drawn by chance.

        Baselines are few, the search learns from them how hard items are, and the winner must beat the best.
        """
        items = self.screen.items
        return ScreenSettings(items=None if items is None else BASELINE_ITEMS * items, choose="random")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, for whoever shows progress.

    Attributes:
        kind: ``phase`` when a part of the run begins, ``ended`` when a trial was evaluated (or copied) for
            the first time, ``more`` when it was scored on more items, ``told`` when its strategy learns it.
        search: the search that it belongs to.
        split: what is being evaluated.
        done, total: trials done in this part, and how many there will be (None when time decides).
        trial, evaluation: of ``ended`` and ``more``.
        value: of ``told``: what the strategy is told; of ``ended`` outside a search: the mean of the tasks.
            None for a failure, and for a finalist that was out of the race for validation early.
        is_estimate: ``value`` is one, as only some items were scored.
        raw, n_raw: of ``told``: the mean over the items that were scored, and how many these are.
        replayed: it was read from the store; nothing was run.
    """

    kind: Literal["phase", "ended", "more", "told"]
    search: str
    split: Split
    done: int = 0
    total: int | None = None
    trial: StoredTrial | None = None
    evaluation: Evaluation | None = None
    value: float | None = None
    is_estimate: bool = False
    raw: float | None = None
    n_raw: int = 0
    replayed: bool = False


def ignore_events(_: Event) -> None:
    """An observer that looks away."""
