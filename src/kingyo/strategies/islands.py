"""Islands: several populations of any strategy, each on its own, that send their best around a ring.

    island i    a strategy as it is, with its own seed; every n-th trial is one of its own
    migration   after N generations of its own, island i shows its best to island i + 1

Cohoon et al. 1987 (Punctuated equilibria: a parallel genetic algorithm); Whitley et al. 1999 (The island
model genetic algorithm). An island learns of its own trials alone; migrants come by ``inject``
(``AcceptsMigrants``). Islands of a strategy without it have no migrants: they are independent searches in
turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kingyo.errors import KingyoError
from kingyo.strategies import STRATEGIES, build_within, derived_seed, pareto
from kingyo.strategies.checks import check_search, require, require_size
from kingyo.strategies.history import History, Observation, check_count, count_objectives
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

MOST_ISLANDS = 100


class Islands:
    """Several populations of another strategy, with migration around a ring; for the axes of that strategy.

    Trials are asked of the islands in turn. A child of a migrant names it as its parent by the number of the
    trial that it was elsewhere. Migrants are those of the best that an island itself has asked for which the
    next one has not met: by score, or with several objectives by front and crowding.

    Args:
        axes: the space.
        seed: 0 or more; each island derives its own from it.
        settings: see ``Settings``.

    Raises:
        KingyoError: axes or settings that make no sense, of the islands or of their strategy, each named.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of the islands."""

        strategy: str = field(
            default="ga", metadata={"doc": "what each island searches by; any strategy but islands"}
        )
        settings: Mapping[str, object] | None = field(
            default=None, metadata={"doc": "options of that strategy; default its own"}
        )
        islands: int = field(default=4, metadata={"doc": "how many populations"})
        migration_every: int = field(
            default=5, metadata={"doc": "generations of an island between two migrations"}
        )
        migrants: int = field(
            default=1,
            metadata={
                "doc": "how many go at once; 0, and islands never meet, where the strategy has no `inject`"
            },
        )

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        self._axes = check_search(axes, seed)
        _check_settings(settings)
        self._settings = settings
        self._history = History()
        self._islands = [
            _Island(_population(self._axes, derived_seed(seed, index), settings))
            for index in range(settings.islands)
        ]
        _check_migrants(settings, self._islands[0].strategy)
        self._homes: list[_Island] = []  # where each trial was asked
        self._turn = 0
        self._n_objectives: int | None = None

    @property
    def batch(self) -> int:
        """A generation of every island."""
        return sum(island.strategy.batch for island in self._islands)

    def ask(self, n: int) -> list[Trial]:
        """Ask the islands in turn; those that are exhausted are passed over."""
        check_count(n)
        if n == 0:
            return []
        self._take_in()
        self._migrate()
        trials: list[Trial] = []
        while len(trials) < n:
            new = self._round(n - len(trials))
            if not new:
                break
            trials += new
        return trials

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Pass outcomes on to whose trials they are."""
        n_objectives = count_objectives(outcomes, self._n_objectives)
        self._history.tell(outcomes)
        self._n_objectives = n_objectives
        for island in self._islands:
            mine = [each for each in outcomes if self._homes[each.trial.number] is island]
            island.strategy.tell([island.inward(each) for each in mine])

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        """Let every island know the tasks, if its strategy looks at items."""
        for island in self._islands:
            if isinstance(island.strategy, TaskAware):
                island.strategy.learn_tasks(task_of, weights)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Let every island know what was measured before, if its strategy can learn."""
        self._n_objectives = count_objectives(known, self._n_objectives)
        for island in self._islands:
            island.warm_start(known)

    def _take_in(self) -> None:
        """Sort what was told into islands. Here and not in ``tell``: its order must not matter."""
        fresh: dict[int, list[Observation]] = {}
        for observation in self._history.take_all():
            fresh.setdefault(id(self._homes[observation.number]), []).append(observation)
        for island in self._islands:
            island.take_in(fresh.get(id(island), []))

    def _migrate(self) -> None:
        k = self._settings.migrants
        due = [island.is_due(self._settings.migration_every) for island in self._islands]
        leaving = [island.best if is_due else [] for island, is_due in zip(self._islands, due, strict=True)]
        for index, crowd in enumerate(leaving):
            self._islands[(index + 1) % len(self._islands)].inject(crowd, k)

    def _round(self, n: int) -> list[Trial]:
        """Ask for n trials in all, of every island the same number, and put them in turn."""
        order = [self._islands[(self._turn + index) % len(self._islands)] for index in range(n)]
        self._turn = (self._turn + n) % len(self._islands)
        given = {
            id(island): iter(island.strategy.ask(sum(each is island for each in order)))
            for island in self._islands
        }
        trials: list[Trial] = []
        for island in order:
            inner = next(given[id(island)], None)
            if inner is not None:
                trials.append(self._history.ask(inner.genome, island.outward(inner.parents)))
                self._homes.append(island)
                island.asked(inner, trials[-1].number)
        return trials


class _Island:
    """One population, and who its numbers are outside."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.best: list[Observation] = []
        self._ended = 0
        self._inner: dict[int, Trial] = {}  # by outer number
        self._outer: dict[int, int] = {}  # by inner number, trials and migrants
        self._met: set[Genome] = set()
        self._next_migrant = -1

    def asked(self, inner: Trial, number: int) -> None:
        self._inner[number] = inner
        self._outer[inner.number] = number
        self._met.add(inner.genome)

    def inward(self, outcome: Outcome) -> Outcome:
        return replace(outcome, trial=self._inner[outcome.trial.number])

    def outward(self, parents: Iterable[int]) -> tuple[int, ...]:
        # A migrant and a trial of the island can be the same trial when a genome has been around the ring.
        return tuple(dict.fromkeys(self._outer[parent] for parent in parents))

    def warm_start(self, known: Sequence[Outcome]) -> None:
        if isinstance(self.strategy, InformedStrategy):
            self.strategy.warm_start(known)
        self._met.update(each.trial.genome for each in known)
        self._next_migrant = min([0, *(each.trial.number for each in known)]) - 1

    def take_in(self, fresh: Sequence[Observation]) -> None:
        self._ended += len(fresh)
        pool = [*self.best, *(observation for observation in fresh if observation.score is not None)]
        if pool:
            order, _ = pareto.best_first([observation.objectives for observation in pool])
            self.best = [pool[index] for index in order[: self.strategy.batch]]

    def is_due(self, generations: int) -> bool:
        period = generations * self.strategy.batch
        due, self._ended = self._ended >= period, self._ended % period
        return due

    def inject(self, crowd: Sequence[Observation], most: int) -> None:
        """Inject the first of a crowd that the island has not met."""
        if not isinstance(self.strategy, AcceptsMigrants):
            return
        new = [observation for observation in crowd if observation.genome not in self._met][:most]
        self._met.update(observation.genome for observation in new)
        migrants: list[Outcome] = []
        for observation in new:
            migrants.append(_migrant(observation, self._next_migrant))
            self._outer[self._next_migrant] = observation.number
            self._next_migrant -= 1
        if migrants:
            self.strategy.inject(migrants)


def _migrant(observation: Observation, number: int) -> Outcome:
    """Return the outcome under the number of a migrant; the answers to its items are not kept."""
    return Outcome(
        trial=Trial(number=number, genome=observation.genome),
        scores=tuple(
            ItemScore(item=item, score=score, answer="") for item, score in observation.items.items()
        ),
        value=observation.score,
        objectives=observation.objectives if len(observation.objectives) > 1 else (),
    )


def _population(axes: Sequence[Axis], seed: int, settings: Islands.Settings) -> Strategy:
    strategy = build_within(settings.strategy, axes, seed, settings.settings)
    nested = isinstance(strategy, Islands)
    require("strategy", settings.strategy, "a strategy other than islands", holds=not nested)
    return strategy


def _check_settings(settings: Islands.Settings) -> None:
    require_size("islands", settings.islands, 2, MOST_ISLANDS)
    require("migration_every", settings.migration_every, "1 or more", holds=settings.migration_every >= 1)
    require("migrants", settings.migrants, "0 or more", holds=settings.migrants >= 0)


def _check_migrants(settings: Islands.Settings, strategy: Strategy) -> None:
    if settings.migrants and not isinstance(strategy, AcceptsMigrants):
        raise KingyoError(
            "migrants",
            expected=f"0, since {settings.strategy} takes no migrants: it has no `inject`",
            received=f"{settings.migrants}",
            remedy="Set search.settings.migrants to 0 for islands that never meet, or take ga or nsga2.",
        )


STRATEGIES.register("islands")(Islands)
