"""How far a merge is: a bar with bytes and time left on a terminal, elsewhere a line every ten seconds.

It only listens. What it was told last is what an interrupted command can say of itself.
"""

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
from kingyo.io.units import counted

if TYPE_CHECKING:
    from rich.table import Table

SECONDS_PER_LINE = 10.0
REDRAWS_PER_SECOND = 4
WIDEST_BAR = 36
LEAST_LABEL, LEAST_BAR = 12, 8  # columns; on a terminal without room for both, no bar is drawn
WIDEST_TEXT = 38  # of bytes and time left: the bar does not move as they grow
FEWEST_BYTES = 50_000_000  # of smaller models no bar is drawn: they are there before it could be read


class MergeProgress:
    """Shows how a checkpoint is written, on standard error; ``quiet`` shows nothing.

    Use it as a context manager around the write.

    Args:
        label: of the bar.
        quiet: whether to only count.
        seconds: between lines where there is no terminal.
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
        """Stop showing; safe to call twice."""
        self._close()
        self._close = lambda: None

    def start(self, shards: Sequence[int], finished: int) -> None:
        """See ``Watch``."""
        self.shards, self.finished = shards, 0
        self._done = self._kept = finished
        self._begun = time.monotonic()
        total = sum(shards)
        if finished and not self._quiet:
            echo(_going_on(shards, finished), err=True)
        if self._quiet or (self._is_terminal and total < FEWEST_BYTES):
            return
        self._close = self._start_bar() if self._is_terminal else self._start_lines()

    def drop(self, files: int) -> None:
        """See ``Watch``."""
        if not self._quiet:
            what = counted(files, "complete file")
            why = "the recipe, a source or the size of files is another now"
            echo(f"Beginning anew: {why}; {what} of before dropped.", err=True)

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
        """How far it is, in one line."""
        return f"{self._label}: {self._how_far()}"

    def bar(self, width: int) -> Table:
        """Return the same with a bar, for a terminal of so many columns. A label that is too long is cut."""
        from rich.cells import cell_len
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        text = self._how_far()
        room = width - max(WIDEST_TEXT, len(text)) - 2
        columns = min(WIDEST_BAR, max(LEAST_BAR, room - cell_len(self._label)))
        bar = ProgressBar(total=float(sum(self.shards)), completed=self._done, width=columns)
        bar.style, bar.complete_style, bar.finished_style = "dim", "green", "green"
        is_narrow = room < LEAST_LABEL + LEAST_BAR
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=None if is_narrow else room - columns)
        grid.add_row(*((text,) if is_narrow else (self._label, bar, text)))
        return grid

    def _how_far(self) -> str:
        total, spent = sum(self.shards), time.monotonic() - self._begun
        share = self._done / total if total else 1.0
        fresh = self._done - self._kept
        left = f", {_time(spent * (total - self._done) / fresh)} left" if fresh else ""
        return f"{_bytes(self._done)} of {_bytes(total)} ({100 * share:.0f} %){left}"

    def _start_bar(self) -> Callable[[], None]:
        from rich.live import Live  # not loaded where nobody looks: it takes as long as merging 100 MB

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

        def tell() -> None:
            while not ended.wait(self._seconds):
                echo(self.line(), err=True)

        teller = Thread(target=tell, name="kingyo-progress", daemon=True)
        teller.start()

        def close() -> None:
            ended.set()
            teller.join()

        return close


def _is_terminal() -> bool:
    """Whether standard error draws in place; it is None where it is closed."""
    is_dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return sys.stderr is not None and sys.stderr.isatty() and not is_dumb


def _going_on(shards: Sequence[int], finished: int) -> str:
    """Files are completed in order."""
    n_files = sum(end <= finished for end in accumulate(shards))
    where = f" from file {n_files + 1} of {len(shards)}" if n_files < len(shards) else ""
    return f"Going on{where}: {_bytes(finished)} of {_bytes(sum(shards))} were written before."


def _bytes(n_bytes: float) -> str:
    from kingyo.io.units import size_text

    return size_text(n_bytes)


def _time(seconds: float) -> str:
    from kingyo.io.units import time_text

    return "<1 s" if seconds < 1 else time_text(seconds)
