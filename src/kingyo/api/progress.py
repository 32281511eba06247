"""The protocol by which calls of the API report their progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kingyo.runs.cost import Cost
    from kingyo.search.evolution import Event
    from kingyo.store import RunStore


class Progress(Protocol):
    """Receives the progress of a call. Several threads may call its methods; ``Silent`` ignores them."""

    def count(self, what: str, done: int, total: int) -> None:
        """So much is done, such as "scoring" 3 of 20 items; the first call may begin above 0."""

    def begin(self, store: RunStore) -> None:
        """A run begins or continues."""

    def expect(self, cost: Cost) -> None:
        """The rest of the run will cost this."""

    def notify(self, event: Event) -> None:
        """Something happened in the run."""

    def say(self, line: str) -> None:
        """A sentence for the user."""


class Silent(Progress):
    """Ignores everything."""


SILENT = Silent()
