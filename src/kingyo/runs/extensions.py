"""What a run gets after it began: more budget, and controls. Undo what brought nothing.

A run keeps the config that it began with. The facts ``extensions`` and ``controls`` list the additions, so
the log of the search replays from the original config.
"""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from kingyo.core.io.units import amount_text, counted
from kingyo.errors import KingyoError
from kingyo.runs.config import RANDOM_SOURCES, TUNED, WEIGHT_SEARCH, RunConfig, TuneConfig
from kingyo.search.evolution import BASELINES, MAIN, Search
from kingyo.store import Fact, RunStore

Amounts = Mapping[str, float]
"""Key of the budget -> amount added."""


@dataclass(frozen=True, kw_only=True)
class Extension:
    """One addition to the budget of a run."""

    at: float
    more: Amounts
    trials: int
    winners: Mapping[str, int] = field(default_factory=dict[str, int])
    test_was_read: bool = False
    status: str = "running"

    def __str__(self) -> str:
        return ", ".join(f"+{amount_text(key, value)}" for key, value in self.more.items())


@dataclass(frozen=True, kw_only=True)
class TestReading:
    """One reading of test for a winner."""

    trial: int
    after: tuple[Extension, ...]


EXTENSIONS = Fact("extensions", tuple[Extension, ...], ())
CONTROLS_ASKED = Fact("controls", tuple[str, ...], ())
"""Controls that were requested after the run began."""
POSSIBLE_CONTROLS = Fact("possible_controls", tuple[str, ...], ())
DEFAULT_CONTROLS = Fact("default_controls", dict[str, float], {})
"""Controls that a run has by default, and their settings."""
TUNABLE = Fact("tunable", bool, False)
"""Whether a LoRA can be trained on the bred model."""
TUNE = Fact("tune", TuneConfig)
"""The settings of a tuning that was requested after the run began."""


def readings_of_test(store: RunStore) -> tuple[TestReading, ...]:
    """Return the winners of the main search that test was read for, oldest first.

    Test is read once per winner, also if an extension picks it again.
    """
    extensions = store.fact(EXTENSIONS)
    winner = store.winner(MAIN)
    winners = [each.winners.get(MAIN) if each.test_was_read else None for each in extensions]
    readings: dict[int, TestReading] = {}
    for n, trial in enumerate([*winners, winner.id if winner is not None else None]):
        if trial is not None and trial not in readings and store.evaluation(trial, "test") is not None:
            readings[trial] = TestReading(trial=store.trial(trial).asked.number, after=extensions[:n])
    return tuple(readings.values())


def note_on_test(store: RunStore) -> str | None:
    """Return what extensions after a reading of test mean for the test score; None without one."""
    extensions = [each for each in store.fact(EXTENSIONS) if each.test_was_read]
    readings = readings_of_test(store)
    if not extensions or not readings:
        return None
    first, *others = readings
    if not others:
        more = " and ".join(map(str, extensions))
        return f"Test was read once, for trial {first.trial}, before the run was extended by {more}."
    times = "; ".join(
        f"then, after {' and '.join(map(str, each.after))}, for trial {each.trial}" for each in others
    )
    return (
        f"Test was read {len(readings)} times: first for trial {first.trial}; {times}. The test score of "
        "a winner that was picked after test was read is biased, because the decision to continue may "
        "have depended on the first reading. Only unseen items give an unbiased score."
    )


def as_initial_budget(store: RunStore) -> tuple[Extension, ...]:
    """Return the extensions of a run that begins again: all apply from its first ask, without winners."""
    extensions = store.fact(EXTENSIONS)
    return tuple(replace(each, trials=-1, winners={}, test_was_read=False) for each in extensions)


def with_extensions(searches: Sequence[Search], store: RunStore) -> list[Search]:
    extended = {search.name: search for search in searches}
    for extension in store.fact(EXTENSIONS) if MAIN in extended else ():
        main = extended[MAIN]
        extended[MAIN] = replace(main, limits=main.limits.plus(extension.more))
    return list(extended.values())


def extend(store: RunStore, more: Amounts) -> None:
    """Add to the budget of a run and delete its winners, not their scores; nothing is run yet.

    If weights and paths are searched in turn, the path search gets the full addition.
    """
    names = [name for name in store.searches() if name not in (BASELINES, WEIGHT_SEARCH)]
    winners = {name: winner.id for name in names if (winner := store.winner(name)) is not None}
    extension = Extension(
        at=time.time(),
        more=more,
        trials=len(store.trials(MAIN)),
        winners=winners,
        test_was_read=bool(store.summaries("test")),
        status=str(store.fact("status")),
    )
    facts = {EXTENSIONS: (*store.fact(EXTENSIONS), extension), "status": "running"}
    store.reopen(facts, dict.fromkeys(winners))


@contextmanager
def kept_if_used(store: RunStore) -> Generator[None]:
    """Undo the last addition to a run if the run cannot continue with it, or ends without using it."""
    try:
        yield
    except KingyoError:
        undo_extension(store)
        undo_control(store)
        raise
    undo_if_unused(store)


def undo_if_unused(store: RunStore) -> None:
    """Undo the last extension if the run finished without another trial."""
    extensions = store.fact(EXTENSIONS)
    if store.status() != "finished" or not extensions or extensions[-1].status != "finished":
        return
    unused = undo_extension(store)
    if unused is not None:
        received = (
            f"none after {counted(unused.trials, 'candidate')}: all tried, converged, or too small "
            "an addition for one more"
        )
        remedy = "Add more, or start a new run with wider ranges, another strategy or another seed."
        raise KingyoError(f"search '{MAIN}'", f"another candidate for {unused}", received, remedy)


def undo_extension(store: RunStore) -> Extension | None:
    """Undo the last extension if it brought no trial; return it, or None."""
    extensions = store.fact(EXTENSIONS)
    if not extensions or len(store.trials(MAIN)) > extensions[-1].trials:
        return None
    before, last = extensions[:-1], extensions[-1]
    store.reopen({EXTENSIONS: before, "status": last.status}, last.winners)
    return last


def with_asked_controls(config: RunConfig, store: RunStore) -> RunConfig:
    later = (name for name in store.fact(CONTROLS_ASKED) if name != RANDOM_SOURCES)
    asked = {**store.fact(DEFAULT_CONTROLS), **dict.fromkeys(later, True)}
    tune = store.fact(TUNE) or config.tune
    return config.model_copy(update={"controls": config.controls.model_copy(update=asked), "tune": tune})


def missing_controls(store: RunStore) -> tuple[str, ...]:
    is_finished, done = store.status() == "finished", store.searches()
    return tuple(name for name in store.fact(POSSIBLE_CONTROLS) if is_finished and name not in done)


def undo_control(store: RunStore) -> None:
    """Drop a requested control or tuning that has not begun, and mark the run as finished again."""
    asked, begun = store.fact(CONTROLS_ASKED), store.searches()
    kept = tuple(name for name in asked if name in begun)
    is_tuning_unused = store.fact(TUNE) is not None and TUNED not in begun
    if (kept != asked or is_tuning_unused) and store.winner(MAIN) is not None:
        unused = {TUNE: None} if is_tuning_unused else {}
        store.reopen({CONTROLS_ASKED: kept, "status": "finished", **unused}, {})
