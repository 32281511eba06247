"""The live view of a run: what is being done, best, mean, baselines, curve, time left.

On a terminal it redraws in place; elsewhere it prints a line every 25 trials or ten seconds. It only listens
to events.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import cast

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kingyo.config import PARAMETERS
from kingyo.estimates import estimated
from kingyo.evolve import BASELINES, MAIN, Event
from kingyo.store import RunStore

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 40
REDRAWS_PER_SECOND = 4
TRIALS_PER_LINE = 25
SECONDS_PER_LINE = 10


class LiveDisplay:
    """Shows events of one run on standard error; ``quiet`` shows nothing.

    Use it as a context manager around the run.
    """

    def __init__(self, store: RunStore, quiet: bool = False) -> None:
        self._store = store
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._state = _State()
        self._live: Live | None = None

    def __enter__(self) -> LiveDisplay:
        if not self._quiet:
            self._console.print(
                f"Run {escape(str(self._store.folder))} (stop with Ctrl-C, go on with `kingyo resume`)"
            )
            for note in cast("list[str]", self._store.fact("notes") or []):
                self._console.print(f"Note: {escape(note)}", soft_wrap=True)
        if not self._quiet and self._console.is_terminal:
            self._live = Live(
                get_renderable=self._render,
                console=self._console,
                refresh_per_second=REDRAWS_PER_SECOND,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop drawing; safe to call twice."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def tell(self, line: str) -> None:
        """Print a line for good, above what is drawn."""
        if not self._quiet:
            self._console.print(escape(line), soft_wrap=True)

    def notify(self, event: Event) -> None:
        """Take one event in."""
        self._state.take(event)
        if not self._quiet and self._live is None:
            line = self._state.line(event)
            if line:
                self._console.print(line)

    def _render(self) -> Group:
        return self._state.render()


class _State:
    """What the display knows, from events alone."""

    def __init__(self) -> None:
        self._phase = Event(kind="phase", search="", split="fit")
        self._started = self._lined = time.monotonic()
        self._fresh = 0
        self._baselines: dict[str, float] = {}
        self._fits: dict[str, list[float]] = {}
        self._raws: dict[str, str] = {}  # search -> what was measured of its best, where that is estimated
        self._batch: list[float] = []
        self._generation = -1
        self._done = 0
        self._failures = 0

    def take(self, event: Event) -> None:
        if event.kind == "phase":
            self._phase, self._started, self._fresh, self._done = event, time.monotonic(), 0, 0
            self._generation, self._batch, self._failures = -1, [], 0
            return
        if event.kind == "told":
            self._learn(event)
            return
        trial, evaluation = event.trial, event.evaluation
        if trial is None or evaluation is None:
            return
        if event.kind == "ended":
            self._done = event.done
            self._fresh += not event.replayed
        if evaluation.failure is not None:
            self._failures += 1
        elif event.search == BASELINES and event.split == "fit" and event.value is not None:
            self._baselines[str(trial.name)] = event.value
        if event.search != BASELINES and event.split == "fit" and trial.batch != self._generation:
            self._generation, self._batch = trial.batch, []

    def _learn(self, event: Event) -> None:
        """What counts of a candidate is what its strategy is told: with few items, an estimate."""
        if event.value is not None:
            self._batch.append(event.value)
            fits = self._fits.setdefault(event.search, [])
            if event.value > max(fits, default=-1.0):
                is_raw = event.is_estimate and event.raw is not None
                self._raws[event.search] = f" ({estimated(event.raw or 0.0, event.n_raw)})" if is_raw else ""
            fits.append(event.value)

    def line(self, event: Event) -> str:
        """One line for a log: a phase, a baseline, or the end of a part of a search."""
        if event.kind == "phase":
            return f"{_title(event)}: {event.total if event.total is not None else 'as time allows'}"
        if event.kind == "told" and event.done == event.total and self._fresh:
            return self._trials_line(event)  # not at its end: what counts of it is known only now
        if event.kind != "ended" or event.trial is None or event.evaluation is None or event.replayed:
            return ""
        if event.search == BASELINES and event.value is not None:
            return f"  {event.trial.name}: {100 * event.value:.1f} %"
        if event.split == "fit" and self._is_due(event):
            return self._trials_line(event)
        return ""

    def _trials_line(self, event: Event) -> str:
        self._lined = time.monotonic()
        fits = self._fits.get(event.search)
        best = f", best {_percent(max(fits))}{self._raws[event.search]}" if fits else ""
        left = self._left()
        done = "1 trial" if event.done == 1 else f"{event.done} trials"
        return f"  {done}{best}{f', {left} left' if left else ''}"

    def _is_due(self, event: Event) -> bool:
        late = time.monotonic() - self._lined >= SECONDS_PER_LINE
        return event.done != event.total and (late or event.done % TRIALS_PER_LINE == 0)

    def render(self) -> Group:
        phase = self._phase
        head = Text(f"{_title(phase)}", style="bold")
        total = phase.total
        counts = f"  {self._done}{f' of {total}' if total else ''}"
        left = self._left()
        head.append(f"{counts}{f', {left} left' if left else ''}", style="not bold")
        parts: list[Text | Table | ProgressBar] = [head]
        if total:
            parts.append(ProgressBar(total=total, completed=self._done, width=60))
        parts.append(self._table())
        fits = self._fits.get(phase.search) or self._fits.get(MAIN)
        if fits:
            raw = self._raws[phase.search if self._fits.get(phase.search) else MAIN]
            parts.append(Text(f"best so far  {_curve(fits)}{raw}"))
        return Group(*parts)

    def _table(self) -> Table:
        table = Table(show_header=True, box=None, pad_edge=False)
        shown = self._phase.search if self._fits.get(self._phase.search) else MAIN
        for column in ("generation", "best", "mean of generation", "failures", *self._baselines):
            table.add_column(column, justify="right")
        fits = self._fits.get(shown, [])
        table.add_row(
            str(self._generation + 1) if self._generation >= 0 else "–",
            _percent(max(fits)) if fits else "–",
            _percent(sum(self._batch) / len(self._batch)) if self._batch else "–",
            str(self._failures),
            *(_percent(value) for value in self._baselines.values()),
        )
        return table

    def _left(self) -> str:
        if not self._phase.total or not self._fresh:
            return ""
        each = (time.monotonic() - self._started) / self._fresh
        seconds = each * max(0, self._phase.total - self._done)
        return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _title(event: Event) -> str:
    if event.search == BASELINES:
        return f"Baselines on {event.split}"
    if not event.search:
        return "Loading"
    named = {MAIN: "Search", PARAMETERS: "First search, of weights alone,"}
    what = named.get(event.search, f"Control search '{event.search}'")
    return f"{what} on {event.split}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _curve(fits: list[float]) -> str:
    """The best so far over the trials, as a line of bars from 0 to 100 %."""
    best: list[float] = []
    for fit in fits:
        best.append(max(fit, best[-1]) if best else fit)
    step = max(1, -(-len(best) // CURVE_WIDTH))
    points = best[step - 1 :: step] or best
    return "".join(BARS[min(len(BARS) - 1, int(value * len(BARS)))] for value in points)
