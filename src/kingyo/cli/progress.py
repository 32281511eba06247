"""Show on standard error how much of a call is done: a bar on a terminal, elsewhere sparse lines."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Self

from rich.markup import escape

from kingyo.api.progress import Silent
from kingyo.cli.output import echo
from kingyo.core.io.units import percent, time_text

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

SECONDS_PER_LINE = 10.0
SILENT_FOR = 1.0  # seconds


class Counts(Silent):
    """Prints counts and sentences of a call. Use it as a context manager; ``quiet`` prints nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._what = ""
        self._begun = self._said = 0.0
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def say(self, line: str) -> None:
        if not self.quiet:
            echo(line, err=True)

    def count(self, what: str, done: int, total: int) -> None:
        """Move the bar; a new ``what`` begins a new one."""
        now, share = time.monotonic(), done / max(1, total)
        if what != self._what:
            self.__exit__()
            self._what, self._begun, self._said = what, now, now
        if self.quiet or now - self._begun < SILENT_FOR:
            return
        if is_terminal():
            if self._bars is None:
                from rich.progress import Progress as Bars

                from kingyo.cli.console import Console

                self._bars = Bars(console=Console(stderr=True), transient=True)
                self._bars.add_task(escape(what), total=1.0)
                self._bars.start()
            self._bars.update(self._bars.task_ids[0], completed=share)
        elif now - self._said >= SECONDS_PER_LINE:
            self._said = now
            left = f", {time_text((now - self._begun) * (1 - share) / share)} left" if share else ""
            echo(f"{what}: {percent(share, '.0f')}{left}", err=True)


def is_terminal() -> bool:
    """Return whether standard error is a terminal that can redraw lines; it is None if closed."""
    is_dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return sys.stderr is not None and sys.stderr.isatty() and not is_dumb
