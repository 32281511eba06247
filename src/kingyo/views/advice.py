"""Advice about a run as data: what was found, why it matters, and what to do; and what all runs may need.

It is based on fit scores and on the finalists' validation scores, never on test.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from kingyo.evolution import MAIN
from kingyo.run.config import WEIGHT_SEARCH
from kingyo.run.learning import FAILURE
from kingyo.store import CONFIG, WARNINGS, RunStore
from kingyo.views.view import Statement

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

    kind: Literal[
        "lost", "setup", "zero", "broken", "equal", "bound", "start", "stuck", "progress", "cut", "train"
    ]
    level: Literal["warning", "note"]
    what: str
    why: str = ""
    remedy: str = ""

    @property
    def statement(self) -> Statement:
        text = " ".join(part for part in (self.what, self.why, self.remedy) if part)
        return Statement(topic="advice", text=text, is_warning=self.level == "warning")

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def setup_warnings(store: RunStore) -> Iterator[Advice]:
    """Repeat the warnings from before the run, such as a chat template that is not used."""
    for text in store.fact(WARNINGS):
        yield Advice(kind="setup", level="warning", what=f"{text}.")
    failure = store.fact(FAILURE)
    if failure is not None:
        what = f"Weights could not be learned: {str(failure).rstrip('.')}."
        why = "The search went on without, and learns no more weights if it is resumed."
        remedy = "Mend the cause and begin a new run, or write `learn: false`."
        yield Advice(kind="setup", level="warning", what=what, why=why, remedy=remedy)


def lost_writes(store: RunStore) -> Iterator[Advice]:
    """Warn if stored data could not be found when the run was opened."""
    if store.lost is not None:
        why = "What it held is lost, and nothing of it is shown."
        remedy = f"`kingyo resume {folder_of(store)}` makes it again."
        yield Advice(kind="lost", level="warning", what=store.lost, why=why, remedy=remedy)


def folder_of(store: RunStore) -> str:
    """Return the run's folder, quoted for a shell."""
    return shlex.quote(str(store.folder))


def run_yaml(store: RunStore) -> str:
    """Return the path of the run.yaml from the current folder, quoted for a shell."""
    name = str(store.fact("run_yaml") or "run.yaml")
    return shlex.quote(os.path.relpath(Path(str(store.fact("folder") or "")) / name))


def config_of(store: RunStore, key: str) -> Mapping[str, Any]:
    """Return a part of the stored run.yaml, empty where there is none."""
    config = store.fact(CONFIG)
    return config.get(key) or {}


def current_search(store: RunStore) -> str | None:
    """Return the main search, or before it begins the weight search; None before any trial."""
    searches = store.searches()
    return next((name for name in (MAIN, WEIGHT_SEARCH) if name in searches and store.trials(name)), None)


def is_of_paths(store: RunStore, search: str) -> bool:
    """Return whether a search is for layer paths, which have no bounds."""
    return store.searches()[search].get("space") == "dataflow"
