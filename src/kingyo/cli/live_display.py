"""The live display of a run: its parts, the best score so far, and the time left.

On a terminal a table is redrawn in place; elsewhere a line is printed every 25 trials or ten seconds.
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
from kingyo.cli.console import Console, print_text
from kingyo.cli.parts_table import PartsTable, row_name, time_left
from kingyo.dry_run import Cost, ProgressPart, TimeLeft, remaining_cost
from kingyo.evolution import BASELINES, Event, stored_objectives
from kingyo.io.units import counted
from kingyo.results.set_values import score_formatter
from kingyo.run.extensions import kept_if_used
from kingyo.run.resume import journey_of
from kingyo.run.run import Run
from kingyo.store import RunStore

REDRAWS_PER_SECOND = 4
TRIALS_PER_LINE = 25
SECONDS_PER_LINE = 10


class LiveDisplay:
    """Show the progress of a run on standard error.

    Use it as a context manager around the run, and call ``expect`` before the first event.

    Args:
        store: the run.
        quiet: whether to show nothing.
        console: the console to print to. Default: standard error.
    """

    def __init__(self, store: RunStore, quiet: bool = False, console: Console | None = None) -> None:
        self._store = store
        self._quiet = quiet
        self._console = console or _standard_error()
        self._pace = TimeLeft(Cost(parts=()))
        self._value_text = score_formatter(stored_objectives(store))
        self._table = PartsTable(self._pace, self._value_text)
        self._live: Live | None = None
        self._last_line = time.monotonic()
        self._has_started = False
        self._n_stored = 0

    def __enter__(self) -> LiveDisplay:
        if self._quiet:
            return self
        run = escape(str(self._store.folder))
        print_text(self._console, f"Run {run}. Stop it with Ctrl-C, continue with `kingyo resume`.")
        for note in cast("list[str]", self._store.fact("notes") or []):
            print_text(self._console, f"Note: {escape(note)}")
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
        """Set the expected cost of the run."""
        self._pace = TimeLeft(cost)
        self._table = PartsTable(self._pace, self._value_text)

    def stop(self) -> None:
        """Draw the final table, if the run has begun; safe to call twice."""
        if self._live is not None:
            self._table.is_final = True
            self._live.transient = not self._pace.has_begun
            self._live.stop()
            self._live = None

    def print_line(self, line: str) -> None:
        """Print a line above the table."""
        if not self._quiet:
            self._console.print(escape(line), soft_wrap=True)

    def notify(self, event: Event) -> None:
        """Update the display with an event."""
        self._pace.take(event)
        self._table.take(event)
        for line in () if self._quiet else self._lines(event):
            print_text(self._console, escape(line))

    def _lines(self, event: Event) -> Iterator[str]:
        """Yield lines to print: scores of baselines on fit; without a table, also the progress of all parts.

        The heading of a part with stored scores is printed before its first new score. A part that is stored
        completely prints nothing.
        """
        leg, is_log = self._pace.running, self._live is None
        if leg is None or event.replayed:
            return
        if self._starts_part(event, leg) and (is_log or leg.part.stage == "baselines"):
            yield _heading(leg, self._n_stored)
        if event.search == BASELINES and event.kind == "ended" and (is_log or event.split == "fit"):
            if event.value is not None and event.trial is not None:
                yield f"  {self._value_text(event.value):>7}  {event.trial.name}"
        elif is_log and event.split == "fit" and self._is_due(event, leg):
            self._last_line = time.monotonic()
            yield self._trials_line(event)

    def _starts_part(self, event: Event, leg: ProgressPart) -> bool:
        """Whether an event starts a part; if some scores are stored, the first new score does."""
        if event.kind == "phase":
            self._n_stored, self._has_started = len(leg.scored), False
        is_new = event.kind in ("ended", "more") or not self._n_stored
        starts = is_new and not self._has_started
        self._has_started = self._has_started or is_new
        return starts

    def _is_due(self, event: Event, leg: ProgressPart) -> bool:
        """Whether a line is due. The last trial is shown when its value is known, after its batch."""
        if event.kind == "told":
            return event.done == event.total and leg.new > 0
        is_late = time.monotonic() - self._last_line >= SECONDS_PER_LINE
        is_round = event.done % TRIALS_PER_LINE == 0
        return event.kind == "ended" and event.done != event.total and (is_late or is_round)

    def _trials_line(self, event: Event) -> str:
        done = counted(event.done, "trial")
        best, measured = self._table.best(row_name(event.search, "fit"))
        best = f"{best} ({measured})" if measured else best
        left = time_left(self._pace)
        return f"  {done}{f', best {best}' if best else ''}{f'; {left}' if left else ''}"


def run_shown(store: RunStore, run: Run | None, display: LiveDisplay) -> Run:
    """Run to the end with a display, and with warnings about scores.

    Args:
        store: the run, open for writing.
        run: the opened run of the store; None opens it.
        display: an entered display.

    Returns:
        The run.

    Raises:
        KingyoError: the run cannot continue. Budget or a control that was added last is removed again.
    """
    with kept_if_used(store):
        opened = Run.stored(store) if run is None else run
        notify = AdviceWatcher(store, display.print_line, display.notify).notify
        journey = journey_of(opened, notify)
        display.expect(remaining_cost(journey))
        journey.run()
    return opened


def _standard_error() -> Console:
    """Return a console that redraws only on a terminal, even if FORCE_COLOR is set."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return Console(stderr=True, highlight=False, force_interactive=None if is_terminal else False)


def _heading(leg: ProgressPart, n_stored: int) -> str:
    part = leg.part
    row = row_name(part.name, "fit")
    name = f"{row[:1].upper()}{row[1:]} on {part.split}"
    models = "as many models as time allows" if leg.total is None else counted(leg.total, "model")
    stored = f" ({n_stored} stored)" if n_stored else ""
    limit = "up to " if part.stage in ("search", "controls", "validation") else ""
    items = f", {limit}{counted(part.items, 'item')} each" if part.items else ""
    return f"{name}: {models}{stored}{items}"
