"""More of a run: its main search goes on with a larger budget, or a control is run that it began without.

The run keeps the config that it began with; what was added stands in the fact ``extensions``, one entry each:
when, what, which trials had won before, and whether test had been read. So all that is built from the config
is what it was, and the log of the search replays.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import cast

from kingyo.errors import KingyoError
from kingyo.evolution import BASELINES, MAIN, Limits, Search
from kingyo.evolution.budget import Spent
from kingyo.io.schema import parse_settings
from kingyo.io.units import amount_text, counted
from kingyo.run.config import WEIGHT_SEARCH, RunConfig
from kingyo.run.config_sections import Budget
from kingyo.run.settings import RunSettings
from kingyo.screens import Screen, ScreenSettings
from kingyo.store import RunStore, StoredTrial

FACT = "extensions"
MAX_FACTOR = 100  # the budget so far: more than this in one extension is taken for a slip
Amounts = Mapping[str, float]
"""Key of the budget -> how much was added."""


@dataclass(frozen=True, kw_only=True)
class Extension:
    """One addition to the budget of a run.

    Attributes:
        at: when, in seconds since 1970.
        more: what was added.
        trials: how many the main search had by then.
        winners: search -> the trial (its id) that had won before.
        test_was_read: whether anything had been scored on test before.
        status: of the run before.
    """

    at: float
    more: Amounts
    trials: int
    winners: Mapping[str, int] = field(default_factory=dict[str, int])
    test_was_read: bool = False
    status: str = "running"

    def __str__(self) -> str:
        """Return "+60 candidates"."""
        return said(self.more)


@dataclass(frozen=True, kw_only=True)
class TestReading:
    """One time that test was read for a winner.

    Attributes:
        trial: the winner, by its number.
        after: the extensions before it.
    """

    trial: int
    after: tuple[Extension, ...]


def said(more: Amounts) -> str:
    """Return what was added in words: "+60 candidates"."""
    return ", ".join(f"+{amount_text(key, value)}" for key, value in more.items())


def readings_of_test(store: RunStore) -> tuple[TestReading, ...]:
    """Return for which winners of the main search test was read, the first first.

    A winner that was picked again after an extension was not read again: its scores are stored.
    """
    made = read_extensions(store)
    last = store.winner(MAIN)
    before = [each.winners.get(MAIN) if each.test_was_read else None for each in made]
    found: dict[int, TestReading] = {}
    for n, winner in enumerate([*before, last.id if last is not None else None]):
        if winner is not None and winner not in found and store.evaluation(winner, "test") is not None:
            found[winner] = TestReading(trial=store.trial(winner).asked.number, after=made[:n])
    return tuple(found.values())


def note_on_test(store: RunStore) -> str | None:
    """Say what an extension after test was read means for the winner's test score; None without one."""
    made = [each for each in read_extensions(store) if each.test_was_read]
    readings = readings_of_test(store)
    if not made or not readings:
        return None
    first, *others = readings
    if others:
        times = "; ".join(f"then, after {_listed(each.after)}, for trial {each.trial}" for each in others)
        return (
            f"Test was read {len(readings)} times: first for trial {first.trial}; {times}. A winner that is "
            "picked after test was seen has a test score that is no longer an unbiased estimate: whether the "
            "search went on may have depended on the first reading. Only items that nobody has seen give "
            "an unbiased score."
        )
    more = _listed(made)
    if store.winner(MAIN) is None:
        return f"Test was read for trial {first.trial} before the run was given {more}."
    return f"Test was read once, before the run was given {more}, which brought no other winner."


def _listed(made: Sequence[Extension]) -> str:
    return " and ".join(str(each) for each in made)


def read_extensions(store: RunStore) -> tuple[Extension, ...]:
    """Return the extensions of a run, the first first."""
    stored = cast("list[dict[str, object]]", store.fact(FACT) or [])
    return tuple(Extension(**each) for each in stored)  # type: ignore[arg-type]


def as_initial_budget(store: RunStore) -> list[dict[str, object]]:
    """Return the extensions as a run has them that begins again: it has them all from its first ask.

    None of them has brought a winner, or can be taken back.
    """
    made = (replace(each, trials=-1, winners={}, test_was_read=False) for each in read_extensions(store))
    return [asdict(each) for each in made]


def asked_controls(store: RunStore) -> tuple[str, ...]:
    """Return the controls that were asked for after the run began."""
    return tuple(cast("list[str]", store.fact("controls") or []))


def with_asked_controls(config: RunConfig, store: RunStore) -> RunConfig:
    """Return the config of a run with the controls switched on that were asked for later."""
    asked = dict.fromkeys(asked_controls(store), True)
    return config.model_copy(update={"controls": config.controls.model_copy(update=asked)})


def missing_controls(store: RunStore) -> tuple[str, ...]:
    """Return the controls that a finished run could have and has not; none where that is not known."""
    if store.status() != "finished":
        return ()
    possible = cast("list[str]", store.fact("possible_controls") or [])
    return tuple(name for name in possible if name not in store.searches())


def control_command(folder: str, control: str) -> str:
    """Return the command that runs a control of a finished run."""
    return f"kingyo control {shlex.quote(folder)} {control}"


def with_extensions(searches: Sequence[Search], store: RunStore) -> list[Search]:
    """Return the searches as the run began them, with the limits of the main one raised by its extensions."""
    more = [each.more for each in read_extensions(store)]
    found = [_as_begun(each, store.searches()) for each in searches]
    return [replace(each, limits=_plus(each.limits, more)) if each.name == MAIN else each for each in found]


def _as_begun(search: Search, stored: Mapping[str, Mapping[str, object]]) -> Search:
    """Give a search the screen that it, or the search that it is a control of, has had so far.

    What a preset gives may differ in another version of kingyo.
    """
    name = next((each for each in (search.name, *search.like) if each in stored), None)
    screen = None if name is None else stored[name].get("screen")
    if screen is None or screen == search.description.get("screen"):
        return search
    return replace(
        search,
        screen=parse_settings(ScreenSettings, cast("Mapping[str, object]", screen), "search.screen"),
        description={**search.description, "screen": screen},
    )


def extend(store: RunStore, settings: RunSettings, more: Amounts) -> None:
    """Add to the budget of a run, and forget its winners but not how they scored; nothing is run yet.

    Of weights and paths in turn, the search of paths gets it all.

    Args:
        store: the run, open for writing.
        settings: that it began with.
        more: what to add, above 0.

    Raises:
        KingyoError: the run has no such budget, not one more candidate would fit, or it is more than a
            hundred times the budget; nothing is changed then.
    """
    budget = (settings.then or settings.first).budget
    before = read_extensions(store)
    for key, value in more.items():
        _require_key(store, budget, key)
        had = float(getattr(budget, key)) + sum(each.more.get(key, 0) for each in before)
        _require_plausible(key, value, had)
    trials = _trials(store)
    _require_room(store, budget, [*(each.more for each in before), more])
    names = [name for name in store.searches() if name not in (BASELINES, WEIGHT_SEARCH)]
    winners = {name: winner.id for name in names if (winner := store.winner(name)) is not None}
    added = Extension(
        at=time.time(),
        more=more,
        trials=len(trials),
        winners=winners,
        test_was_read=bool(store.summaries("test")),
        status=str(store.fact("status")),
    )
    facts = {FACT: [asdict(each) for each in (*before, added)], "status": "running"}
    store.reopen(facts, dict.fromkeys(winners))


def undo_if_unused(store: RunStore) -> None:
    """Take back the last extension of a run that is finished again, if the search had no more to ask for.

    Raises:
        KingyoError: it had nothing. Everything is as before the extension then.
    """
    taken = undo_extension(store) if store.status() == "finished" else None
    if taken is not None:
        raise KingyoError(
            f"search '{MAIN}'",
            expected=f"a search that has more to try, for {taken}",
            received=f"one that ended by itself after {counted(taken.trials, 'candidate')}: all tried, "
            "or converged",
            remedy="Nothing was added. Start a new run with wider ranges, another strategy or another seed.",
        )


def undo_extension(store: RunStore) -> Extension | None:
    """Undo the last extension if it has brought no trial; return it, or None where there is none to undo."""
    found = read_extensions(store)
    if not found or len(_trials(store)) > found[-1].trials:
        return None
    *before, last = found
    facts = {FACT: [asdict(each) for each in before], "status": last.status}
    store.reopen(facts, last.winners)
    return last


def undo_control(store: RunStore) -> None:
    """Undo a control that was asked for and has not begun: without it the run is finished."""
    names, begun = asked_controls(store), store.searches()
    kept = [name for name in names if name in begun]
    if len(kept) < len(names) and store.winner(MAIN) is not None:
        store.reopen({"controls": kept, "status": "finished"}, {})


def _trials(store: RunStore) -> list[StoredTrial]:
    return store.trials(MAIN) if MAIN in store.searches() else []


def _plus(limits: Limits, more: Sequence[Amounts]) -> Limits:
    def plus(limit: float | None, key: str, scale: float = 1) -> float | None:
        return None if limit is None else limit + sum(scale * each.get(key, 0) for each in more)

    candidates, items = (
        plus(limits.candidates, "candidates"),
        plus(limits.item_evaluations, "item_evaluations"),
    )
    return Limits(
        candidates=None if candidates is None else int(candidates),
        item_evaluations=None if items is None else int(items),
        seconds=plus(limits.seconds, "minutes", 60),
    )


def _require_key(store: RunStore, budget: Budget, key: str) -> None:
    own = [name for name, value in budget.model_dump().items() if value is not None]
    if key not in own:
        flags = " or ".join(f"--{name.replace('_', '-')}" for name in own)
        raise KingyoError(
            f"--{key.replace('_', '-')}",
            expected=f"more of the run's own budget, which bounds {' and '.join(own).replace('_', ' ')}",
            received=f"{key.replace('_', ' ')}, which it does not bound",
            remedy=f"Say {flags}. `kingyo show {store.folder}` shows the run.",
        )


def _require_plausible(key: str, given: float, had: float) -> None:
    """Refuse an amount that must be a slip: nothing ends such a search but all of its budget."""
    if given > MAX_FACTOR * had:
        raise KingyoError(
            f"--{key.replace('_', '-')}",
            expected=f"at most {MAX_FACTOR} times the run's budget so far, which is {amount_text(key, had)}",
            received=f"+{amount_text(key, given)}",
            remedy="If you want that many, extend the run again when these are done.",
        )


def _require_room(store: RunStore, budget: Budget, more: Sequence[Amounts]) -> None:
    """Refuse what would not buy one candidate, because it is too little or another bound is reached."""
    told = store.searches().get(MAIN)
    if told is None:
        return
    costs = store.costs(MAIN, "fit").values()
    spent = Spent(
        trials=len(store.trials(MAIN)),
        items=sum(items for items, _ in costs),
        seconds=sum(seconds for _, seconds in costs),
    )
    screen = cast("dict[str, object]", told.get("screen") or {})
    most = Screen(ScreenSettings(items=cast("int | None", screen.get("items"))), 0).most_items(
        len(store.items()["fit"])
    )
    limits = _plus(limits_of(budget), more)
    bounds = {
        "candidates": (Limits(candidates=limits.candidates), f"{spent.trials} of {limits.candidates}"),
        "item_evaluations": (
            Limits(item_evaluations=limits.item_evaluations),
            f"{spent.items} of {limits.item_evaluations}, and the next candidate takes up to {most}",
        ),
        "minutes": (
            Limits(seconds=limits.seconds),
            f"{spent.seconds / 60:.3g} of {(limits.seconds or 0) / 60:.3g}",
        ),
    }
    for key, (limit, used) in bounds.items():
        if spent.room(limit, 1, most) < 1:
            flag = f"--{key.replace('_', '-')}"
            raise KingyoError(
                flag,
                expected="enough for one more candidate, of every bound of the budget",
                received=f"{key.replace('_', ' ')} used up even then: {used}",
                remedy=f"Say {flag} +N, with a larger N.",
            )


def limits_of(budget: Budget) -> Limits:
    """Return a budget as limits of a search."""
    return Limits(
        candidates=budget.candidates,
        item_evaluations=budget.item_evaluations,
        seconds=None if budget.minutes is None else budget.minutes * 60,
    )
