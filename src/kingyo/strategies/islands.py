"""Island model: populations of another strategy with migration around a ring.

    island i    a strategy with its own seed; every n-th trial is one of its own
    migration   after N of its generations, island i sends its best to island i + 1

Cohoon et al. 1987, Punctuated equilibria: a parallel genetic algorithm; Whitley et al. 1999, The island model
genetic algorithm. An island is updated with its own trials only; migrants arrive through ``inject``
(``AcceptsMigrants``). Without ``inject``, islands are independent searches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from kingyo.strategies import STRATEGIES, build_inner, derived_seed, pareto
from kingyo.strategies.checks import Count, Size, require
from kingyo.strategies.history import History, Observation
from kingyo.types import (
    AcceptsMigrants,
    Axis,
    Genome,
    InformedStrategy,
    ItemScore,
    Outcome,
    Strategy,
    TaskAware,
    Trial,
)

MAX_ISLANDS = 100


class Islands:
    """Several populations of another strategy, with migration around a ring.

    Islands are asked in turn. A child of a migrant names as its parent the trial that the migrant was.
    Migrants are the best trials of an island (by score, or by front and crowding) that the next island has
    not seen. Axes are of the kinds that the inner strategy supports.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of the island model.

        Attributes:
            strategy: strategy of each island; any but islands.
            settings: options of that strategy; default: its defaults.
            islands: number of populations.
            migration_every: generations of an island between two migrations.
            migrants: migrants per migration; must be 0 if the strategy has no `inject`.
        """

        strategy: str = "ga"
        settings: Mapping[str, object] | None = None
        islands: Annotated[int, Field(ge=2, le=MAX_ISLANDS)] = 4
        migration_every: Size = 5
        migrants: Count = 1

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        nested, name = settings.strategy == "islands", settings.strategy
        require("strategy", name, "a strategy other than islands", holds=not nested)
        self._settings = settings
        self._history = History()
        self._islands = [
            _Island(build_inner(name, axes, derived_seed(seed, index), settings.settings))
            for index in range(settings.islands)
        ]
        require(
            "migrants",
            settings.migrants,
            f"0, because {name} has no `inject`",
            holds=not settings.migrants or isinstance(self._islands[0].strategy, AcceptsMigrants),
            remedy="Set search.settings.migrants: 0 for independent islands, or use ga or nsga2.",
        )
        self._turn = 0

    @property
    def batch(self) -> int:
        """Sum of the islands' batches."""
        return sum(island.strategy.batch for island in self._islands)

    def ask(self, n: int) -> list[Trial]:
        """Ask the islands in turn, skipping exhausted ones."""
        if n == 0:
            return []
        fresh = self._history.take_all()  # not in `tell`, so that the order of tells does not matter
        for island in self._islands:
            island.observe(fresh)
        self._migrate()
        trials: list[Trial] = []
        while len(trials) < n and (new := self._ask_in_turn(n - len(trials))):
            trials += new
        return trials

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Pass outcomes to the islands that asked for the trials."""
        self._history.tell(outcomes)
        for island in self._islands:
            island.tell(outcomes)

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        """Pass the tasks to the islands whose strategy uses items."""
        for island in self._islands:
            if isinstance(island.strategy, TaskAware):
                island.strategy.learn_tasks(task_of, weights)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Pass known points to the islands whose strategy can use them."""
        self._history.expect_objectives(known)
        for island in self._islands:
            island.warm_start(known)

    def _migrate(self) -> None:
        k = self._settings.migrants
        due = [island.is_due(self._settings.migration_every) for island in self._islands]
        departing = [island.best if is_due else [] for island, is_due in zip(self._islands, due, strict=True)]
        for index, candidates in enumerate(departing):
            self._islands[(index + 1) % len(self._islands)].inject(candidates, k)

    def _ask_in_turn(self, n: int) -> list[Trial]:
        """Return up to n trials, the same number of each island, in turn."""
        order = [self._islands[(self._turn + index) % len(self._islands)] for index in range(n)]
        self._turn = (self._turn + n) % len(self._islands)
        proposals = {
            id(island): iter(island.strategy.ask(sum(other is island for other in order)))
            for island in self._islands
        }
        trials: list[Trial] = []
        for island in order:
            inner = next(proposals[id(island)], None)
            if inner is not None:
                trials.append(self._history.ask(inner.genome, island.to_outer(inner.parents)))
                island.record(inner, trials[-1].number)
        return trials


class _Island:
    """A population, with the mapping between its trial numbers and those of the search."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.best: list[Observation] = []
        self._ended = 0
        self._inner: dict[int, Trial] = {}  # number in the search -> trial of the island
        self._outer: dict[int, int] = {}  # number in the island, of trials and migrants -> in the search
        self._seen: set[Genome] = set()
        self._next_migrant = -1

    def record(self, inner: Trial, number: int) -> None:
        self._inner[number] = inner
        self._outer[inner.number] = number
        self._seen.add(inner.genome)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        own = [outcome for outcome in outcomes if outcome.trial.number in self._inner]
        self.strategy.tell([replace(each, trial=self._inner[each.trial.number]) for each in own])

    def to_outer(self, parents: Iterable[int]) -> tuple[int, ...]:
        # After a round trip, a migrant and a trial of the island may be the same trial.
        return tuple(dict.fromkeys(self._outer[parent] for parent in parents))

    def warm_start(self, known: Sequence[Outcome]) -> None:
        if isinstance(self.strategy, InformedStrategy):
            self.strategy.warm_start(known)
        self._seen.update(outcome.trial.genome for outcome in known)
        self._next_migrant = min([0, *(outcome.trial.number for outcome in known)]) - 1

    def observe(self, fresh: Sequence[Observation]) -> None:
        own = [observation for observation in fresh if observation.number in self._inner]
        self._ended += len(own)
        pool = [*self.best, *(observation for observation in own if observation.score is not None)]
        if pool:
            order, _ = pareto.best_first([observation.objectives for observation in pool])
            self.best = [pool[index] for index in order[: self.strategy.batch]]

    def is_due(self, generations: int) -> bool:
        period = generations * self.strategy.batch
        due, self._ended = self._ended >= period, self._ended % period
        return due

    def inject(self, candidates: Sequence[Observation], most: int) -> None:
        """Inject up to ``most`` candidates that the island has not seen."""
        if not isinstance(self.strategy, AcceptsMigrants):
            return
        migrants: list[Outcome] = []
        for observation in candidates:
            if observation.genome not in self._seen and len(migrants) < most:
                self._seen.add(observation.genome)
                self._outer[self._next_migrant] = observation.number
                migrants.append(_migrant(observation, self._next_migrant))
                self._next_migrant -= 1
        if migrants:
            self.strategy.inject(migrants)


def _migrant(observation: Observation, number: int) -> Outcome:
    """Return an observation as the outcome of a trial with this number; answers are dropped."""
    return Outcome(
        trial=Trial(number=number, genome=observation.genome),
        scores=tuple(ItemScore(item, score, "") for item, score in observation.items.items()),
        value=observation.score,
        objectives=observation.objectives if len(observation.objectives) > 1 else (),
    )


STRATEGIES.register("islands")(Islands)
