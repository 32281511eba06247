"""Count the answers that a run grades, by stage, before it starts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, overload

from kingyo.core.types import FiniteStrategy, Item, Split
from kingyo.runs.choice import CHOICE, REQUEST, items_of_a_heat
from kingyo.runs.extensions import EXTENSIONS
from kingyo.runs.run import Run
from kingyo.search.evolution import BASELINES, Journey, Search
from kingyo.search.evolution.screens import Screen
from kingyo.search.evolution.types import expected_trials
from kingyo.store import RunStore


@dataclass(frozen=True, kw_only=True)
class CostPart:
    """The models of a search, or the baselines, scored on one split.

    Attributes:
        name: name of the search, or ``baselines``.
        models: maximum number of models; None if the budget is in seconds.
        items: maximum number of items per model.
        seconds: limit from the budget, if any.
    """

    stage: Literal["choice", "baselines", "search", "controls", "validation", "test"]
    name: str
    split: Split
    models: int | None
    items: int
    seconds: float | None = None

    @property
    def answers(self) -> int | None:
        """Maximum number of graded answers."""
        return None if self.models is None else self.models * self.items


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Number of answers that a run grades.

    Attributes:
        stored: items scored in earlier sessions: name and split of a part -> trial id -> items.
    """

    parts: tuple[CostPart, ...]
    stored: Mapping[tuple[str, Split], Mapping[int, int]] = field(
        default_factory=dict[tuple[str, Split], Mapping[int, int]]
    )

    @property
    def answers(self) -> int | None:
        """Maximum number of graded answers; None if time limits them."""
        return total(part.answers for part in self.parts)


@overload
def total(numbers: Iterable[int | None]) -> int | None: ...
@overload
def total(numbers: Iterable[float | None]) -> float | None: ...
def total(numbers: Iterable[float | None]) -> float | None:
    """Return the sum of numbers; None if one of them is None."""
    values = list(numbers)
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def count_answers(
    searches: Sequence[Search],
    n_baselines: int,
    splits: Mapping[Split, Sequence[Item]],
    finalists: int,
    n_workers: int = 1,
) -> Cost:
    """Count the answers that a run grades at most; repeated merges, which cost nothing, count too.

    Args:
        finalists: finalists per search on validation.
        n_workers: workers that share the seconds of a budget.
    """
    n_fit = len(splits["fit"])
    first = Screen(searches[0].screen_of_baselines, searches[0].seed).most_items(n_fit)
    parts = [CostPart(stage="baselines", name=BASELINES, split="fit", models=n_baselines, items=first)]
    on_fit: dict[str, CostPart] = {}
    n_finalists: dict[str, int] = {}
    for search in searches:
        part = on_fit[search.name] = _on_fit(search, on_fit, n_fit, n_workers)
        n = finalists + len(search.keep)  # those that a search always keeps
        if part.models is not None:
            n = part.models if search.learns_fit else min(n, part.models)
        n_finalists[search.name] = n
    parts += on_fit.values()
    hidden: dict[Literal["validation", "test"], Mapping[str, int]] = {
        "validation": {**n_finalists, BASELINES: n_baselines},
        "test": {**dict.fromkeys(n_finalists, 1), BASELINES: n_baselines},
    }
    for split, models in hidden.items():
        for name, n in models.items():
            parts.append(CostPart(stage=split, name=name, split=split, models=n, items=len(splits[split])))
    return Cost(parts=tuple(parts))


def _on_fit(search: Search, before: Mapping[str, CostPart], n_fit: int, n_workers: int) -> CostPart:
    """Return the part of a search on fit; a control is limited by its searches, a finite one by its size."""
    items = Screen(search.screen, search.seed).most_items(n_fit)
    models, seconds = expected_trials(search.limits, items), search.limits.seconds
    if seconds is not None:
        seconds /= n_workers
    if search.like:
        like = [before[name] for name in search.like]
        models, answers = total(part.models for part in like), total(part.answers for part in like)
        models = None if models is None or answers is None else min(models, answers // items)
        seconds = total(part.seconds for part in like)
    if isinstance(search.strategy, FiniteStrategy):
        models = search.strategy.size if models is None else min(models, search.strategy.size)
    return CostPart(
        stage="controls" if search.like else "search",
        name=search.name,
        split="fit",
        models=models,
        items=items,
        seconds=seconds,
    )


def choice_cost(run: Run) -> Cost:
    """Return the cost of a choice of sources, of which only the number of items of a heat is known."""
    request = run.begun.fact(REQUEST)
    assert request is not None, "the run chooses its sources"
    items = items_of_a_heat(len(run.items["fit"]))
    part = CostPart(
        stage="choice", name=CHOICE, split="fit", models=None, items=items, seconds=request.seconds
    )
    return Cost(parts=(part,))


def remaining_cost(journey: Journey) -> Cost:
    """Count the answers that a journey grades at most, including those of earlier sessions.

    Seconds are those left of the budget.
    """
    searches, store, workers = list(journey.first), journey.store, journey.runner.n_workers
    for stage in journey.stages[1:]:
        space = searches[0].space
        first = space.decode(tuple(axis.first for axis in space.axes))
        searches += stage({search.name: first for search in searches})
    cost = count_answers(searches, len(journey.baselines), store.items(), journey.finalists, workers)
    stored: dict[tuple[str, Split], dict[int, int]] = {
        (part.name, part.split): _stored(store, part) for part in cost.parts
    }
    parts = (_left(store, part, len(stored[part.name, part.split]), workers) for part in cost.parts)
    return Cost(parts=tuple(parts), stored={key: trials for key, trials in stored.items() if trials})


def _stored(store: RunStore, part: CostPart) -> dict[int, int]:
    costs = store.costs(part.name, part.split)
    if part.split == "test" and part.name != BASELINES:
        winner = store.winner(part.name)
        costs = {trial: cost for trial, cost in costs.items() if winner is not None and trial == winner.id}
    return {trial: items for trial, (items, _) in costs.items()}


def _left(store: RunStore, part: CostPart, n_stored: int, n_workers: int) -> CostPart:
    """Return a part with its remaining seconds and its final number of models.

    A search with a winner scores no more. In an extended run, earlier finalists race again with the new ones.
    """
    if part.name != BASELINES and part.split != "test" and store.winner(part.name) is not None:
        return replace(part, models=n_stored, seconds=None if part.seconds is None else 0.0)
    if part.seconds is not None:
        used = sum(seconds for _, seconds in store.costs(part.name, part.split).values()) / n_workers
        part = replace(part, seconds=max(0.0, part.seconds - used))
    if part.split == "validation" and part.name != BASELINES and part.models and store.fact(EXTENSIONS):
        part = replace(part, models=part.models + n_stored)
    return part
