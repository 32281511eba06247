"""The table of a live display: progress, best model and time of each part of a run.

It is at most about 60 columns wide, so that lines fit when a terminal becomes narrower. Its styles are bold,
dim and green, which are readable in light and dark colour schemes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kingyo.dry_run import STAGES, ProgressPart, TimeLeft, total
from kingyo.evolution import BASELINES, MAIN, Event
from kingyo.io.units import time_text
from kingyo.results.estimates import estimate_note
from kingyo.run.config import WEIGHT_SEARCH, WEIGHT_SEARCH_LABEL
from kingyo.stats import percent
from kingyo.types import Split

BARS = "▁▂▃▄▅▆▇█"
BAR_WIDTH = 36
CURVE_WIDTH = 36
MAX_NAME = 20
LINES_BELOW = 8  # below the table, at most
MARKS = {"waiting": " ", "running": "▸", "done": "✓"}
COLUMNS = {"models": 9, "items": 5, "best": 8, "time": 7, "left": 7}
"""Columns after the name -> minimum width, so that columns do not move as numbers grow."""
DROPPED = ((), ("items",), ("items", "time"), ("items", "time", "models"))
"""Columns to leave out, tried in order until the table fits."""


@dataclass(kw_only=True)
class _Scores:
    """Scores of the models of a row.

    Attributes:
        values: values of all models.
        last: values of the last batch.
        failures: number of failures.
        measured: text with the measured score of the best model, if its value is an estimate.
    """

    values: list[float] = field(default_factory=list[float])
    last: list[float] = field(default_factory=list[float])
    failures: int = 0
    measured: str = ""


class PartsTable:
    """The progress of a run as a rich renderable.

    Args:
        pace: receives the same events.
        value_text: formats the value of a model: a score in percent, or a set measure.
    """

    def __init__(self, pace: TimeLeft, value_text: Callable[[float], str] = percent) -> None:
        self.is_final = False
        self._pace = pace
        self._value_text = value_text
        self._scores: dict[str, _Scores] = {}
        self._is_batch_over = True

    def take(self, event: Event) -> None:
        """Update the scores with an event."""
        if event.kind == "phase":
            return
        scores = self._scores.setdefault(row_name(event.search, event.split), _Scores())
        if event.evaluation is not None and event.evaluation.failure is not None:
            scores.failures += 1
        if event.kind == "told":
            scores.last = [] if self._is_batch_over else scores.last
        if event.value is not None:
            if event.kind == "told" and event.value > max(scores.values, default=-math.inf):
                is_raw = event.is_estimate and event.raw is not None
                scores.measured = estimate_note(event.raw or 0.0, event.n_raw) if is_raw else ""
            scores.last.append(event.value)
            if event.split == "fit" or event.search == MAIN:
                scores.values.append(event.value)
        self._is_batch_over = event.kind != "told"

    def best(self, row: str) -> tuple[str, str]:
        """Return the best value of a row, and its measured score if it is an estimate; else empty texts."""
        scores = self._scores.get(row)
        if scores is None or not scores.values:
            return "", ""
        return self._value_text(max(scores.values)), scores.measured

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw table and bars; only the bars if the terminal is too low for both."""
        running, rows = self._pace.running, self._rows()
        if not self._pace.has_begun:
            yield Text("Loading models…", style="dim")
            return
        is_low = not self.is_final and console.size.height <= len(rows) + 2 + LINES_BELOW
        if not is_low:
            yield from (Text(), self._fitting(rows, console, options), Text())
        if running is None or self.is_final:
            return
        row = row_name(running.part.name, running.part.split)
        yield self._bars(row, rows, options.max_width)
        if not is_low and running.part.stage in ("search", "controls"):
            yield from self._notes(row)

    def _rows(self) -> dict[str, list[ProgressPart]]:
        """Return the parts of each row: a search, or validation or test of all searches."""
        rows: dict[str, list[ProgressPart]] = {}
        for leg in self._pace.parts():
            rows.setdefault(row_name(leg.part.name, leg.part.split), []).append(leg)
        return rows

    def _fitting(
        self, rows: Mapping[str, Sequence[ProgressPart]], console: Console, options: ConsoleOptions
    ) -> Table:
        """Return the table with all columns that fit."""
        wide = options.update(max_width=10_000)
        tables = (self._table(rows, dropped) for dropped in DROPPED)
        fitting = (
            each for each in tables if Measurement.get(console, wide, each).maximum <= options.max_width
        )
        return next(fitting, self._table(rows, DROPPED[-1]))

    def _table(self, rows: Mapping[str, Sequence[ProgressPart]], dropped: Sequence[str]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        table.add_column("")
        table.add_column("part", no_wrap=True, overflow="ellipsis", max_width=MAX_NAME)
        names = [name for name in COLUMNS if name not in dropped]
        every = total(leg.total for leg in self._pace.parts()) or 1000
        widths = {**COLUMNS, "models": max(COLUMNS["models"], len(f"{every} of {every}"))}
        for name in names:
            table.add_column(name, justify="right", no_wrap=True, min_width=widths[name])
        for row, legs in rows.items():
            cells, state = self._cells(legs), _state(legs)
            best, measured = self.best(row)
            cells |= {"items": _items(legs), "best": f"~{best}" if measured else best}
            style = "bold" if state == "running" else None
            mark = Text(MARKS[state], style="green")
            table.add_row(mark, row, *(cells[name] for name in names), style=style)
        cells = {"items": "", "best": "", **self._cells(self._pace.parts())}
        table.add_row("", "total", *(cells[name] for name in names))
        return table

    def _cells(self, legs: Sequence[ProgressPart]) -> dict[str, str]:
        """Return the cells of some parts: models scored, time taken and time left."""
        every = total(leg.total for leg in legs)
        done, seconds = sum(leg.done for leg in legs), sum(self._pace.seconds(leg) for leg in legs)
        left = self._pace.left(legs)
        is_stored = done > 0 and not any(leg.new for leg in legs)
        return {
            "models": f"{done} of {'?' if every is None else every}",
            "time": "stored" if is_stored else _time(seconds) if done or seconds else "",
            "left": _time(left) if left else "",
        }

    def _bars(self, row: str, rows: Mapping[str, Sequence[ProgressPart]], max_width: int) -> Table:
        names = max(len(name) for name in (*rows, "total"))
        width = max(4, min(BAR_WIDTH, max_width - names - 8))
        grid = Table.grid(padding=(0, 1, 0, 0))
        for name, share in {row: self._share(rows[row]), "total": self._pace.share()}.items():
            bar = ProgressBar(
                total=1.0,
                completed=share,
                width=width,
                style="dim",
                complete_style="green",
                finished_style="green",
            )
            grid.add_row(name.ljust(names), bar, f"{100 * share:3.0f} %")
        return grid

    def _share(self, legs: Sequence[ProgressPart]) -> float:
        models = total(leg.total for leg in legs)
        if models is not None:
            return sum(leg.done for leg in legs) / max(1, models)
        seconds, left = sum(self._pace.seconds(leg) for leg in legs), self._pace.left(legs)
        return seconds / (seconds + left) if left else 0.0

    def _notes(self, row: str) -> Iterator[Text]:
        scores = self._scores.get(row, _Scores())
        if scores.values:
            yield Text(f"best so far {_curve(scores.values)}")
        if scores.measured:
            yield Text(f"~ best: {scores.measured}", style="dim")
        failed = f"; {scores.failures} failed" if scores.failures else ""
        if scores.last:
            n, mean = len(scores.last), sum(scores.last) / len(scores.last)
            label = "last candidate:" if n == 1 else f"last {n} candidates: mean"
            yield Text(f"{label} {self._value_text(mean)}{failed}")


def row_name(search: str, split: Split) -> str:
    """Return the name of the row of a search and a split."""
    if split != "fit":
        return split
    names = {MAIN: "search", WEIGHT_SEARCH: WEIGHT_SEARCH_LABEL, BASELINES: BASELINES}
    return names.get(search, f"control {search}")


def time_left(pace: TimeLeft) -> str:
    """Return the time left in total and for each stage; an empty text if it is unknown."""
    left, stages = pace.left(pace.parts()), {stage: pace.left(pace.parts(stage)) for stage in STAGES}
    if not left:
        return ""
    each = ", ".join(f"{stage} {_time(seconds)}" for stage, seconds in stages.items() if seconds)
    return f"about {_time(left)} left in total: {each}"


def _state(legs: Sequence[ProgressPart]) -> str:
    states = {leg.state for leg in legs}
    return "running" if "running" in states else "done" if states == {"done"} else "waiting"


def _items(legs: Sequence[ProgressPart]) -> str:
    return str(max(leg.part.items for leg in legs) or "")


def _time(seconds: float) -> str:
    return "<1 s" if seconds < 1 else time_text(seconds)


def _curve(values: Sequence[float]) -> str:
    """Draw the best value so far over the trials as bars, from 0 to 1, or over the range of the values."""
    low, high = min(0.0, *values), max(1.0, *values)
    values = [(value - low) / (high - low) for value in values]
    best: list[float] = []
    for value in values:
        best.append(max(value, best[-1]) if best else value)
    step = max(1, -(-len(best) // CURVE_WIDTH))
    points = best[step - 1 :: step] or best
    return "".join(BARS[max(0, min(len(BARS) - 1, int(value * len(BARS))))] for value in points)
