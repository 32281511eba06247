"""Compare the code and versions that scored a run with those of this process.

A run stores them when it begins. Scores of different versions are mixed only if the user accepts it, see
``kingyo.run.renewals``.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError
from kingyo.run.config import RunConfig
from kingyo.run.scoring_code import CODE, VERSIONS, current_versions, provenance_facts, user_code
from kingyo.store import DATABASE, RunStore
from kingyo.user_code.versions import version_now

Changes = Mapping[str, tuple[str | None, str | None]]
"""Name of a file or library -> its old and new version; None if there is none."""


def has_scores(store: RunStore) -> bool:
    """Return whether a run has scores, including copies from another run."""
    return store.item_evaluations() > 0 or store.copied_scores() > 0


def differences(store: RunStore, config: RunConfig, folder: Path) -> Changes:
    """Return the differences between the stored code and versions and those of this process."""
    return {**version_differences(store), **_code_differences(store, config, folder)}


def score_differences(store: RunStore, config: RunConfig, folder: Path) -> Changes:
    """Return ``differences``, or none if the run has no scores."""
    return differences(store, config, folder) if has_scores(store) else {}


def version_differences(store: RunStore) -> Changes:
    """Return the versions that differ from the stored ones."""
    stored = cast("dict[str, str]", store.fact(VERSIONS) or {})
    return {name: (old, new) for name, old in stored.items() if (new := version_now(name)) != old}


def _code_differences(store: RunStore, config: RunConfig, folder: Path) -> Changes:
    before = stored_code(store)
    return changed_files(before, user_code(config, folder, before))


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """Return the files whose hashes differ, or that only one mapping has."""
    pairs = {file: (before.get(file), now.get(file)) for file in {**before, **now}}
    return {
        file: (_short(old), _short(new))
        for file, (old, new) in sorted(pairs.items())
        if (old or "") != (new or "")
    }


def _short(value: str | None) -> str | None:
    return f"sha256 {value[:8]}" if value else None


def stored_code(store: RunStore) -> Mapping[str, str]:
    """Return the stored hashes of the user's files."""
    return cast("dict[str, str]", store.fact(CODE) or {})


def require_same(store: RunStore, config: RunConfig, folder: Path) -> None:
    """Check that this process has the code and versions of a run's scores, if it has scores.

    Raises:
        KingyoError: something differs.
    """
    _refuse(store, score_differences(store, config, folder))


def require_same_code(store: RunStore, config: RunConfig, folder: Path) -> None:
    """Check that the user's files are those of a run's scores, if it has scores.

    Raises:
        KingyoError: a file differs.
    """
    _refuse(store, _code_differences(store, config, folder) if has_scores(store) else {})


def _refuse(store: RunStore, changes: Changes) -> None:
    if changes:
        raise changed_error(store, changes)


def changed_error(store: RunStore, changes: Changes, remedy: str | None = None) -> KingyoError:
    """Return the error that names all differences, and how to continue."""
    before, now = _as_text(changes, "; ")
    command = f"kingyo resume {shlex.quote(str(store.folder))}"
    return KingyoError(
        ", ".join(changes),
        expected=f"what the run's scores were made with: {before}",
        received=now,
        remedy=remedy
        or f"Run `{command} --rescore` to score everything again (old scores are kept in "
        f"{free_archive_name(store.folder)}), or `{command} --accept-changes` to continue with mixed scores "
        "(show, report and card say so).",
    )


def _as_text(changes: Changes, joint: str) -> tuple[str, str]:
    """Return the old and the new versions as text."""
    before, now = (
        joint.join(f"{name} {pair[n] or 'none'}" for name, pair in changes.items()) for n in (0, 1)
    )
    return before, now


def free_archive_name(folder: Path) -> str:
    """Return the file name for the next copy of the database before a rescore."""
    stem, suffix = Path(DATABASE).stem, Path(DATABASE).suffix
    names = (f"{stem}-before-{n}{suffix}" for n in count(1))
    return next(name for name in names if not (folder / name).exists())


def other_versions(store: RunStore, action: str) -> str | None:
    """Return a sentence on versions that differ from those of the scores, or None.

    Args:
        store: the run.
        action: past participle, such as "exported".
    """
    before, now = _as_text(version_differences(store) if has_scores(store) else {}, ", ")
    return f"{action.capitalize()} with {now}; scored with {before}." if now else None


def require_same_or_store(
    store: RunStore, config: RunConfig, folder: Path, libraries: Sequence[str] = ()
) -> None:
    """Check as ``require_same``; before the first score store the differences instead.

    The version of a library that the run did not use before is stored at any time.
    """
    require_same(store, config, folder)
    if not has_scores(store):
        store_provenance(store, provenance_facts(config, folder, stored_code(store), libraries))
        return
    before = cast("dict[str, str]", store.fact(VERSIONS) or {})
    now = current_versions(config, folder, libraries)
    if new := {name: value for name, value in now.items() if name not in before}:
        store.set_fact(VERSIONS, {**before, **new})


def store_provenance(store: RunStore, facts: Mapping[str, object]) -> None:
    """Store facts if they are new."""
    if any(store.fact(key) != value for key, value in facts.items()):
        store.reopen(facts, {})
