"""Print advice about a run while a command works."""

from __future__ import annotations

from collections.abc import Callable

from kingyo.cli.output import echo
from kingyo.errors import KingyoError
from kingyo.runs.config import WEIGHT_SEARCH
from kingyo.runs.provenance import other_versions
from kingyo.search.evolution import MAIN, Event
from kingyo.store import RunStore
from kingyo.views.advice import FEW, MIN_ZEROS, lost_writes, truncated_baselines, uninformative_scores


def warn_lost(store: RunStore) -> None:
    """Warn on standard error about lost writes of the run database."""
    for each in lost_writes(store):
        echo(str(each.statement), err=True)


def warn(error: KingyoError) -> None:
    """Warn on standard error about a mistake that does not stop the command."""
    echo(f"Warning: {error}", err=True)


def note_versions(store: RunStore, action: str) -> None:
    """Print a note on standard error if versions differ from those of the scores; action is a participle."""
    note = other_versions(store, action)
    if note is not None:
        echo(f"Note: {note}", err=True)


class AdviceWatcher:
    """An event listener that warns during a run if scores are too equal for a search, or answers were cut.

    It checks after the baselines, and as soon as there are enough candidates for a warning.

    Args:
        store: the run.
        show: shows a line.
        forward: receives each event first.
    """

    def __init__(
        self, store: RunStore, show: Callable[[str], None], forward: Callable[[Event], None]
    ) -> None:
        self._store = store
        self._show = show
        self._forward = forward
        self._shown: set[str] = set()

    def notify(self, event: Event) -> None:
        """Receive an event, and show new kinds of warnings."""
        self._forward(event)
        is_due = event.kind == "phase" or (
            event.kind == "told" and event.done in (FEW, MIN_ZEROS, event.total)
        )
        if not is_due or event.split != "fit" or event.search not in (MAIN, WEIGHT_SEARCH):
            return
        found = [*uninformative_scores(self._store), *truncated_baselines(self._store)]
        new = [advice for advice in found if advice.kind not in self._shown]
        self._shown.update(advice.kind for advice in new)
        for advice in new:
            self._show(str(advice.statement))
