"""The live display of a run: its parts, the best scores so far, and the time left.

On a terminal a table is redrawn in place; elsewhere a line is printed every 25 trials or ten seconds, and
every half minute within a model.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import cast

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kingyo.cli.advice import AdviceWatcher
from kingyo.cli.console import Console, print_text
from kingyo.cli.part_progress import PartProgress
from kingyo.cli.run_progress import RunProgress, row_name
from kingyo.dry_run import Cost, choice_cost, remaining_cost, total
from kingyo.evolution import BASELINES, Event, stored_objectives
from kingyo.io.units import counted, percent, time_text
from kingyo.results.unit import unit_of
from kingyo.run.begin import make_choice
from kingyo.run.choice import is_choosing
from kingyo.run.config import TRAININGS
from kingyo.run.extensions import kept_if_used
from kingyo.run.resume import is_complete, journey_of, require_same_code
from kingyo.run.run import Run
from kingyo.store import RunStore
from kingyo.views.advice import setup_warnings

REDRAWS_PER_SECOND = 4
TRIALS_PER_LINE = 25
SECONDS_PER_LINE = 10
SECONDS_WITHIN_MODEL = 30
BAR_WIDTH = 16


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
        self._progress = RunProgress(Cost(parts=()))
        self._value_text = unit_of(stored_objectives(store)).text
        self._live: Live | None = None
        self._last_line = self._progress.clock()

    def __enter__(self) -> LiveDisplay:
        if not self._quiet and not is_complete(self._store):
            run = escape(str(self._store.folder))
            print_text(self._console, f"Run {run}. Stop it with Ctrl-C, continue with `kingyo resume`.")
            for note in cast("list[str]", self._store.fact("notes") or []):
                print_text(self._console, f"Note: {escape(note)}")
            for each in setup_warnings(self._store):
                print_text(self._console, escape(str(each.statement)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def expect(self, cost: Cost, n_workers: int = 1) -> None:
        """Set the expected cost of the run, and the number of models that are scored at a time."""
        self._progress = RunProgress(cost, n_workers)

    def print_line(self, line: str) -> None:
        """Print a line above the table."""
        if not self._quiet:
            self._console.print(escape(line), soft_wrap=True)

    def notify(self, event: Event) -> None:
        """Update the display with an event."""
        self._progress.take(event)
        if self._quiet:
            return
        if self._console.is_interactive and self._live is None:
            self._live = Live(
                get_renderable=self._view, console=self._console, refresh_per_second=REDRAWS_PER_SECOND
            )
            self._live.start()
        for line in self._lines(event):
            print_text(self._console, escape(line))

    def _lines(self, event: Event) -> Iterator[str]:
        """Yield the scores of baselines on fit; without a table also the progress of all parts."""
        running, is_log = self._progress.running, self._live is None
        if event.kind == "said":
            yield f"  {event.text}"
            return
        if running is None:
            return
        if event.replayed:
            if is_log and running.replayed and self._is_due(event):
                self._last_line = self._progress.clock()
                yield f"  {running.replayed:,} of {counted(len(running.scored), 'stored trial')} replayed"
            return
        is_baseline = event.search == BASELINES and (is_log or event.split == "fit")
        if event.kind == "phase" and (is_log or is_baseline) and running.answers_left != 0:
            yield _heading(running)
        elif is_baseline and event.kind == "ended" and event.value is not None and event.trial is not None:
            yield f"  {self._value_text(event.value):>7}  {event.trial.name}"
        elif is_log and event.kind in ("answered", "trained"):
            if self._is_due(event):
                self._last_line = self._progress.clock()
                left = self._progress.seconds_left()
                yield f"  {_under_way(running)}{f'; {_left_text(left)}' if left else ''}"
        elif is_log and event.split == "fit" and running.new and self._is_due(event):
            self._last_line = self._progress.clock()
            yield self._trials_line(event)

    def _is_due(self, event: Event) -> bool:
        if event.kind == "told":
            return event.done == event.total or event.done % TRIALS_PER_LINE == 0
        seconds = SECONDS_PER_LINE if event.kind == "ended" else SECONDS_WITHIN_MODEL
        return self._progress.clock() - self._last_line >= seconds

    def _trials_line(self, event: Event) -> str:
        best, left = self._best(row_name(event.search, "fit")), self._progress.seconds_left()
        scored = 0 if self._progress.running is None else len(self._progress.running.scored)
        parts = [counted(scored, "trial"), *([f"best {best}"] if best else [])]
        return f"  {', '.join(parts)}{f'; {_left_text(left)}' if left else ''}"

    def _best(self, row: str) -> str:
        """Return the best value of a row; an estimate has the mark ≈."""
        value, is_estimate = self._progress.best.get(row, (None, False))
        return "" if value is None else f"{'≈ ' if is_estimate else ''}{self._value_text(value)}"

    def _view(self) -> RenderableType:
        """Return the table, and below it what is under way."""
        running = self._progress.running
        under_way = "" if running is None else _under_way(running)
        return Group(self._table(), Text(under_way, overflow="ellipsis", no_wrap=True))

    def _table(self) -> Table:
        """Return a line for each part with models, best value and time, and one for the whole run."""
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("part", no_wrap=True)
        table.add_column(width=BAR_WIDTH)
        for title, width in (("models", 9), ("best", 7), ("time", 17)):
            table.add_column(title, no_wrap=True, justify="right", min_width=width)
        now = self._progress.clock()
        for name, parts in self._progress.rows().items():
            done, models = sum(len(each.scored) for each in parts), total(each.models for each in parts)
            failed, seconds = sum(each.failed for each in parts), sum(each.seconds(now) for each in parts)
            is_running = self._progress.running in parts
            replayed = sum(each.replayed for each in parts) if is_running else 0
            table.add_row(
                name,
                _bar(None if models is None else done / max(1, models)) if done or is_running else "",
                f"{done} of {'?' if models is None else models}{f', {failed} failed' if failed else ''}",
                f"replayed {replayed:,}" if replayed else self._best(name),
                time_text(seconds) if seconds >= 1 else "",
                style="bold" if is_running else None,
            )
        share, left = self._progress.share(), self._progress.seconds_left()
        done_text = "" if share is None else percent(share, ".0f")
        table.add_row("total", _bar(share), done_text, "", _left_text(left) if left else "")
        return table


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
        if is_choosing(store):
            opened = choose_shown(opened, display)
        if is_complete(store):
            require_same_code(opened)
            display.print_line(_finished_text(opened))
            return opened
        notify = AdviceWatcher(store, display.print_line, display.notify).notify
        journey = journey_of(opened, notify)
        display.expect(remaining_cost(journey), journey.runner.n_workers)
        journey.run()
    return opened


def choose_shown(run: Run, display: LiveDisplay) -> Run:
    """Choose the sources of a run with a display, and return the run with them."""
    require_same_code(run)
    display.expect(choice_cost(run))
    return make_choice(run, display.notify)


def _finished_text(run: Run) -> str:
    flag = next(iter(run.config.budget.model_dump(exclude_none=True))).replace("_", "-")
    command = f"kingyo resume {shlex.quote(str(run.begun.folder))} --{flag} +N"
    return f"This run is finished: nothing is left to score. `{command}` extends its search."


def _standard_error() -> Console:
    """Return a console that redraws only on a terminal, even if FORCE_COLOR is set."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return Console(stderr=True, highlight=False, force_interactive=None if is_terminal else False)


def _left_text(seconds: float) -> str:
    return f"{'about ' if seconds >= 1 else ''}{time_text(seconds)} left"


def _under_way(part: PartProgress) -> str:
    """Return how many items of the models under way are answered, or the steps of training."""
    steps = part.steps
    if steps is not None and not part.under_way and (steps[0] < steps[1] or not part.scored):
        what = "training" if part.part.name in TRAININGS else "learning weights"
        return f"{what}: step {steps[0]:,} of {steps[1]:,}"
    models = list(part.under_way.values())
    if not models:
        return ""
    name = models[0][0] if len(models) == 1 else f"{len(models)} models"
    done, items = sum(each.done for _, each in models), sum(each.total for _, each in models)
    return f"{name}: {done:,} of {counted(items, 'item')}"


def _bar(share: float | None) -> ProgressBar | str:
    if share is None:
        return ""
    return ProgressBar(
        total=1.0,
        completed=share,
        width=BAR_WIDTH,
        style="dim",
        complete_style="green",
        finished_style="green",
    )


def _heading(progress: PartProgress) -> str:
    part = progress.part
    row = row_name(part.name, "fit")
    name = f"{row[:1].upper()}{row[1:]} on {part.split}"
    models = "as many models as time allows" if part.models is None else counted(part.models, "model")
    stored = f" ({len(progress.scored)} stored)" if progress.scored else ""
    limit = "up to " if part.stage in ("search", "controls", "validation") else ""
    items = f", {limit}{counted(part.items, 'item')} each" if part.items else ""
    return f"{name}: {models}{stored}{items}"
