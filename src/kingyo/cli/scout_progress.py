"""The progress of ``kingyo scout`` and ``evaluate`` on standard error: bars on a terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from kingyo.cli.console import Console, print_text
from kingyo.io.units import percent

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from kingyo.types import Progress

_SILENT_FOR = 1.0  # seconds
_PER_LINE = 10.0  # seconds


@contextmanager
def advancing() -> Generator[Callable[[str, int, int], None]]:
    """Show how far the reading of models and the measuring of weights are; the function gets both sizes."""
    from rich.progress import DownloadColumn, MofNCompleteColumn

    with ExitStack() as stack:
        bars: dict[str, Callable[[int, int], None]] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in bars:
                column = DownloadColumn() if what == "measuring" else MofNCompleteColumn()
                bars[what] = stack.enter_context(_bar(what, column))
            bars[what](done, total)

        yield advance


@contextmanager
def scoring() -> Generator[Progress]:
    """Show how many items of a model are answered."""
    from rich.progress import MofNCompleteColumn

    with _bar("scoring", MofNCompleteColumn()) as show:
        yield lambda answered: show(answered.done, answered.total)


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
