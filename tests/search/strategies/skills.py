"""Worlds of items and sources to select from, without models: which items each merge solves."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies.stepwise import Stepwise

Scores = NDArray[np.float64]
Score = Callable[[frozenset[int]], Scores | None]
"""A set of sources -> the score of its merge on each item; None if it fails."""
N_ITEMS, HEAT = 200, 24


@dataclass(frozen=True, kw_only=True)
class SkillWorld:
    """Items need skills, each useful source gives one, and useless ones do nothing or harm.

    An item needs skill 0 and one to three others. Without a skill it is solved with a quarter of the chance,
    without skill 0 never. ``harm`` has the share of items that each useless source spoils.
    """

    seed: int
    n_useful: int = 8
    harm: tuple[float, ...] = (0, 0, 0, 0.02, 0.1, 0.3, 0.8, 0.8, 0, 0.1)
    missing: float = 0.25

    @property
    def n(self) -> int:
        return self.n_useful + len(self.harm)

    @cached_property
    def order(self) -> list[int]:
        """Axis -> source; useful sources come first."""
        return random.Random(self.seed).sample(range(self.n), self.n)

    @cached_property
    def needs(self) -> list[list[int]]:
        chance = random.Random(f"needs {self.seed}")
        others = range(1, self.n_useful)
        return [
            [0, *chance.sample(others, min(len(others), chance.choice([1, 1, 2, 2, 3])))]
            for _ in range(N_ITEMS)
        ]

    @cached_property
    def difficulty(self) -> Scores:
        return np.random.default_rng(self.seed).random(N_ITEMS)

    def chances(self, sources: frozenset[int]) -> Scores:
        """Return the chance of each item for a set of axes."""
        on = {self.order[axis] for axis in sources}
        absent = [0.0, *[self.missing] * (self.n_useful - 1)]
        solved = [math.prod(0.97 if skill in on else absent[skill] for skill in row) for row in self.needs]
        kept = math.prod(1 - self.harm[each - self.n_useful] for each in on if each >= self.n_useful)
        return np.asarray(solved) * kept * 0.99 ** max(0, len(on) - 4)

    def score(self, sources: frozenset[int]) -> Scores:
        """Return 0 or 1 per item; difficulties are common to all merges, the rest is luck of each."""
        luck = np.random.default_rng([self.seed, *sorted(sources)]).random(N_ITEMS)
        return (self.chances(sources) > 0.5 * self.difficulty + 0.5 * luck).astype(float)

    def chosen(self, strategy: Stepwise) -> set[int]:
        return {self.order[axis] for axis in strategy.chosen}


@dataclass(kw_only=True)
class Selection:
    """A finished selection: the strategy, what it asked, and how many items were scored for it."""

    strategy: Stepwise
    trials: list[Trial] = field(default_factory=list[Trial])
    cost: int = 0


def axes(n: int) -> list[Axis]:
    return [Axis(name=f"weight/{i}", low=0.0, high=1.5, neutral=0.0) for i in range(n)]


def select(n: int, score: Score, settings: Stepwise.Settings | None = None, *, seed: int = 0) -> Selection:
    """Run a selection to its end; generations take the items in turn, in random order."""
    done = Selection(strategy=Stepwise(axes(n), seed, settings or Stepwise.Settings()))
    scored: dict[Genome, set[int]] = {}
    for generation in range(1000):
        trials = done.strategy.ask(done.strategy.batch)
        if not trials:
            return done
        n_items = N_ITEMS if (example := score(frozenset())) is None else len(example)
        places = np.arange(generation * HEAT, (generation + 1) * HEAT) % n_items
        items = np.random.default_rng(seed).permutation(n_items)[places[:n_items]].tolist()
        outcomes: list[Outcome] = []
        for trial in trials:
            sources = frozenset(i for i, gene in enumerate(trial.genome) if gene)
            scores = score(sources)
            if scores is None:
                outcomes.append(Outcome(trial=trial, failure="it cannot be merged"))
                continue
            done.cost += len(set(items) - scored.setdefault(trial.genome, set()))
            scored[trial.genome].update(items)
            row = {f"item-{i:03d}": float(scores[i]) for i in items}
            outcomes.append(Outcome(trial=trial, items=row))
        done.trials += trials
        done.strategy.tell(outcomes)
    raise AssertionError("the selection does not end")
