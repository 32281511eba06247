"""The live display of a run: bars on a terminal, elsewhere a line every ten seconds, and warnings."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from rich.progress import BarColumn, Progress, TextColumn

from kingyo.cli.console import Console, print_lines
from kingyo.cli.progress import SECONDS_PER_LINE, Counts
from kingyo.core.io.units import counted, percent, time_text
from kingyo.core.types import Answered, Split
from kingyo.runs.choice import CHOICE
from kingyo.runs.config import TRAININGS, TUNED, TUNED_PARENT, WEIGHT_SEARCH, WEIGHT_SEARCH_LABEL
from kingyo.runs.cost import Cost, CostPart, total
from kingyo.search.evolution import BASELINES, MAIN, Event, stored_objectives
from kingyo.store import NOTES, RunStore
from kingyo.views.advice import FEW, MIN_ZEROS, setup_warnings, truncated_baselines, uninformative_scores
from kingyo.views.results.trials import unit_of

ROWS = {
    CHOICE: "choice of sources",
    WEIGHT_SEARCH: WEIGHT_SEARCH_LABEL,
    MAIN: "search",
    BASELINES: BASELINES,
    TUNED: "tuning",
    TUNED_PARENT: "tuning, parent",
}


def row_name(search: str, split: Split) -> str:
    """Return the row of a part: validation and test of all searches are one row each."""
    return ROWS.get(search, f"control {search}") if split == "fit" else split


@dataclass(kw_only=True)
class PartProgress:
    """A part of a run and its progress.

    Attributes:
        part: the part, with the number of models that is expected now.
        scored: answers of each scored model by trial id, including earlier sessions; a copied score has none.
        began: seconds of the clock; None before it.
        is_over: whether another part has begun after it.
    """

    part: CostPart
    scored: dict[int, int]
    began: float | None = None
    is_over: bool = False

    @property
    def models(self) -> int | None:
        """Number of models of the part; None if only time limits them."""
        if self.is_over:
            return len(self.scored)
        return None if self.part.models is None else max(self.part.models, len(self.scored))

    @property
    def answers_left(self) -> int | None:
        """Number of answers left at most; None if time limits it."""
        return None if self.models is None else (self.models - len(self.scored)) * self.part.items


class RunProgress:
    """Follows a run by its events.

    Attributes:
        best: row -> the best value, and whether it is estimated.
        running: the part under way.
        under_way: name and progress of each unfinished evaluation, by trial id.
        training: what is trained, by its steps; empty at other times.
    """

    def __init__(self, cost: Cost, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._parts: dict[tuple[str, Split], PartProgress] = {}
        for part in cost.parts:
            scored = dict(cost.stored.get((part.name, part.split), {}))
            self._parts[part.name, part.split] = PartProgress(part=part, scored=scored)
        self._first: tuple[float, int] | None = None
        self._pace: float | None = None
        self.running: PartProgress | None = None
        self.best: dict[str, tuple[float, bool]] = {}
        self.under_way: dict[int, tuple[str, Answered]] = {}
        self.training = ""

    def take(self, event: Event) -> None:
        now, trial, evaluation = self._clock(), event.trial, event.evaluation
        if event.kind == "phase":
            if self.running is not None:
                self.running.is_over = True
            self.running = self._parts.get((event.search, event.split))
            if self.running is not None:
                self.running.part = replace(self.running.part, models=event.total)
                self.running.began = now
            self.under_way = {}
        self.training = ""
        if event.kind == "trained":
            what = "training" if event.search in TRAININGS else "learning weights"
            self.training = f"{what}: step {event.done:,} of {event.total or 0:,}"
        elif event.answered is not None and trial is not None:
            self.under_way[trial.id] = trial.name or f"trial {trial.asked.number}", event.answered
        elif trial is not None and evaluation is not None and self.running is not None:
            self.under_way.pop(trial.id, None)
            graded = 0 if evaluation.copied_from is not None else len(evaluation.scores)
            self.running.scored[trial.id] = max(graded, self.running.scored.get(trial.id, 0))
        if trial is not None and not event.replayed:
            self._time(now)
        if event.value is not None and (event.split == "fit" or event.search == MAIN):
            row, value = row_name(event.search, event.split), (event.value, event.is_estimate)
            self.best[row] = max(self.best.get(row, value), value)

    def _time(self, now: float) -> None:
        """Time the answers since the first event, so that loading models does not count."""
        timed = sum(sum(each.scored.values()) for each in self._parts.values())
        timed += sum(each.timed for _, each in self.under_way.values())
        if self._first is None:
            self._first = now, timed
        elif timed > self._first[1]:
            self._pace = (now - self._first[0]) / (timed - self._first[1])

    def rows(self) -> Mapping[str, list[PartProgress]]:
        """Return the parts of each row."""
        rows: dict[str, list[PartProgress]] = {}
        for (name, split), part in self._parts.items():
            rows.setdefault(row_name(name, split), []).append(part)
        return rows

    def seconds_left(self) -> float | None:
        """Estimate the seconds left of the run without training; None before the first answers are timed."""
        if self._pace is None:
            return None
        under_way, now = sum(each.done for _, each in self.under_way.values()), self._clock()
        seconds = -under_way * self._pace
        for each in self._parts.values():
            left = float("inf") if each.answers_left is None else each.answers_left * self._pace
            limit, began = each.part.seconds, now if each.began is None else each.began
            seconds += left if limit is None or each.is_over else min(left, max(0.0, limit - now + began))
        return max(0.0, seconds)


class LiveDisplay(Counts):
    """Shows the progress of a run, with warnings about its scores.

    Args:
        quiet: whether to show nothing.
        console: the console to print to. Default: standard error.
    """

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
        """Print what begins, and every few seconds and at the end of a search how far it is."""
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
        """Draw a bar for each row."""
        known = {task.description: task.id for task in self._rows.tasks}
        for name, parts in self._progress.rows().items():
            models, done = total(each.models for each in parts), sum(len(each.scored) for each in parts)
            if name not in known:
                known[name] = self._rows.add_task(name, total=1.0, text="")
            share = 0.0 if models is None else done / max(1, models)
            self._rows.update(known[name], completed=share, text=self._text(name, parts))
        self._rows.start()

    def _text(self, row: str, parts: list[PartProgress]) -> str:
        """Return how far a row is: its models, the best value, and what is under way."""
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
