"""What the scores of a run were made with: the user's own files, kingyo's code, the versions of libraries.

A run stores it as it begins, in the facts ``versions`` and ``code``. Scores of different versions do not go
into one run unless the user says so: ``accept_changes`` says it, and ``score_again`` begins anew.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kingyo.errors import KingyoError
from kingyo.evolution import RACED, finalists_fact
from kingyo.evolution.set_measures import FACT as SET_VALUES
from kingyo.evolution.verdict import FACT as VERDICT
from kingyo.models.kinds import distribution_of
from kingyo.registry import is_in_file
from kingyo.run.config import TRAINED, RunConfig
from kingyo.run.extensions import FACT as EXTENSIONS
from kingyo.run.extensions import as_initial_budget
from kingyo.store import DATABASE, RunStore
from kingyo.user_code.files import hash_own, in_place, libraries_behind, loaded_below, root_of
from kingyo.user_code.versions import KINGYO, digest, scoring_versions, version_now

if TYPE_CHECKING:
    from kingyo.run.run import Run

VERSIONS, CODE = "versions", "code"
ACCEPTED, RESCORED = "accepted_changes", "rescored"
Changes = Mapping[str, tuple[str | None, str | None]]
"""What changed -> what it was, and what it is now; None: nothing."""


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """One time that a run went on, or began again, with other code or versions than it had scores of.

    Attributes:
        when: in seconds since 1970.
        changes: what differed.
        archive: the file beside the database that holds all that was scored before; None where the run went
            on with these scores.
        test_was_read: whether anything had been scored on test before it began again.
    """

    when: float
    changes: Changes = field(default_factory=dict[str, tuple[str | None, str | None]])
    archive: str | None = None
    test_was_read: bool = False

    def __str__(self) -> str:
        """Say in a sentence what scores were made with."""
        pairs = self.changes.items()
        said = "; ".join(f"{name} {old or 'none'}, then {new or 'none'}" for name, (old, new) in pairs)
        date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.when))
        if self.archive is None:
            return f"The scores of this run were made with different versions: {said}. Accepted on {date}."
        test = ", and test had been read by then" if self.test_was_read else ""
        return (
            f"Everything was scored again on {date} ({said or 'with the same versions'}); the scores before "
            f"are in {self.archive}{test}."
        )


def renewals(store: RunStore) -> tuple[Renewal, ...]:
    """Return the times that a run was scored again, then those that changes were accepted; oldest first."""
    stored = [each for key in (RESCORED, ACCEPTED) for each in cast("list[object]", store.fact(key) or [])]
    return tuple(Renewal(**cast("dict[str, object]", each)) for each in stored)  # type: ignore[arg-type]


def libraries_of(run: Run) -> tuple[str, ...]:
    """Return the distributions that its run.yaml does not tell and the scores of a run depend on.

    Those are the ones that the kind of its models names, and the plug-in that brings it.
    """
    plugin = distribution_of(run.kind)
    return (*run.kind.libraries, *(() if plugin is None else (plugin,)))


def provenance_facts(
    config: RunConfig, folder: Path, known: Iterable[str] = (), libraries: Sequence[str] = ()
) -> dict[str, object]:
    """Return the facts that say what scores are made with from now on.

    Args:
        config: of the run; what it names is loaded.
        folder: where its relative paths start.
        known: files of the user's that count, too, where they are still there.
        libraries: that the run uses beside those that its run.yaml tells; see ``libraries_of``.

    Raises:
        KingyoError: a data file that the user's code names is not there.
    """
    named = [folder / file for file, _ in _own_files(config)]
    loaded = (path for root in {root_of(file, folder) for file in named} for path in loaded_below(root))
    still = [name for name in known if (folder / name).is_file()]
    code = user_code(config, folder, [*still, *(_name(path, folder) for path in loaded)])
    gone = [file for file, value in code.items() if not value and folder / file not in named]
    if gone:
        raise KingyoError(
            ", ".join(gone),
            expected="a data file, which the run's own code names",
            received=f"no file {folder / gone[0]}",
            remedy="Put it there, or take it out of FILES.",
        )
    return {VERSIONS: _versions(config, folder, libraries), CODE: code}


def _versions(config: RunConfig, folder: Path, libraries: Sequence[str]) -> dict[str, str]:
    graders = [name for spec in config.specs.values() for name, _ in spec.graders]
    kinds = [spec.kind for spec in config.specs.values() if spec.kind is not None]
    extras = [*libraries, *(["peft"] if config.controls.trained else [])]
    extras += ["lingua-language-detector"] if "language" in graders else []
    own = {folder / file for file, _ in _own_files(config)}
    extras += sorted({name for file in own for name in libraries_behind(file, root_of(file, folder))})
    return scoring_versions(extras, [*graders, *kinds, *config.merge.methods])


def user_code(config: RunConfig, folder: Path, known: Iterable[str] = ()) -> dict[str, str]:
    """Hash the files of the user's own: those that a run.yaml names, and what they import and name.

    Args:
        config: the run.yaml.
        folder: where its relative paths start.
        known: files that count, too.
    """
    own = _own_files(config)
    found = {
        path: value for file, said in own for path, value in hash_own(folder / file, said, folder).items()
    }
    places = {file: in_place(folder / file) for file, _ in own}
    others = {path: value for path, value in found.items() if path not in places.values()}
    code = {
        **{name: digest(folder / name) for name in known if in_place(folder / name) not in found},
        **{_name(path, folder): value for path, value in others.items()},
        **{file: found[place] for file, place in places.items()},
    }
    return dict(sorted(code.items()))


def _own_files(config: RunConfig) -> list[tuple[str, object]]:
    """The files of graders, kinds, methods and strategies that a run.yaml names, with settings."""
    specs = config.specs.values()
    searches = (config.search, config.hybrid.search)
    named: list[tuple[object, object]] = [
        *(pair for spec in specs for pair in spec.graders),
        *((spec.kind, spec.options) for spec in specs),
        (config.kind, None),
        *((method, None) for method in config.merge.methods),
        *((each.strategy, each.settings) for each in searches),
        *((each.settings.get("strategy"), each.settings.get("settings")) for each in searches),
    ]
    return [
        (name.rpartition(":")[0], settings)
        for name, settings in named
        if isinstance(name, str) and is_in_file(name)
    ]


def _name(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder.resolve())


def differences_if_scored(store: RunStore, config: RunConfig, folder: Path) -> Changes:
    """Return in what today's code and versions differ from those that a run's scores were made with.

    Nothing where it has no scores.
    """
    return differences(store, config, folder) if has_scores(store) else {}


def differences(store: RunStore, config: RunConfig, folder: Path) -> Changes:
    """Return in what the code and versions of this process differ from those that a run stores."""
    return {**version_differences(store), **_code_differences(store, config, folder)}


def has_scores(store: RunStore) -> bool:
    """Say whether a run has scores of its own, or copies of another run's."""
    return store.item_evaluations() > 0 or store.copied_scores() > 0


def version_differences(store: RunStore) -> Changes:
    """Return the versions that differ from those that a run stores."""
    stored = cast("dict[str, str]", store.fact(VERSIONS) or {})
    return {name: (old, new) for name, old in stored.items() if (new := version_now(name)) != old}


def _code_differences(store: RunStore, config: RunConfig, folder: Path) -> Changes:
    before = _files_before(store)
    return changed_files(before, user_code(config, folder, before))


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """Return the files whose hashes differ; a file that is in one mapping alone differs, too."""
    pairs = {file: (before.get(file), now.get(file)) for file in {**before, **now}}
    return {
        file: (_short(old), _short(new))
        for file, (old, new) in sorted(pairs.items())
        if (old or "") != (new or "")
    }


def _short(value: str | None) -> str | None:
    return f"sha256 {value[:8]}" if value else None


def require_same(store: RunStore, config: RunConfig, folder: Path) -> None:
    """Check that a run's scores were made with the code and versions of today, if it has any.

    Raises:
        KingyoError: something differs: what is scored now may score otherwise.
    """
    _refuse(store, differences_if_scored(store, config, folder))


def require_same_code(store: RunStore, config: RunConfig, folder: Path) -> None:
    """Check that the files of the user's own are those that a run's scores were made with, if it has any.

    Raises:
        KingyoError: one has changed: what it scores or merges now may be something else.
    """
    _refuse(store, _code_differences(store, config, folder) if has_scores(store) else {})


def _refuse(store: RunStore, changed: Changes) -> None:
    if changed:
        raise changed_error(store, changed)


def changed_error(store: RunStore, changed: Changes, remedy: str | None = None) -> KingyoError:
    """Return the error that names everything that differs, and both ways to go on, or another remedy."""
    before, now = _said(changed, "; ")
    command = f"kingyo resume {shlex.quote(str(store.folder))}"
    again = f"Run `{command} --rescore` to score everything again (old scores are kept in "
    return KingyoError(
        ", ".join(changed),
        expected=f"what the run's scores were made with: {before}",
        received=now,
        remedy=remedy
        or f"{again}{_free_name(store.folder)}), or `{command} --accept-changes` to go on with mixed scores "
        "(show, report and card say so).",
    )


def _said(changed: Changes, joint: str) -> tuple[str, str]:
    """What it was, and what it is now."""
    before, now = (
        joint.join(f"{name} {pair[n] or 'none'}" for name, pair in changed.items()) for n in (0, 1)
    )
    return before, now


def other_versions(store: RunStore, done: str) -> str | None:
    """Say which versions here differ from those that a run was scored with; None where none does.

    Args:
        store: the run.
        done: what is done here, such as "exported".
    """
    before, now = _said(version_differences(store) if has_scores(store) else {}, ", ")
    return f"{done.capitalize()} with {now}; scored with {before}." if now else None


def require_same_or_store(
    store: RunStore, config: RunConfig, folder: Path, libraries: Sequence[str] = ()
) -> None:
    """Check as ``require_same``; but before the first score store what differs.

    The version of a library that the run did not use before is stored at any time.
    """
    require_same(store, config, folder)
    before = cast("dict[str, str]", store.fact(VERSIONS) or {})
    if not has_scores(store):
        _store(store, provenance_facts(config, folder, _files_before(store), libraries))
        return
    now = _versions(config, folder, libraries)
    if more := {name: value for name, value in now.items() if name not in before}:
        store.set_fact(VERSIONS, {**before, **more})


def _files_before(store: RunStore) -> Mapping[str, str]:
    """The files of the user's that a run stores, with their hashes."""
    return cast("dict[str, str]", store.fact(CODE) or {})


def _store(store: RunStore, facts: Mapping[str, object]) -> None:
    """Store facts if they are new, and forget what the run has measured of models by other code."""
    if any(store.fact(key) != value for key, value in facts.items()):
        delete_facts_cache(store)
        store.reopen(facts, {})


def accept_changes(
    store: RunStore, config: RunConfig, folder: Path, libraries: Sequence[str] = ()
) -> Renewal | None:
    """Let a run go on with today's code and versions beside the scores that it has, and write that into it.

    ``libraries`` are those of ``libraries_of``.

    Returns:
        What was accepted; None where nothing differs.

    Raises:
        KingyoError: see ``provenance_facts``; nothing is changed then.
    """
    changed = differences_if_scored(store, config, folder)
    if not changed:
        return None
    facts = provenance_facts(config, folder, _files_before(store), libraries)
    renewal = Renewal(when=time.time(), changes=changed)
    before = cast("list[object]", store.fact(ACCEPTED) or [])
    _store(store, {**facts, ACCEPTED: [*before, asdict(renewal)]})
    return renewal


def score_again(store: RunStore, config: RunConfig, folder: Path, libraries: Sequence[str] = ()) -> Renewal:
    """Let a run begin again from its first ask, with its items, budget and controls; its log is kept beside.

    Whatever happens meanwhile, the run is as it was or has begun again. ``libraries`` are those of
    ``libraries_of``.

    Raises:
        KingyoError: see ``provenance_facts``; nothing is changed then.
    """
    facts = provenance_facts(config, folder, _files_before(store), libraries)
    archive = _free_name(store.folder)
    renewal = Renewal(
        when=time.time(),
        changes=differences_if_scored(store, config, folder),
        archive=archive,
        test_was_read=bool(store.summaries("test")),
    )
    before = cast("list[object]", store.fact(RESCORED) or [])
    found = (
        RACED,
        TRAINED,
        ACCEPTED,
        SET_VALUES,
        VERDICT,
        *(finalists_fact(name) for name in store.searches()),
    )
    delete_facts_cache(store)
    store.begin_again(
        store.folder / archive,
        facts={
            **facts,
            "version": version_now(KINGYO),
            "status": "running",
            EXTENSIONS: as_initial_budget(store),
            RESCORED: [*before, asdict(renewal)],
        },
        forgotten=found,
    )
    return renewal


def _free_name(folder: Path) -> str:
    stem, suffix = Path(DATABASE).stem, Path(DATABASE).suffix
    names = (f"{stem}-before-{n}{suffix}" for n in count(1))
    return next(name for name in names if not (folder / name).exists())


def facts_cache(run: Path) -> Path:
    """Return the file of a run folder that keeps measures of its models: a cache."""
    return run / "facts.sqlite"


def delete_facts_cache(store: RunStore) -> None:
    """Delete what the run has measured of its models: other code may measure otherwise."""
    facts_cache(store.folder).unlink(missing_ok=True)
