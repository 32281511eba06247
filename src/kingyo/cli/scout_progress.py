"""The progress of ``kingyo scout`` and ``evaluate`` on standard error: bars on a terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.markup import escape

from kingyo.cli.console import Console, print_text
from kingyo.io.units import counted, percent

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from kingyo.evolution import Event
    from kingyo.strategies.stepwise import Step
    from kingyo.types import Progress

_SILENT_FOR = 1.0  # seconds
_PER_LINE = 10.0  # seconds


@contextmanager
def counting(total: int) -> Generator[Callable[[int], None]]:
    """Show how many candidates were read; the function that is yielded gets the number of new ones."""
    from rich.progress import MofNCompleteColumn

    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        show(done, total)

    with _bar("reading", MofNCompleteColumn()) as show:
        yield advance


@contextmanager
def scoring() -> Generator[Progress]:
    """Show how many items of a model are answered."""
    from rich.progress import MofNCompleteColumn

    with _bar("scoring", MofNCompleteColumn()) as show:
        yield lambda answered: show(answered.done, answered.total)


@contextmanager
def measuring() -> Generator[Callable[[int, int], None]]:
    """Show how much of the weights was measured; the function that is yielded gets both sizes in bytes."""
    from rich.progress import DownloadColumn

    with _bar("measuring", DownloadColumn()) as show:
        yield show


@contextmanager
def _bar(label: str, column: ProgressColumn) -> Generator[Callable[[int, int], None]]:
    from rich import progress

    console = Console(stderr=True)
    columns = (
        progress.TextColumn(label),
        progress.BarColumn(),
        column,
        progress.TimeRemainingColumn(),
    )
    bar = progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task, begun = bar.add_task(label, total=None), time.monotonic()
    said = begun

    def show(done: int, total: int) -> None:
        nonlocal said
        bar.update(task, completed=done, total=total)
        now = time.monotonic()
        if now - begun > _SILENT_FOR:
            bar.start()
        if not console.is_terminal and now - said >= _PER_LINE:
            print_text(console, f"{label}: {percent(done / max(1, total), '.0f')}")
            said = now

    try:
        yield show
    finally:
        bar.stop()


class ChoiceProgress:
    """Show the progress of a choice on standard error: each decision, and how many answers were graded."""

    def __init__(self, names: Sequence[str], min_gain: float, *, quiet: bool) -> None:
        self._names = names
        self._min_gain = min_gain
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._scored: dict[str, set[str]] = {}  # recipe hash -> items
        self._n_steps = 0
        self._last = time.monotonic()

    def notify(self, event: Event, steps: Sequence[Step]) -> None:
        """Count an event; print each new decision, and a line every ten seconds."""
        if event.kind not in ("ended", "more") or event.evaluation is None or event.trial is None:
            return
        items = self._scored.setdefault(event.trial.recipe_hash, set())
        items.update(score.item for score in event.evaluation.scores)
        self.show(steps)
        if not event.replayed and time.monotonic() - self._last >= _PER_LINE:
            n_answers = sum(map(len, self._scored.values()))
            self._print(f"  {counted(len(self._scored), 'trial merge')}, {counted(n_answers, 'answer')}")

    def show(self, steps: Sequence[Step]) -> None:
        """Print the decisions that were not printed yet."""
        for step in steps[self._n_steps :]:
            self._print(self._decision(step))
        self._n_steps = len(steps)

    def _decision(self, step: Step) -> str:
        if step.added is None:
            left_out = "; now each is left out in turn" if len(step.chosen) > 1 else ""
            return f"{counted(len(step.chosen), 'source')}; no further one is added{left_out}"
        gain, number = step.gains[step.added], len(step.chosen) + 1
        measured = f"{100 * gain.mean:+.0f} points ({gain.interval.items})"
        text = "best in pairs" if gain.mean < self._min_gain else measured
        return f"{number}. {self._names[step.added]}: {text}"

    def _print(self, line: str) -> None:
        self._last = time.monotonic()
        if not self._quiet:
            print_text(self._console, escape(line))
