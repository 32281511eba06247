"""Advice as data, and helpers for its text."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from kingyo.evolution import MAIN
from kingyo.run.config import WEIGHT_SEARCH
from kingyo.store import RunStore

Kind = Literal[
    "lost", "setup", "zero", "broken", "equal", "bound", "start", "stuck", "progress", "cut", "train", "seeds"
]

FEW = 4
"""Smallest number of candidates in a first batch to compare with."""
ENOUGH = 12
"""Smallest number of candidates for a warning about the search."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One piece of advice.

    Attributes:
        kind: for programs.
        level: a warning needs an action; a note does not.
        what: the finding.
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
        """Return finding, meaning and remedy in one line."""
        return " ".join(part for part in (self.what, self.why, self.remedy) if part)

    def to_json(self) -> dict[str, str]:
        """Return the advice as JSON."""
        return asdict(self)


def folder_of(store: RunStore) -> str:
    """Return the run's folder, quoted for a shell."""
    return shlex.quote(str(store.folder))


def seeds_command(store: RunStore) -> str:
    """Return the command that runs three seeds, in a folder next to the run."""
    folder = shlex.quote(f"{store.folder}-seeds")
    return f"kingyo evolve {run_yaml(store)} --seeds 3 --run {folder}"


def run_yaml(store: RunStore) -> str:
    """Return the path of the run.yaml from the current folder, quoted for a shell."""
    name = str(store.fact("run_yaml") or "run.yaml")
    return shlex.quote(os.path.relpath(Path(str(store.fact("folder") or "")) / name))


def current_search(store: RunStore) -> str | None:
    """Return the main search, or before it begins the weight search; None before any trial."""
    searches = store.searches()
    return next((name for name in (MAIN, WEIGHT_SEARCH) if name in searches and store.trials(name)), None)


def is_of_paths(store: RunStore, search: str) -> bool:
    """Return whether a search is for layer paths, which have no bounds."""
    return store.searches()[search].get("space") == "dataflow"
