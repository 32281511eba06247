"""The live display of a run: bars on a terminal, elsewhere a line every ten seconds, and warnings."""

import sys
import time
from collections.abc import Callable

from rich.progress import BarColumn, Progress, TextColumn

from kingyo.cli.console import Console, print_lines
from kingyo.cli.progress import SECONDS_PER_LINE, Counts
from kingyo.core.io.units import counted, percent, time_text
from kingyo.runs.config import WEIGHT_SEARCH
from kingyo.runs.cost import Cost, total
from kingyo.search.evolution import BASELINES, MAIN, Event, stored_objectives
from kingyo.store import NOTES, RunStore
from kingyo.views.advice import FEW, MIN_ZEROS, setup_warnings, truncated_baselines, uninformative_scores
from kingyo.views.results.trials import unit_of
from kingyo.views.run_progress import PartProgress, RunProgress, row_name


class LiveDisplay(Counts):
    """Shows the progress of a run, with warnings about its scores, on standard error or another console."""

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        super().__init__(quiet=quiet)
        if console is None:  # redraws only on a terminal, even if FORCE_COLOR is set
            is_terminal = sys.stderr is not None and sys.stderr.isatty()
            console = Console(stderr=True, force_interactive=None if is_terminal else False)
        self._console = console
        self._progress = RunProgress(Cost(parts=()))
        self._value_text: Callable[[float], str] = percent
        self._store: RunStore | None = None
        self._warned: set[str] = set()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(16),
            TextColumn("{task.fields[text]}", markup=False),
        )
        self._rows = Progress(*columns, console=console)
        self._last_line = time.monotonic()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._rows.tasks:
            self._rows.stop()

    def begin(self, store: RunStore) -> None:
        """Print how to continue the run, and notes and warnings from before it."""
        self._value_text = unit_of(stored_objectives(store)).text
        self._store = store
        if not self.quiet:
            run = f"Run {store.folder}. Stop it with Ctrl-C, continue with `kingyo resume`."
            notes = (f"Note: {note}" for note in store.fact(NOTES))
            print_lines(self._console, run, *notes, *(each.statement for each in setup_warnings(store)))

    def expect(self, cost: Cost) -> None:
        self._progress = RunProgress(cost)

    def say(self, line: str) -> None:
        if not self.quiet:
            print_lines(self._console, line)

    def notify(self, event: Event) -> None:
        """Update the display with an event, and show new kinds of warnings about the scores so far."""
        self._progress.take(event)
        if self.quiet:
            return
        if self._console.is_interactive:
            self._draw()
        if event.kind == "said":
            self.say(f"  {event.text}")
        elif event.search == BASELINES and event.split == "fit" and event.kind == "ended":
            if event.value is not None and event.trial is not None and not event.replayed:
                self.say(f"  {self._value_text(event.value):>7}  {event.trial.name}")
        elif not self._console.is_interactive:
            self._log(event)
        if event.split == "fit" and event.search in (MAIN, WEIGHT_SEARCH):
            self._warn(event)

    def _warn(self, event: Event) -> None:
        is_due = event.kind == "phase" or event.done in (FEW, MIN_ZEROS, event.total)
        if self._store is None or not is_due or event.kind not in ("phase", "told"):
            return
        for each in (*uninformative_scores(self._store), *truncated_baselines(self._store)):
            if each.kind not in self._warned:
                self.say(str(each.statement))
            self._warned.add(each.kind)

    def _log(self, event: Event) -> None:
        running, now = self._progress.running, time.monotonic()
        if running is None:
            return
        if event.kind == "phase" and running.answers_left != 0:
            part, models = running.part, running.part.models
            row = row_name(part.name, "fit")
            of = "as many models as time allows" if models is None else counted(models, "model")
            stored = f" ({len(running.scored)} stored)" if running.scored else ""
            items = f", up to {counted(part.items, 'item')} each" if part.items else ""
            self.say(f"{row[:1].upper()}{row[1:]} on {part.split}: {of}{stored}{items}")
        elif now - self._last_line >= SECONDS_PER_LINE or (
            event.kind == "told" and event.done == event.total
        ):
            self._last_line = now
            row = row_name(event.search, event.split)
            self.say(f"  {self._text(row, [running])}")

    def _draw(self) -> None:
        known = {task.description: task.id for task in self._rows.tasks}
        for name, parts in self._progress.rows().items():
            models, done = total(each.models for each in parts), sum(len(each.scored) for each in parts)
            if name not in known:
                known[name] = self._rows.add_task(name, total=1.0, text="")
            share = 0.0 if models is None else done / max(1, models)
            self._rows.update(known[name], completed=share, text=self._text(name, parts))
        self._rows.start()

    def _text(self, row: str, parts: list[PartProgress]) -> str:
        models, done = total(each.models for each in parts), sum(len(each.scored) for each in parts)
        texts = [f"{done} of {counted(models, 'model')}" if models is not None else counted(done, "model")]
        value, is_estimate = self._progress.best.get(row, (None, False))
        if value is not None:
            texts.append(f"best {'≈ ' if is_estimate else ''}{self._value_text(value)}")
        if self._progress.running in parts:
            texts += [self._under_way(), self._left()]
        return ", ".join(filter(None, texts))

    def _under_way(self) -> str:
        under_way = list(self._progress.under_way.values())
        if self._progress.training or not under_way:
            return self._progress.training
        name = under_way[0][0] if len(under_way) == 1 else f"{len(under_way)} models"
        done, items = (sum(getattr(each, key) for _, each in under_way) for key in ("done", "total"))
        return f"{name}: {done:,} of {counted(items, 'item')}"

    def _left(self) -> str:
        seconds = self._progress.seconds_left()
        return f"about {time_text(seconds)} left" if seconds is not None and 1 <= seconds < 1e9 else ""
