"""Runs whose strategies keep notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kingyo.evolution import Journey, Limits
from kingyo.runners import LocalRunner, Runner
from kingyo.store import RunStore
from kingyo.strategies import build
from kingyo.types import Outcome, Resumable, Strategy, Trial
from tests.screened_runs import AXES, SMALL_GP, Model, journey

MADE: dict[str, dict[str, object]] = {
    "item-gp": SMALL_GP,
    "m2n2": {"population": 5, "batch": 2},
    "tpe": {"batch": 5, "startup": 5, "memory": 30},
    "coarse-to-fine": {"settings": SMALL_GP, "per_gene": 4.0},
    "islands": {"strategy": "item-gp", "settings": {**SMALL_GP, "batch": 3}, "islands": 2, "migrants": 0},
}


BUDGET = Limits(candidates=40)


class Counted:
    """A strategy with states that counts for how many trials it was asked, and how often it was restored."""

    def __init__(self, strategy: Strategy) -> None:
        assert isinstance(strategy, Resumable)
        self._strategy = strategy
        self.n_asked = 0
        self.n_restored = 0

    @property
    def batch(self) -> int:
        return self._strategy.batch

    def ask(self, n: int) -> list[Trial]:
        trials = self._strategy.ask(n)
        self.n_asked += len(trials)
        return trials

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self._strategy.tell(outcomes)

    def learn(self, known: Sequence[Outcome]) -> None:
        getattr(self._strategy, "learn", lambda _: None)(known)

    def state(self) -> Mapping[str, object] | None:
        return self._strategy.state()

    def restore(
        self, state: Mapping[str, object], trials: Sequence[Trial], outcomes: Sequence[Outcome]
    ) -> None:
        self.n_restored += 1
        self._strategy.restore(state, trials, outcomes)


def made(name: str, **settings: object) -> Counted:
    return Counted(build(name, AXES, 3, {**MADE[name], **settings}))


def noted(
    store: RunStore, runner: Model | Runner, strategy: Strategy, *, is_asynchronous: bool = False
) -> Journey:
    """A journey that notes a state with every ask."""
    made = journey(store, Model(), strategy, limits=BUDGET)
    main, control = made.searches
    main = replace(main, note_after=0.0, is_asynchronous=is_asynchronous)
    runner = LocalRunner(runner) if isinstance(runner, Model) else runner
    return replace(made, runner=runner, searches=[main, control])
