"""The live display of a run: its parts, the best score so far, the time left.

On a terminal a table is redrawn in place; elsewhere a line is printed every 25 trials or ten seconds. It only
listens to events.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import cast

from rich.live import Live
from rich.markup import escape

from kingyo.cli.advice import AdviceWatcher
from kingyo.cli.console import Console, say
from kingyo.cli.parts_table import PartsTable, row_name, time_left
from kingyo.dry_run import Cost, ProgressPart, TimeLeft, remaining_cost
from kingyo.errors import KingyoError
from kingyo.evolution import BASELINES, Event, stored_objectives
from kingyo.io.units import counted
from kingyo.results.set_values import score_formatter
from kingyo.run.extend import undo_extension, undo_if_unused
from kingyo.run.later_controls import undo_control
from kingyo.run.resume import journey_of
from kingyo.run.run import Run
from kingyo.store import RunStore

REDRAWS_PER_SECOND = 4
TRIALS_PER_LINE = 25
SECONDS_PER_LINE = 10


class LiveDisplay:
    """Shows events of one run on standard error; ``quiet`` shows nothing.

    Use it as a context manager around the run, and say what the run will score (``expect``) before it begins.

    Args:
        store: of the run.
        quiet: whether to show nothing.
        console: where to print; standard error when None.
    """

    def __init__(self, store: RunStore, quiet: bool = False, console: Console | None = None) -> None:
        self._store = store
        self._quiet = quiet
        self._console = console or _standard_error()
        self._pace = TimeLeft(Cost(parts=()))
        self._in_words = score_formatter(stored_objectives(store))
        self._table = PartsTable(self._pace, self._in_words)
        self._live: Live | None = None
        self._lined = time.monotonic()

    def __enter__(self) -> LiveDisplay:
        if self._quiet:
            return self
        run = escape(str(self._store.folder))
        say(self._console, f"Run {run}. Ctrl-C stops it, `kingyo resume` goes on.")
        for note in cast("list[str]", self._store.fact("notes") or []):
            say(self._console, f"Note: {escape(note)}")
        if self._console.is_interactive:
            self._live = Live(
                get_renderable=lambda: self._table,
                console=self._console,
                refresh_per_second=REDRAWS_PER_SECOND,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._pace.finish()
        self.stop()

    def expect(self, cost: Cost) -> None:
        """Take in what the run will score, before its first event."""
        self._pace = TimeLeft(cost)
        self._table = PartsTable(self._pace, self._in_words)

    def stop(self) -> None:
        """Draw the table for the last time, where anything has begun; safe to call twice."""
        if self._live is not None:
            self._table.is_final = True
            self._live.transient = not self._pace.has_begun
            self._live.stop()
            self._live = None

    def tell(self, line: str) -> None:
        """Print a line for good, above what is drawn."""
        if not self._quiet:
            self._console.print(escape(line), soft_wrap=True)

    def notify(self, event: Event) -> None:
        """Take one event in."""
        self._pace.take(event)
        self._table.take(event)
        for line in () if self._quiet else self._lines(event):
            say(self._console, escape(line))

    def _lines(self, event: Event) -> Iterator[str]:
        """What is printed for good: scores of baselines on fit; without a table, of all that happens."""
        leg, is_log = self._pace.running, self._live is None
        if leg is None or (event.replayed and is_log):
            return
        if event.kind == "phase" and (is_log or leg.part.stage == "baselines"):
            yield _heading(leg)
        elif event.search == BASELINES and event.kind == "ended" and (is_log or event.split == "fit"):
            if event.value is not None and event.trial is not None:
                yield f"  {self._in_words(event.value):>7}  {event.trial.name}"
        elif is_log and event.split == "fit" and self._is_due(event, leg):
            self._lined = time.monotonic()
            yield self._trials_line(event)

    def _is_due(self, event: Event, leg: ProgressPart) -> bool:
        """Tell of the last trial not at its end: what counts of it is known only when it is told."""
        if event.kind == "told":
            return event.done == event.total and leg.new > 0
        is_late = time.monotonic() - self._lined >= SECONDS_PER_LINE
        is_round = event.done % TRIALS_PER_LINE == 0
        return event.kind == "ended" and event.done != event.total and (is_late or is_round)

    def _trials_line(self, event: Event) -> str:
        done = counted(event.done, "trial")
        best, measured = self._table.best(row_name(event.search, "fit"))
        best = f"{best} ({measured})" if measured else best
        left = time_left(self._pace)
        return f"  {done}{f', best {best}' if best else ''}{f'; {left}' if left else ''}"


def run_shown(store: RunStore, run: Run | None, display: LiveDisplay) -> Run:
    """Take a run to its end, shown and with warnings about its scores.

    Args:
        store: of the run, open for writing.
        run: of the store, if it is open already.
        display: entered.

    Returns:
        The run.

    Raises:
        KingyoError: it cannot go on; what was added to it last is taken back then.
    """
    try:
        opened = Run.stored(store) if run is None else run
        notify = AdviceWatcher(store, display.tell, display.notify).notify
        journey = journey_of(opened, notify)
        display.expect(remaining_cost(journey))
        journey.run()
    except KingyoError:
        undo_extension(store)  # what cannot even begin must not cost a run its winner or its end
        undo_control(store)
        raise
    undo_if_unused(store)
    return opened


def _standard_error() -> Console:
    """A console that draws in place on a terminal alone: FORCE_COLOR makes no terminal of a file."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return Console(stderr=True, highlight=False, force_interactive=None if is_terminal else False)


def _heading(leg: ProgressPart) -> str:
    part = leg.part
    who = row_name(part.name, "fit")
    name = f"{who[:1].upper()}{who[1:]} on {part.split}"
    models = "as many models as time allows" if leg.total is None else counted(leg.total, "model")
    most = "up to " if part.stage in ("search", "controls", "validation") else ""
    return f"{name}: {models}" + (f", {most}{counted(part.items, 'item')} each" if part.items else "")
