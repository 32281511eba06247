"""Show on standard error how much of a call is done: a bar on a terminal, elsewhere sparse lines."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Self

from kingyo.api.progress import Silent, Unit
from kingyo.cli.output import echo
from kingyo.core.io.units import counted, percent, size_text, time_text

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

SECONDS_PER_LINE = 10.0
SILENT_FOR = 1.0  # seconds


class Counts(Silent):
    """Prints counts and sentences of a call. Use it as a context manager; ``quiet`` prints nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._what = ""
        self._kept = 0
        self._begun = self._said = 0.0
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def say(self, line: str) -> None:
        if not self.quiet:
            echo(line, err=True)

    def count(self, what: str, done: int, total: int, unit: Unit = "items") -> None:
        """Move the bar; a new ``what`` begins a new one."""
        if self.quiet:
            return
        now = time.monotonic()
        if what != self._what:
            self._stop()
            self._what, self._kept = what, done
            self._begun = self._said = now
        elif is_terminal():
            if self._bars is None and now - self._begun >= SILENT_FOR and done < total:
                from rich import progress

                from kingyo.cli.console import Console

                self._bars = progress.Progress(
                    progress.TextColumn("{task.description}", markup=False),
                    progress.BarColumn(),
                    progress.DownloadColumn() if unit == "bytes" else progress.MofNCompleteColumn(),
                    progress.TimeRemainingColumn(),
                    console=Console(stderr=True),
                    transient=True,
                )
                self._bars.add_task(what, total=total)
                self._bars.start()
            if self._bars is not None:
                self._bars.update(self._bars.task_ids[0], completed=done)
                if done >= total:
                    self._stop()
        elif now - self._said >= SECONDS_PER_LINE:
            self._said = now
            new = done - self._kept
            left = f", {time_text((now - self._begun) * (total - done) / new)} left" if new else ""
            of = f"{size_text(done)} of {size_text(total)}"
            if unit == "items":
                of = f"{done:,} of {counted(total, 'item')}"
            echo(f"{what}: {of} ({percent(done / max(1, total), '.0f')}){left}", err=True)

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def is_terminal() -> bool:
    """Return whether standard error is a terminal that can redraw lines; it is None if closed."""
    is_dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return sys.stderr is not None and sys.stderr.isatty() and not is_dumb
