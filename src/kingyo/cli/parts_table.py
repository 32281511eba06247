"""The parts of a run as a table that is redrawn: how far each is, its best model, and the time it takes.

It is about 60 columns wide at most, so that lines stay whole when a terminal is made narrower. Its styles are
bold, dim and green: they are readable in light and in dark colour schemes.
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
LONGEST_NAME = 20
LINES_BELOW = 8  # of the table, when all is drawn
MARKS = {"waiting": " ", "running": "▸", "done": "✓"}
COLUMNS = {"models": 9, "items": 5, "best": 8, "time": 7, "left": 7}
"""Columns after the name, with the least width of each: it does not change as numbers grow."""
DROPPED = ((), ("items",), ("items", "time"), ("items", "time", "models"))
"""Columns to leave out, until the table fits."""


@dataclass(kw_only=True)
class _Scores:
    """What the models of a row scored.

    Attributes:
        values: of all models.
        last: of those that the strategy was told together.
        failures: how many failed.
        measured: what the best one scored on the items that it met, where its value is an estimate.
    """

    values: list[float] = field(default_factory=list[float])
    last: list[float] = field(default_factory=list[float])
    failures: int = 0
    measured: str = ""


class PartsTable:
    """How a run stands, for rich to render.

    Args:
        pace: follows the same events.
        in_words: writes what counts of a model, which is a score in percent, or a measure.
    """

    def __init__(self, pace: TimeLeft, in_words: Callable[[float], str] = percent) -> None:
        self.is_final = False
        self._pace = pace
        self._in_words = in_words
        self._scores: dict[str, _Scores] = {}
        self._is_batch_over = True

    def take(self, event: Event) -> None:
        """Take one event in."""
        if event.kind == "phase":
            return
        scores = self._scores.setdefault(row_name(event.search, event.split), _Scores())
        if event.evaluation is not None and event.evaluation.failure is not None:
            scores.failures += 1
        if event.kind == "told":  # what counts of a candidate is what its strategy is told
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
        """Return the best score of a row's models, and what was measured of it where that is an estimate.

        Both are empty before there is one.
        """
        scores = self._scores.get(row)
        if scores is None or not scores.values:
            return "", ""
        return self._in_words(max(scores.values)), scores.measured

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw table and bars; where the terminal is too low for all of it, the bars alone."""
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
        """Each search, and validation and test of all of them."""
        rows: dict[str, list[ProgressPart]] = {}
        for leg in self._pace.parts():
            rows.setdefault(row_name(leg.part.name, leg.part.split), []).append(leg)
        return rows

    def _fitting(
        self, rows: Mapping[str, Sequence[ProgressPart]], console: Console, options: ConsoleOptions
    ) -> Table:
        """The table with all columns that fit."""
        wide = options.update(max_width=10_000)
        tables = (self._table(rows, dropped) for dropped in DROPPED)
        fitting = (
            each for each in tables if Measurement.get(console, wide, each).maximum <= options.max_width
        )
        return next(fitting, self._table(rows, DROPPED[-1]))

    def _table(self, rows: Mapping[str, Sequence[ProgressPart]], dropped: Sequence[str]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        table.add_column("")
        table.add_column("part", no_wrap=True, overflow="ellipsis", max_width=LONGEST_NAME)
        names = [name for name in COLUMNS if name not in dropped]
        every = total(leg.total for leg in self._pace.parts()) or 1000
        least = {**COLUMNS, "models": max(COLUMNS["models"], len(f"{every} of {every}"))}
        for name in names:
            table.add_column(name, justify="right", no_wrap=True, min_width=least[name])
        for row, legs in rows.items():
            cells, state = self._cells(legs), _state(legs)
            best, measured = self.best(row)
            cells |= {"items": _items(legs), "best": f"~{best}" if measured else best}
            style = "bold" if state == "running" else None
            mark = Text(MARKS[state], style="green")
            table.add_row(mark, row, *(cells[name] for name in names), style=style)
        cells = {"items": "", "best": "", **self._cells(self._pace.parts())}
        table.add_row("", "whole run", *(cells[name] for name in names))
        return table

    def _cells(self, legs: Sequence[ProgressPart]) -> dict[str, str]:
        """How many models of some parts are scored, how long that took, and what is left."""
        every = total(leg.total for leg in legs)
        done, seconds = sum(leg.done for leg in legs), sum(self._pace.seconds(leg) for leg in legs)
        left = self._pace.left(legs)
        was_before = done > 0 and not any(leg.new for leg in legs)
        return {
            "models": f"{done} of {'?' if every is None else every}",
            "time": "before" if was_before else _time(seconds) if done or seconds else "",
            "left": _time(left) if left else "",
        }

    def _bars(self, row: str, rows: Mapping[str, Sequence[ProgressPart]], max_width: int) -> Table:
        names = max(len(name) for name in (*rows, "whole run"))
        width = max(4, min(BAR_WIDTH, max_width - names - 8))
        grid = Table.grid(padding=(0, 1, 0, 0))
        for name, share in {row: self._share(rows[row]), "whole run": self._pace.share()}.items():
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
            what = "last candidate:" if n == 1 else f"last {n} candidates: mean"
            yield Text(f"{what} {self._in_words(mean)}{failed}")


def row_name(search: str, split: Split) -> str:
    """Return the name of the row that a search's trials are counted in."""
    if split != "fit":
        return split
    named = {MAIN: "search", WEIGHT_SEARCH: WEIGHT_SEARCH_LABEL, BASELINES: BASELINES}
    return named.get(search, f"control {search}")


def time_left(pace: TimeLeft) -> str:
    """Return the time that is left in all and for each stage; nothing where it is not known."""
    left, stages = pace.left(pace.parts()), {stage: pace.left(pace.parts(stage)) for stage in STAGES}
    if not left:
        return ""
    each = ", ".join(f"{stage} {_time(seconds)}" for stage, seconds in stages.items() if seconds)
    return f"about {_time(left)} left in all: {each}"


def _state(legs: Sequence[ProgressPart]) -> str:
    states = {leg.state for leg in legs}
    return "running" if "running" in states else "done" if states == {"done"} else "waiting"


def _items(legs: Sequence[ProgressPart]) -> str:
    return str(max(leg.part.items for leg in legs) or "")


def _time(seconds: float) -> str:
    return "<1 s" if seconds < 1 else time_text(seconds)


def _curve(values: Sequence[float]) -> str:
    """The best so far over the trials, as a line of bars from 0 to 100 %, or from the least to the most."""
    low, high = min(0.0, *values), max(1.0, *values)
    values = [(value - low) / (high - low) for value in values]
    best: list[float] = []
    for value in values:
        best.append(max(value, best[-1]) if best else value)
    step = max(1, -(-len(best) // CURVE_WIDTH))
    points = best[step - 1 :: step] or best
    return "".join(BARS[max(0, min(len(BARS) - 1, int(value * len(BARS))))] for value in points)
