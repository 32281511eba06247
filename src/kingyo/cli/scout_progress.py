"""Progress bars of ``kingyo scout`` on standard error, if it is a terminal, after the first second."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

_SILENT_FOR = 1.0  # seconds


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
def measuring() -> Generator[Callable[[int, int], None]]:
    """Show how much of the weights was measured; the function that is yielded gets both sizes in bytes."""
    from rich.progress import DownloadColumn

    with _bar("measuring", DownloadColumn()) as show:
        yield show


@contextmanager
def _bar(label: str, column: ProgressColumn) -> Generator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from kingyo.cli.console import Console

    console = Console(stderr=True)
    columns = (TextColumn(label), BarColumn(), column, TimeRemainingColumn())
    bar: Progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task, begun = bar.add_task(label, total=None), time.monotonic()

    def show(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        if time.monotonic() - begun > _SILENT_FOR:
            bar.start()

    try:
        yield show
    finally:
        bar.stop()
