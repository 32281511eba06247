"""Continue a run with other code or versions: accept mixed scores, or score everything again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from kingyo.evolution import RACED, finalists_fact
from kingyo.evolution.set_measures import FACT as SET_VALUES
from kingyo.evolution.verdict import FACT as VERDICT
from kingyo.run.config import TRAINED, RunConfig
from kingyo.run.extensions import FACT as EXTENSIONS
from kingyo.run.extensions import as_initial_budget
from kingyo.run.provenance import (
    Changes,
    free_archive_name,
    score_differences,
    store_provenance,
    stored_code,
)
from kingyo.run.scoring_code import provenance_facts
from kingyo.store import RunStore
from kingyo.user_code.versions import KINGYO, version_now

ACCEPTED, RESCORED = "accepted_changes", "rescored"


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """A continuation of a run, or a new beginning, with other code or versions.

    Attributes:
        when: time in seconds since 1970.
        changes: the differences.
        archive: file with all scores before, in the run folder; None if the run continued with them.
        test_was_read: whether test had been read before a new beginning.
    """

    when: float
    changes: Changes = field(default_factory=dict[str, tuple[str | None, str | None]])
    archive: str | None = None
    test_was_read: bool = False

    def __str__(self) -> str:
        """Return a sentence on the versions of the scores."""
        pairs = self.changes.items()
        changes = "; ".join(f"{name} {old or 'none'}, then {new or 'none'}" for name, (old, new) in pairs)
        date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.when))
        if self.archive is None:
            return f"The scores of this run were made with different versions: {changes}. Accepted on {date}."
        test = ", and test had been read by then" if self.test_was_read else ""
        return (
            f"Everything was scored again on {date} ({changes or 'with the same versions'}); "
            f"the scores before are in {self.archive}{test}."
        )


def renewals(store: RunStore) -> tuple[Renewal, ...]:
    """Return the rescores of a run, then the accepted changes; oldest first."""
    records = [record for key in (RESCORED, ACCEPTED) for record in _records(store, key)]
    return tuple(Renewal(**cast("dict[str, object]", record)) for record in records)  # type: ignore[arg-type]


def _records(store: RunStore, key: str) -> list[object]:
    return cast("list[object]", store.fact(key) or [])


def accept_changes(
    store: RunStore, config: RunConfig, folder: Path, libraries: Sequence[str] = ()
) -> Renewal | None:
    """Store that a run continues with the code and versions of this process beside its scores.

    Args:
        store: the run, open for writing.
        config: config of the run.
        folder: start of its relative paths.
        libraries: see ``libraries_of``.

    Returns:
        The accepted changes; None if nothing differs.

    Raises:
        KingyoError: see ``provenance_facts``; nothing is changed then.
    """
    changes = score_differences(store, config, folder)
    if not changes:
        return None
    facts = provenance_facts(config, folder, stored_code(store), libraries)
    renewal = Renewal(when=time.time(), changes=changes)
    store_provenance(store, {**facts, ACCEPTED: [*_records(store, ACCEPTED), asdict(renewal)]})
    return renewal


def score_again(store: RunStore, config: RunConfig, folder: Path, libraries: Sequence[str] = ()) -> Renewal:
    """Reset a run to its first ask, with its items, budget and controls; its database is copied before.

    If it is interrupted, the run is unchanged or reset completely. Arguments are those of ``accept_changes``.

    Raises:
        KingyoError: see ``provenance_facts``; nothing is changed then.
    """
    facts = provenance_facts(config, folder, stored_code(store), libraries)
    archive = free_archive_name(store.folder)
    renewal = Renewal(
        when=time.time(),
        changes=score_differences(store, config, folder),
        archive=archive,
        test_was_read=bool(store.summaries("test")),
    )
    finalists = (finalists_fact(name) for name in store.searches())
    store.begin_again(
        store.folder / archive,
        facts={
            **facts,
            "version": version_now(KINGYO),
            "status": "running",
            EXTENSIONS: as_initial_budget(store),
            RESCORED: [*_records(store, RESCORED), asdict(renewal)],
        },
        forgotten=(RACED, TRAINED, ACCEPTED, SET_VALUES, VERDICT, *finalists),
    )
    return renewal
