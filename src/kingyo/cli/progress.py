"""Progress of a merge: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from threading import Event, Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING

from kingyo.cli.terminal import echo

if TYPE_CHECKING:
    from rich.table import Table

SECONDS_PER_LINE = 10.0
REDRAWS_PER_SECOND = 4
MAX_BAR = 36
MIN_LABEL, MIN_BAR = 12, 8  # columns; a terminal too narrow for both shows no bar
TEXT_WIDTH = 38  # reserved for bytes and time left, so that the bar does not move
MIN_BYTES = 50_000_000  # smaller models are written too quickly for a bar


class MergeProgress:
    """Show the progress of writing a checkpoint on standard error. Use it as a context manager.

    Args:
        label: label of the bar.
        quiet: whether to show nothing.
        seconds: time between lines without a terminal.

    Attributes:
        shards: sizes of the weight files in bytes.
        finished: number of files finished in this session.
        nonfinite: tensors that contain NaN or infinity.
    """

    def __init__(self, label: str, *, quiet: bool = False, seconds: float = SECONDS_PER_LINE) -> None:
        self.shards: Sequence[int] = ()
        self.finished = 0
        self.nonfinite: list[str] = []
        self._label = label
        self._quiet = quiet
        self._seconds = seconds
        self._is_terminal = _is_terminal()
        self._lock = Lock()
        self._done = self._kept = 0
        self._begun = time.monotonic()
        self._close: Callable[[], None] = lambda: None

    def __enter__(self) -> MergeProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Remove the bar; safe to call twice."""
        self._close()
        self._close = lambda: None

    def start(self, shards: Sequence[int], finished: int) -> None:
        """See ``Watch``."""
        self.shards, self.finished = shards, 0
        self._done = self._kept = finished
        self._begun = time.monotonic()
        total = sum(shards)
        if finished and not self._quiet:
            echo(_resume_text(shards, finished), err=True)
        if self._quiet or (self._is_terminal and total < MIN_BYTES):
            return
        self._close = self._start_bar() if self._is_terminal else self._start_lines()

    def wrote(self, n_bytes: int) -> None:
        """See ``Watch``."""
        with self._lock:
            self._done += n_bytes

    def finish(self, shard: int) -> None:
        """See ``Watch``."""
        self.finished = max(self.finished, shard + 1)

    def broken(self, tensor: str) -> None:
        """See ``Watch``."""
        self.nonfinite.append(tensor)

    def line(self) -> str:
        """Return the progress as one line."""
        return f"{self._label}: {self._progress_text()}"

    def bar(self, width: int) -> Table:
        """Return the progress with a bar, for a terminal of this width; a long label is truncated."""
        from rich.cells import cell_len
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        text = self._progress_text()
        room = width - max(TEXT_WIDTH, len(text)) - 2
        columns = min(MAX_BAR, max(MIN_BAR, room - cell_len(self._label)))
        bar = ProgressBar(total=float(sum(self.shards)), completed=self._done, width=columns)
        bar.style, bar.complete_style, bar.finished_style = "dim", "green", "green"
        is_narrow = room < MIN_LABEL + MIN_BAR
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=None if is_narrow else room - columns)
        grid.add_row(*((text,) if is_narrow else (self._label, bar, text)))
        return grid

    def _progress_text(self) -> str:
        total, seconds = sum(self.shards), time.monotonic() - self._begun
        share = self._done / total if total else 1.0
        new = self._done - self._kept
        left = f", {_time(seconds * (total - self._done) / new)} left" if new else ""
        return f"{_bytes(self._done)} of {_bytes(total)} ({100 * share:.0f} %){left}"

    def _start_bar(self) -> Callable[[], None]:
        from rich.live import Live  # slow to import, so only on a terminal

        from kingyo.cli.console import Console

        console = Console(stderr=True, highlight=False)
        live = Live(
            get_renderable=lambda: self.bar(console.width),
            console=console,
            refresh_per_second=REDRAWS_PER_SECOND,
            transient=True,
        )
        live.start()
        return live.stop

    def _start_lines(self) -> Callable[[], None]:
        ended = Event()

        def print_lines() -> None:
            while not ended.wait(self._seconds):
                echo(self.line(), err=True)

        printer = Thread(target=print_lines, name="kingyo-progress", daemon=True)
        printer.start()

        def close() -> None:
            ended.set()
            printer.join()

        return close


def _is_terminal() -> bool:
    """Return whether standard error is a terminal that can redraw lines; it is None if closed."""
    is_dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return sys.stderr is not None and sys.stderr.isatty() and not is_dumb


def _resume_text(shards: Sequence[int], finished: int) -> str:
    n_files = sum(end <= finished for end in accumulate(shards))
    place = f" from file {n_files + 1} of {len(shards)}" if n_files < len(shards) else ""
    return f"Continuing{place}: {_bytes(finished)} of {_bytes(sum(shards))} were written before."


def _bytes(n_bytes: float) -> str:
    from kingyo.io.units import size_text

    return size_text(n_bytes)


def _time(seconds: float) -> str:
    from kingyo.io.units import time_text

    return "<1 s" if seconds < 1 else time_text(seconds)
