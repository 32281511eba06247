"""Report how many items of a candidate are answered while its task scores it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from kingyo.types import Answered, Item, Progress, ReportsProgress


class ReportFailedError(BaseException):
    """A report failed, such as on a closed terminal. It is no failure of the candidate; see ``__cause__``."""


@contextmanager
def reporting(source: object, progress: Progress) -> Generator[None]:
    """Let a live model or an evaluator report to ``progress`` meanwhile, if it can."""
    if not isinstance(source, ReportsProgress):
        yield
        return
    before, source.progress = source.progress, progress
    try:
        yield
    finally:
        source.progress = before


class ItemProgress:
    """Turns the progress of a model's calls into that of items: a call answers the items of one task.

    A task of several calls, such as a user's, counts as answered after the first.
    """

    def __init__(self, items: Sequence[Item], progress: Progress) -> None:
        self._sizes = list(Counter(item.task for item in items).values())
        self._total = len(items)
        self._before = 0
        self._progress = progress

    def begin(self) -> None:
        self._report(Answered(0, 0, self._total))

    def __call__(self, call: Answered) -> None:
        if not self._sizes:
            return
        size = self._sizes[0]
        done, timed = (self._before + size * n // max(1, call.total) for n in (call.done, call.timed))
        self._report(Answered(done, timed, self._total))
        if call.timed == call.total:
            self._before += self._sizes.pop(0)

    def _report(self, answered: Answered) -> None:
        try:
            self._progress(answered)
        except (Exception, SystemExit) as error:
            raise ReportFailedError from error
