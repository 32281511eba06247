"""Count the answers of a live model while it works through the batches of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from kingyo.types import Answered, Progress

B = TypeVar("B", bound=Sized)
T = TypeVar("T")


class AnswerCount:
    """Counts the answers of one call, and reports each change to ``progress``."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total = total
        self._progress = progress
        self._done = self._timed = self._size = 0

    def batches(self, batches: Iterable[B]) -> Iterator[B]:
        """Yield batches; when the next one is taken, the answers of the one before are complete."""
        for batch in batches:
            self._size = len(batch)
            yield batch
            self._timed += len(batch)
            self._done = self._timed
            self._report()

    def ends(self, ended: Callable[[T], bool]) -> Callable[[T], bool]:
        """Return a function that also counts each answer of the current batch that has ended."""

        def counting(answer: T) -> bool:
            is_over = ended(answer)
            if is_over:
                self._done += 1
                self._report()
            return is_over

        return counting

    def reach(self, part: int, whole: int) -> None:
        """Count a share of the current batch as complete, such as its steps so far of all steps."""
        done = self._timed + self._size * part // whole
        if done > self._done:
            self._done = done
            self._report()

    def _report(self) -> None:
        self._progress(Answered(self._done, self._timed, self._total))
