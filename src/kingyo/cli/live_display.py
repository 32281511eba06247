"""The live display of a run: its parts, the best scores so far, and the time left.

On a terminal a table is redrawn in place; elsewhere a line is printed every 25 trials or ten seconds, and
every half minute within a model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kingyo.cli.advice import AdviceWatcher
from kingyo.cli.console import Console, print_text
from kingyo.cli.progress import Counts
from kingyo.cli.run_progress import PartProgress, RunProgress, row_name
from kingyo.core.io.units import counted, percent, time_text
from kingyo.runs.config import TRAININGS
from kingyo.runs.cost import Cost, total
from kingyo.search.evolution import BASELINES, Event, stored_objectives
from kingyo.store import NOTES, RunStore
from kingyo.views.advice import setup_warnings
from kingyo.views.results.trials import unit_of

REDRAWS_PER_SECOND = 4
TRIALS_PER_LINE = 25
SECONDS_PER_LINE = 10
SECONDS_WITHIN_MODEL = 30
BAR_WIDTH = 16


class LiveDisplay(Counts):
    """Shows the progress of a run, with warnings about its scores.

    Args:
        quiet: whether to show nothing.
        console: the console to print to. Default: standard error.
    """

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        super().__init__(quiet=quiet)
        self._console = console or _standard_error()
        self._progress = RunProgress(Cost(parts=()))
        self._value_text: Callable[[float], str] = percent
        self._advice: AdviceWatcher | None = None
        self._live: Live | None = None
        self._last_line = self._progress.clock()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._live is not None:
            self._live.stop()

    def begin(self, store: RunStore) -> None:
        """Print how to continue the run, and notes and warnings from before it."""
        self._value_text = unit_of(stored_objectives(store)).text
        self._advice = AdviceWatcher(store, self.say, self._show)
        if self.quiet:
            return
        run = escape(str(store.folder))
        print_text(self._console, f"Run {run}. Stop it with Ctrl-C, continue with `kingyo resume`.")
        for note in store.fact(NOTES):
            print_text(self._console, f"Note: {escape(note)}")
        for each in setup_warnings(store):
            print_text(self._console, escape(str(each.statement)))

    def expect(self, cost: Cost) -> None:
        self._progress = RunProgress(cost)

    def say(self, line: str) -> None:
        if not self.quiet:
            self._console.print(escape(line), soft_wrap=True)

    def notify(self, event: Event) -> None:
        """Update the display with an event, and check whether a warning is due."""
        if self._advice is None:
            self._show(event)
        else:
            self._advice.notify(event)

    def _show(self, event: Event) -> None:
        self._progress.take(event)
        if self.quiet:
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
        running = self._progress.running
        under_way = "" if running is None else _under_way(running)
        return Group(self._table(), Text(under_way, overflow="ellipsis", no_wrap=True))

    def _table(self) -> Table:
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


def _standard_error() -> Console:
    """Return a console that redraws only on a terminal, even if FORCE_COLOR is set."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return Console(stderr=True, highlight=False, force_interactive=None if is_terminal else False)


def _left_text(seconds: float) -> str:
    return f"{'about ' if seconds >= 1 else ''}{time_text(seconds)} left"


def _under_way(part: PartProgress) -> str:
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
