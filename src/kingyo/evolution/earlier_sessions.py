"""What the log of a search holds from earlier sessions."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager

from kingyo.store import RunStore


@contextmanager
def paused_garbage_collection() -> Generator[None]:
    """Collect no garbage while a log is read: it makes millions of objects, and none of them is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class EarlierSessions:
    """What the store knows of a search from earlier sessions."""

    def __init__(self, store: RunStore, search: str) -> None:
        self.outcomes = {each.trial: each for each in store.outcomes(search)}
        self.scores = store.scores(search, "fit") if self.outcomes else {}
        self.costs = store.costs(search, "fit") if self.outcomes else {}
