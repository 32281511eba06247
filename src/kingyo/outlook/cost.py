"""How many answers a run will grade: its main search, its controls, validation and test. Counts only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kingyo.evolve import Search
from kingyo.evolve.spent import total
from kingyo.screens import Screen
from kingyo.strategies.grid import GridSearch
from kingyo.types import Item, Split


@dataclass(frozen=True, kw_only=True)
class Part:
    """Models that are scored on items of a split.

    Attributes:
        name: of the search, or what is scored.
        split: of the items.
        models: how many at most; None where time decides.
        items: how many at most of each.
    """

    name: str
    split: Split
    models: int | None
    items: int

    @property
    def answers(self) -> int | None:
        """How many answers are graded at most."""
        return None if self.models is None else self.models * self.items


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run scores, in its order."""

    parts: tuple[Part, ...]

    def answers(self, split: Split | None = None) -> int | None:
        """Answers that are graded at most, of a split or in all; None where time decides."""
        found = [part.answers for part in self.parts if split in (None, part.split)]
        known = [each for each in found if each is not None]
        return sum(known) if len(known) == len(found) else None


def count(
    searches: Sequence[Search],
    n_baselines: int,
    splits: Mapping[Split, Sequence[Item]],
    finalists: int,
) -> Cost:
    """Count what a run scores at most. A merge that was scored before costs none, which is not foreseen.

    Args:
        searches: all of them, in their order.
        n_baselines: models to compare with.
        splits: the items.
        finalists: of each search, for validation.
    """
    n_fit = len(splits["fit"])
    most = {search.name: Screen(search.screen, search.seed).most_items(n_fit) for search in searches}
    first = most[searches[0].name]
    parts = [Part(name="baselines", split="fit", models=n_baselines, items=first)]
    tried: dict[str, int | None] = {}
    for search in searches:
        n = tried[search.name] = _at_most(search, tried, most)
        parts.append(Part(name=search.name, split="fit", models=n, items=most[search.name]))
    chosen = sum(_finalists(search, finalists, tried[search.name]) for search in searches)
    read: dict[Split, tuple[int, str]] = {
        "validation": (chosen, "finalists"),
        "test": (len(searches), "winners"),
    }
    for split, (n, name) in read.items():
        items = len(splits[split])
        parts += [
            Part(name=name, split=split, models=n, items=items),
            Part(name="baselines", split=split, models=n_baselines, items=items),
        ]
    return Cost(parts=tuple(parts))


def _finalists(search: Search, wanted: int, n: int | None) -> int:
    """How many trials are scored on validation at most, with those that a search keeps in any case."""
    most = wanted + len(search.keep)
    return most if n is None else min(most, n)


def _at_most(search: Search, tried: Mapping[str, int | None], most: Mapping[str, int]) -> int | None:
    """How many candidates a search tries: as many as those that it is like; a grid ends with its last."""
    candidates = total(search.limits, most[search.name])
    if search.like:
        own = [tried[name] for name in search.like]
        candidates = None if None in own else sum(n or 0 for n in own)
    if not isinstance(search.strategy, GridSearch):
        return candidates
    size = search.strategy.size
    return size if candidates is None else min(candidates, size)
