"""Advice about a run in words: below its summary, and as soon as it is known while the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.markup import escape

from kingyo.advice import Advice, lost_writes, uninformative_scores
from kingyo.advice.message import FEW
from kingyo.cli.console import Console, say
from kingyo.cli.terminal import echo
from kingyo.evolution import MAIN, Event
from kingyo.run.config import WEIGHT_SEARCH
from kingyo.run.provenance import other_versions
from kingyo.store import RunStore


def advice_text(advice: Advice) -> str:
    """Return one piece of advice as a line; warnings are marked."""
    return f"Warning: {advice.text}" if advice.level == "warning" else advice.text


def print_advice(advice: Sequence[Advice]) -> None:
    """Print advice to standard output, warnings in bold on a terminal."""
    console = Console(highlight=False)
    for each in advice:
        say(console, escape(advice_text(each)), style="bold" if each.level == "warning" else None)


def tell_lost(store: RunStore) -> None:
    """Warn on standard error of stored writes that are lost."""
    for each in lost_writes(store):
        echo(advice_text(each), err=True)


def tell_versions(store: RunStore, done: str) -> None:
    """Say on standard error which versions differ from those that a run was scored with, where some do."""
    said = other_versions(store, done)
    if said is not None:
        echo(f"Note: {said}", err=True)


class AdviceWatcher:
    """Listens to a run, and warns as soon as its scores leave a search nothing to climb.

    It looks twice: when the baselines are scored, and when the strategy was told of the first candidates.

    Args:
        store: of the run.
        tell: shows a line.
        then: takes each event on.
    """

    def __init__(self, store: RunStore, tell: Callable[[str], None], then: Callable[[Event], None]) -> None:
        self._store = store
        self._tell = tell
        self._then = then
        self._looks: set[tuple[str, str]] = set()
        self._told: set[str] = set()

    def notify(self, event: Event) -> None:
        """Take one event in."""
        self._then(event)
        is_due = event.kind == "phase" or (event.kind == "told" and event.done in (FEW, event.total))
        look = (event.search, event.kind)
        if (
            is_due
            and event.search in (MAIN, WEIGHT_SEARCH)
            and event.split == "fit"
            and look not in self._looks
        ):
            self._looks.add(look)
            self._warn()

    def _warn(self) -> None:
        for advice in uninformative_scores(self._store):
            is_known = advice.kind in self._told
            self._told.add(advice.kind)
            self._tell(advice_text(replace(advice, why="", remedy="") if is_known else advice))
