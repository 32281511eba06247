"""Progress of a merge: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import os
import sys
import time
from threading import Lock
from typing import TYPE_CHECKING

from kingyo.cli.terminal import echo
from kingyo.io.units import percent, size_text, time_text

if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS_PER_LINE = 10.0
MIN_BYTES = 50_000_000  # smaller models are written too quickly for a bar


class MergeProgress:
    """Show the progress of writing a checkpoint on standard error. Use it as a context manager.

    Args:
        label: label of the bar.
        quiet: whether to show nothing.

    Attributes:
        nonfinite: tensors that contain NaN or infinity.
    """

    def __init__(self, label: str, *, quiet: bool = False) -> None:
        self.nonfinite: list[str] = []
        self._label = label
        self._quiet = quiet
        self._lock = Lock()
        self._done = self._total = 0
        self._begun = self._last_line = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> MergeProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, n_bytes: int) -> None:
        """See ``Watch``."""
        self._done, self._total = 0, n_bytes
        self._begun = self._last_line = time.monotonic()
        if not self._quiet and _is_terminal() and n_bytes >= MIN_BYTES:
            self._bar = _bar()
            self._bar.add_task(self._label, total=n_bytes)
            self._bar.start()

    def wrote(self, n_bytes: int) -> None:
        """See ``Watch``."""
        with self._lock:
            self._done += n_bytes
            if self._bar is not None:
                self._bar.advance(self._bar.task_ids[0], n_bytes)
            elif not self._quiet and time.monotonic() - self._last_line >= SECONDS_PER_LINE:
                self._last_line = time.monotonic()
                echo(self.line(), err=True)

    def broken(self, tensor: str) -> None:
        """See ``Watch``."""
        self.nonfinite.append(tensor)

    def line(self) -> str:
        """Return the progress as one line."""
        total, seconds = self._total, time.monotonic() - self._begun
        share = self._done / total if total else 1.0
        left = f", {time_text(seconds * (total - self._done) / self._done)} left" if self._done else ""
        return f"{self._label}: {size_text(self._done)} of {size_text(total)} ({percent(share, '.0f')}){left}"


def _bar() -> Progress:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from kingyo.cli.console import Console

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )


def _is_terminal() -> bool:
    """Return whether standard error is a terminal that can redraw lines; it is None if closed."""
    is_dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return sys.stderr is not None and sys.stderr.isatty() and not is_dumb
