"""The live display of a run: its parts, the best scores so far, the time left, and warnings about scores.

On a terminal a table is redrawn in place; elsewhere a line is printed every 25 trials or ten seconds, and
every half minute within a model.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kingyo.cli.console import Console, print_lines
from kingyo.cli.progress import Counts
from kingyo.core.io.units import counted, percent, time_text
from kingyo.core.types import Answered, Split
from kingyo.runs.choice import CHOICE
from kingyo.runs.config import TRAININGS, TUNED, TUNED_PARENT, WEIGHT_SEARCH, WEIGHT_SEARCH_LABEL
from kingyo.runs.cost import STAGES, Cost, CostPart, total
from kingyo.search.evolution import BASELINES, MAIN, Event, stored_objectives
from kingyo.store import NOTES, RunStore
from kingyo.views.advice import FEW, MIN_ZEROS, setup_warnings, truncated_baselines, uninformative_scores
from kingyo.views.results.trials import unit_of

REDRAWS_PER_SECOND = 4
TRIALS_PER_LINE = 25
SECONDS_PER_LINE = 10
SECONDS_WITHIN_MODEL = 30
BAR_WIDTH = 16

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
class Pace:
    """Measures the time per unit of work, from pairs of the clock and the units done so far.

    It begins with the first pair, so that loading models and the first choice of a strategy do not count.
    """

    first: tuple[float, float] | None = None
    last: tuple[float, float] | None = None

    def add(self, now: float, done: float) -> None:
        if self.first is None:
            self.first = now, done
        elif done > (self.last or self.first)[1]:
            self.last = now, done

    @property
    def seconds(self) -> float | None:
        if self.first is None or self.last is None:
            return None
        return (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])


@dataclass(kw_only=True)
class PartProgress:
    """A part of a run and its progress.

    Attributes:
        part: the part, with the number of models that is expected now.
        scored: answers of each scored model by trial id, including earlier sessions; a copied score has none.
        racing: trials that are scored on more items if they are not dropped.
        under_way: name and progress of each unfinished evaluation, by trial id.
        new, failed: number of models that were scored, and that failed, in this session.
        replayed: number of stored trials that were replayed so far; 0 after the replay.
        steps: finished steps of training, and all steps; None without training.
        pace: time per answer by the clock, with merging and all that happens between evaluations.
        began, ended: seconds of the clock; None before it.
    """

    part: CostPart
    scored: dict[int, int]
    racing: set[int] = field(default_factory=set[int])
    under_way: dict[int, tuple[str, Answered]] = field(default_factory=dict[int, tuple[str, Answered]])
    new: int = 0
    failed: int = 0
    replayed: int = 0
    steps: tuple[int, int] | None = None
    pace: Pace = field(default_factory=Pace)
    step_pace: Pace = field(default_factory=Pace)
    began: float | None = None
    ended: float | None = None

    @property
    def models(self) -> int | None:
        """Number of models of the part; None if only time limits them."""
        if self.ended is not None:
            return len(self.scored)
        return None if self.part.models is None else max(self.part.models, len(self.scored))

    @property
    def answers_left(self) -> float | None:
        """Number of answers left, if further models give as many as those so far; None if time limits it."""
        if self.models is None:
            return None
        if self.ended is not None:
            return 0.0
        done = [n for trial, n in self.scored.items() if trial not in self.racing]
        mean = sum(done) / len(done) if done else self.part.items
        racing = sum(max(0, self.part.items - self.scored[trial]) for trial in self.racing)
        under_way = sum(each.done for _, each in self.under_way.values())
        return max(0.0, (self.models - len(self.scored)) * mean + racing - under_way)

    def seconds(self, now: float) -> float:
        return 0.0 if self.began is None else (now if self.ended is None else self.ended) - self.began

    def take(self, event: Event, now: float) -> None:
        if event.kind == "trained":
            self.steps = event.done, event.total or 0
            self.step_pace.add(now, event.done)
            return
        trial, evaluation = event.trial, event.evaluation
        assert trial is not None, "events of evaluations have a trial"
        if event.kind == "answered":
            assert event.answered is not None, "events of unfinished evaluations have it"
            self.under_way[trial.id] = trial.name or f"trial {trial.asked.number}", event.answered
        else:
            assert evaluation is not None, "events of scored trials have it"
            self.under_way.pop(trial.id, None)
            graded = 0 if evaluation.copied_from is not None else len(evaluation.scores)
            self.scored[trial.id] = max(graded, self.scored.get(trial.id, 0))
            if event.kind == "more" and event.split == "validation":
                self.racing.add(trial.id)
            elif event.kind == "ended":
                self.racing.discard(trial.id)
                self.new += not event.replayed
                self.failed += not event.replayed and evaluation.failure is not None
            is_replay = event.replayed and event.split == "fit" and event.search != BASELINES
            self.replayed = event.done if is_replay else 0
        if not event.replayed:
            timed = sum(each.timed for _, each in self.under_way.values())
            self.pace.add(now, sum(self.scored.values()) + timed)


class RunProgress:
    """Follow a run by its events.

    Args:
        cost: expected cost of the run.
        clock: monotonic clock in seconds.
    """

    def __init__(self, cost: Cost, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.running: PartProgress | None = None
        self.best: dict[str, tuple[float, bool]] = {}
        """Row -> the best value, and whether it is estimated."""
        self._parts: dict[tuple[str, Split], PartProgress] = {}
        for part in cost.parts:
            stored = cost.stored.get((part.name, part.split), {})
            self._parts[part.name, part.split] = PartProgress(part=part, scored=dict(stored))
        self._updated = self.clock()

    def take(self, event: Event) -> None:
        now = self.clock()
        if event.kind == "phase":
            if self.running is not None:
                self.running.ended = now
            self.running = self._parts.get((event.search, event.split))
            if self.running is not None:
                self.running.part = replace(self.running.part, models=event.total)
                self.running.began = now
            self._updated = now
        elif event.kind not in ("told", "said") and self.running is not None:
            self.running.take(event, now)
            self._updated = now
        if event.value is not None and (event.split == "fit" or event.search == MAIN):
            row, value = row_name(event.search, event.split), (event.value, event.is_estimate)
            self.best[row] = max(self.best.get(row, (event.value, False)), value)

    def rows(self) -> Mapping[str, list[PartProgress]]:
        """Return the parts of each row."""
        rows: dict[str, list[PartProgress]] = {}
        for each in sorted(self._parts.values(), key=lambda each: STAGES.index(each.part.stage)):
            rows.setdefault(row_name(each.part.name, each.part.split), []).append(each)
        return rows

    def seconds_left(self) -> float | None:
        """Estimate the seconds left of the run; None before the first answers are timed."""
        left = [self._seconds_left(each) for each in self._parts.values() if each is not self.running]
        own = 0.0 if self.running is None else self._seconds_left(self.running)
        since = self.clock() - self._updated
        return total((*left, None if own is None else max(0.0, own - since)))

    def share(self) -> float | None:
        """Return the share of answers that are done, 0 to 1; None if time limits them."""
        parts = self._parts.values()
        done = sum(sum(each.scored.values()) for each in parts)
        done += sum(answered.done for each in parts for _, answered in each.under_way.values())
        left = total(each.answers_left for each in parts)
        return None if left is None else done / max(1, done + left)

    def _seconds_left(self, progress: PartProgress) -> float | None:
        answers = progress.answers_left
        if answers == 0:
            return 0.0
        known: list[float] = []
        pace = self._pace(progress)
        training = self._training_seconds(progress)
        if answers is not None and pace is not None and training is not None:
            known.append(answers * pace + training)
        if progress.part.seconds is not None:
            known.append(max(0.0, progress.part.seconds - progress.seconds(self.clock())))
        return min(known, default=None)

    def _pace(self, progress: PartProgress) -> float | None:
        """Return the seconds per answer; before the first, as in the last part with nearly as many items."""

        def unlike(other: PartProgress) -> float:
            items = progress.part.items, other.part.items
            return max(items) / max(1, min(items))

        if progress.pace.seconds is not None:
            return progress.pace.seconds
        timed = [each for each in reversed(self._parts.values()) if each.pace.seconds is not None]
        return min(timed, key=unlike).pace.seconds if timed else None

    def _training_seconds(self, progress: PartProgress) -> float | None:
        """Return the time left of the training of a part; before it begins, that of the searches on fit."""
        if progress.part.name not in TRAININGS or progress.part.split != "fit" or progress.scored:
            return 0.0
        if progress.steps is not None:
            done, steps = progress.steps
            pace = progress.step_pace.seconds
            return 0.0 if done == steps else None if pace is None else (steps - done) * pace
        searches = [each for each in self._parts.values() if each.part.stage == "search"]
        left = total(self._seconds_left(each) for each in searches)
        return None if left is None else sum(each.seconds(self.clock()) for each in searches) + left


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
        self._live: Live | None = None
        self._last_line = self._progress.clock()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._live is not None:
            self._live.stop()

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
            self._console.print(line, markup=False, soft_wrap=True)

    def notify(self, event: Event) -> None:
        """Update the display with an event, and show new kinds of warnings about the scores so far."""
        self._progress.take(event)
        if self.quiet:
            return
        if self._console.is_interactive and self._live is None:
            self._live = Live(
                get_renderable=self._view, console=self._console, refresh_per_second=REDRAWS_PER_SECOND
            )
            self._live.start()
        print_lines(self._console, *self._lines(event))
        is_due = event.kind == "phase" or (
            event.kind == "told" and event.done in (FEW, MIN_ZEROS, event.total)
        )
        if self._store is None or not is_due or event.split != "fit":
            return
        if event.search in (MAIN, WEIGHT_SEARCH):
            found = [*uninformative_scores(self._store), *truncated_baselines(self._store)]
            new = [each for each in found if each.kind not in self._warned]
            self._warned.update(each.kind for each in new)
            for each in new:
                self.say(str(each.statement))

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
                yield f"  {running.replayed:,} of {counted(len(running.scored), 'stored trial')} replayed"
            return
        is_baseline = event.search == BASELINES and (is_log or event.split == "fit")
        if event.kind == "phase" and (is_log or is_baseline) and running.answers_left != 0:
            yield _heading(running)
        elif is_baseline and event.kind == "ended" and event.value is not None and event.trial is not None:
            yield f"  {self._value_text(event.value):>7}  {event.trial.name}"
        elif is_log and event.kind in ("answered", "trained"):
            if self._is_due(event):
                yield "; ".join(filter(None, (f"  {_under_way(running)}", self._left())))
        elif is_log and event.split == "fit" and running.new and self._is_due(event):
            best = self._best(row_name(event.search, "fit"))
            trials = counted(len(running.scored), "trial")
            yield "; ".join(filter(None, (f"  {trials}{f', best {best}' if best else ''}", self._left())))

    def _is_due(self, event: Event) -> bool:
        now = self._progress.clock()
        if event.kind == "told":
            is_due = event.done == event.total or event.done % TRIALS_PER_LINE == 0
        else:
            seconds = SECONDS_PER_LINE if event.kind == "ended" else SECONDS_WITHIN_MODEL
            is_due = now - self._last_line >= seconds
        self._last_line = now if is_due else self._last_line
        return is_due

    def _left(self) -> str:
        seconds = self._progress.seconds_left()
        return f"{'about ' if seconds >= 1 else ''}{time_text(seconds)} left" if seconds else ""

    def _best(self, row: str) -> str:
        """Return the best value of a row; an estimate has the mark ≈."""
        value, is_estimate = self._progress.best.get(row, (None, False))
        return "" if value is None else f"{'≈ ' if is_estimate else ''}{self._value_text(value)}"

    def _view(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("part", no_wrap=True)
        table.add_column(width=BAR_WIDTH)
        for title, width in (("models", 9), ("best", 7), ("time", 17)):
            table.add_column(title, no_wrap=True, justify="right", min_width=width)
        now, running = self._progress.clock(), self._progress.running
        for name, parts in self._progress.rows().items():
            done, models = sum(len(each.scored) for each in parts), total(each.models for each in parts)
            failed, seconds = sum(each.failed for each in parts), sum(each.seconds(now) for each in parts)
            is_running = running in parts
            replayed = sum(each.replayed for each in parts) if is_running else 0
            table.add_row(
                name,
                _bar(None if models is None else done / max(1, models)) if done or is_running else "",
                f"{done} of {'?' if models is None else models}{f', {failed} failed' if failed else ''}",
                f"replayed {replayed:,}" if replayed else self._best(name),
                time_text(seconds) if seconds >= 1 else "",
                style="bold" if is_running else None,
            )
        share = self._progress.share()
        table.add_row("total", _bar(share), "" if share is None else percent(share, ".0f"), "", self._left())
        under_way = "" if running is None else _under_way(running)
        return Group(table, Text(under_way, overflow="ellipsis", no_wrap=True))


def _bar(share: float | None) -> ProgressBar | str:
    if share is None:
        return ""
    green = "green"
    return ProgressBar(1.0, share, width=BAR_WIDTH, style="dim", complete_style=green, finished_style=green)


def _under_way(part: PartProgress) -> str:
    steps, models = part.steps, list(part.under_way.values())
    if steps is not None and not models and (steps[0] < steps[1] or not part.scored):
        what = "training" if part.part.name in TRAININGS else "learning weights"
        return f"{what}: step {steps[0]:,} of {steps[1]:,}"
    if not models:
        return ""
    name = models[0][0] if len(models) == 1 else f"{len(models)} models"
    done, items = sum(each.done for _, each in models), sum(each.total for _, each in models)
    return f"{name}: {done:,} of {counted(items, 'item')}"


def _heading(progress: PartProgress) -> str:
    part, row = progress.part, row_name(progress.part.name, "fit")
    models = "as many models as time allows" if part.models is None else counted(part.models, "model")
    stored = f" ({len(progress.scored)} stored)" if progress.scored else ""
    limit = "up to " if part.stage in ("search", "controls", "validation") else ""
    items = f", {limit}{counted(part.items, 'item')} each" if part.items else ""
    return f"{row[:1].upper()}{row[1:]} on {part.split}: {models}{stored}{items}"
