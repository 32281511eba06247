"""Extensions of a run: later additions to the budget of its main search.

A run keeps the config that it began with. The fact ``extensions`` lists the additions, so the log of
the search replays from the original config.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import cast

from kingyo.evolution import MAIN, Limits, Search
from kingyo.io.schema import parse_settings
from kingyo.io.units import amount_text
from kingyo.run.config_sections import Budget
from kingyo.screens import ScreenSettings
from kingyo.store import RunStore

FACT = "extensions"
Amounts = Mapping[str, float]
"""Key of the budget -> amount added."""


@dataclass(frozen=True, kw_only=True)
class Extension:
    """One addition to the budget of a run.

    Attributes:
        at: time in seconds since 1970.
        more: the added amounts.
        trials: number of trials in the main search before.
        winners: search -> trial id of its winner before.
        test_was_read: whether test had been read before.
        status: the run's status before.
    """

    at: float
    more: Amounts
    trials: int
    winners: Mapping[str, int] = field(default_factory=dict[str, int])
    test_was_read: bool = False
    status: str = "running"

    def __str__(self) -> str:
        """Return the added amounts, such as "+60 candidates"."""
        return ", ".join(f"+{amount_text(key, value)}" for key, value in self.more.items())


@dataclass(frozen=True, kw_only=True)
class TestReading:
    """One reading of test for a winner.

    Attributes:
        trial: number of the winning trial.
        after: the extensions before it.
    """

    trial: int
    after: tuple[Extension, ...]


def read_extensions(store: RunStore) -> tuple[Extension, ...]:
    """Return the extensions of a run, oldest first."""
    records = cast("list[dict[str, object]]", store.fact(FACT) or [])
    return tuple(Extension(**record) for record in records)  # type: ignore[arg-type]


def readings_of_test(store: RunStore) -> tuple[TestReading, ...]:
    """Return the winners of the main search that test was read for, oldest first.

    Test is read once per winner, also if an extension picks it again.
    """
    extensions = read_extensions(store)
    winner = store.winner(MAIN)
    winners = [each.winners.get(MAIN) if each.test_was_read else None for each in extensions]
    readings: dict[int, TestReading] = {}
    for n, trial in enumerate([*winners, winner.id if winner is not None else None]):
        if trial is not None and trial not in readings and store.evaluation(trial, "test") is not None:
            readings[trial] = TestReading(trial=store.trial(trial).asked.number, after=extensions[:n])
    return tuple(readings.values())


def note_on_test(store: RunStore) -> str | None:
    """Return what extensions after a reading of test mean for the test score; None without one."""
    extensions = [each for each in read_extensions(store) if each.test_was_read]
    readings = readings_of_test(store)
    if not extensions or not readings:
        return None
    first, *others = readings
    if others:
        times = "; ".join(f"then, after {_listed(each.after)}, for trial {each.trial}" for each in others)
        return (
            f"Test was read {len(readings)} times: first for trial {first.trial}; {times}. The test score of "
            "a winner that was picked after test was read is biased, because the decision to continue may "
            "have depended on the first reading. Only unseen items give an unbiased score."
        )
    more = _listed(extensions)
    if store.winner(MAIN) is None:
        return f"Test was read for trial {first.trial} before the run was extended by {more}."
    return f"Test was read once, before the run was extended by {more}; the winner stayed the same."


def _listed(extensions: Sequence[Extension]) -> str:
    return " and ".join(str(extension) for extension in extensions)


def as_initial_budget(store: RunStore) -> list[dict[str, object]]:
    """Return the extensions of a run that begins again: all apply from its first ask, without winners."""
    extensions = (
        replace(each, trials=-1, winners={}, test_was_read=False) for each in read_extensions(store)
    )
    return [asdict(extension) for extension in extensions]


def with_extensions(searches: Sequence[Search], store: RunStore) -> list[Search]:
    """Return the searches with their stored screens, and the main one with its extended limits."""
    more = [extension.more for extension in read_extensions(store)]
    as_begun = [_with_stored_screen(search, store.searches()) for search in searches]
    return [
        replace(search, limits=extended_limits(search.limits, more)) if search.name == MAIN else search
        for search in as_begun
    ]


def _with_stored_screen(search: Search, stored: Mapping[str, Mapping[str, object]]) -> Search:
    """Return a search with its stored screen; another version of kingyo may have another default."""
    name = next((each for each in (search.name, *search.like) if each in stored), None)
    screen = None if name is None else stored[name].get("screen")
    if screen is None or screen == search.description.get("screen"):
        return search
    return replace(
        search,
        screen=parse_settings(ScreenSettings, cast("Mapping[str, object]", screen), "search.screen"),
        description={**search.description, "screen": screen},
    )


def extended_limits(limits: Limits, more: Sequence[Amounts]) -> Limits:
    """Return limits plus amounts; a missing limit stays missing."""

    def added(key: str) -> float:
        return sum(amounts.get(key, 0) for amounts in more)

    candidates, items, seconds = limits.candidates, limits.item_evaluations, limits.seconds
    return Limits(
        candidates=None if candidates is None else int(candidates + added("candidates")),
        item_evaluations=None if items is None else int(items + added("item_evaluations")),
        seconds=None if seconds is None else seconds + 60 * added("minutes"),
    )


def limits_of(budget: Budget) -> Limits:
    """Return a budget as limits of a search."""
    return Limits(
        candidates=budget.candidates,
        item_evaluations=budget.item_evaluations,
        seconds=None if budget.minutes is None else budget.minutes * 60,
    )
