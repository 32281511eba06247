"""One piece of advice as data, and the words that several of them share."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from kingyo.evolution import MAIN
from kingyo.run.config import WEIGHT_SEARCH
from kingyo.store import RunStore

Kind = Literal["lost", "zero", "broken", "equal", "bound", "start", "stuck", "progress", "cut", "seeds"]

FEW = 4
"""Candidates: a first batch of fewer is no start to compare with."""
ENOUGH = 12
"""Candidates: of fewer nothing is said but how the search went."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One thing to know.

    Attributes:
        kind: what it is, for programs.
        level: a warning wants something done; a note does not.
        what: what was found.
        why: what it means; may be empty.
        remedy: what to do; may be empty.
    """

    kind: Kind
    level: Literal["warning", "note"]
    what: str
    why: str = ""
    remedy: str = ""

    @property
    def text(self) -> str:
        """The whole in one line."""
        return " ".join(part for part in (self.what, self.why, self.remedy) if part)

    def to_json(self) -> dict[str, str]:
        """Return it as JSON."""
        return asdict(self)


def folder_of(store: RunStore) -> str:
    """Return the run's folder as a shell takes it."""
    return shlex.quote(str(store.folder))


def seeds_command(store: RunStore) -> str:
    """Return the command that runs three seeds, in a folder next to the run."""
    name = str(store.fact("run_yaml") or "run.yaml")
    config = os.path.relpath(Path(str(store.fact("folder") or "")) / name)
    folder = f"{store.folder}-seeds"
    return shlex.join(("kingyo", "evolve", config, "--seeds", "3", "--run", folder))


def bred_search(store: RunStore) -> str | None:
    """Return the search to judge: the main one; before it begins, that of weights alone; None before any."""
    begun = store.searches()
    return next((name for name in (MAIN, WEIGHT_SEARCH) if name in begun and store.trials(name)), None)


def is_of_paths(store: RunStore, search: str) -> bool:
    """Return whether a search looks for paths through layers, which have no bounds to move."""
    return store.searches()[search].get("space") == "dataflow"
