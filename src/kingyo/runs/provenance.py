"""Compare the code and versions that scored a run with those of this process.

A run stores them when it begins. Scores of different versions are mixed only if the user accepts it.
"""

import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from kingyo.core.user_code.files import hash_own, in_place, libraries_behind, loaded_below, root_of
from kingyo.core.user_code.versions import KINGYO, digest, digest_of_path, scoring_versions, version_now
from kingyo.errors import KingyoError
from kingyo.models.kinds import distribution_of
from kingyo.registry import is_in_file
from kingyo.runs.config import TRAININGS, RunConfig
from kingyo.runs.extensions import EXTENSIONS, as_initial_budget, with_asked_controls
from kingyo.runs.learning import FAILURE, NO_LESSON
from kingyo.runs.setup import Setup, stored_config
from kingyo.runs.tune import KEPT
from kingyo.search.evolution import RACED, finalists_fact
from kingyo.search.evolution.set_measures import SET_VALUES, VERDICT
from kingyo.store import DATABASE, Fact, RunStore
from kingyo.store.trial_log import LESSONS, OPENED
from kingyo.tasks.spec import libraries_of as libraries_of_task
from kingyo.tasks.spec import paths_in

VERSIONS = Fact("versions", dict[str, str], {})
"""Name of a library -> its version."""
CODE = Fact("code", dict[str, str], {})
"""Path of a user's file -> its hash."""
Changes = Mapping[str, tuple[str | None, str | None]]
"""Name of a file or library -> its old and new version; None if there is none."""


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """A continuation of a run, or a new beginning, with other code or versions."""

    when: float
    changes: Changes = field(default_factory=dict[str, tuple[str | None, str | None]])
    archive: str | None = None
    test_was_read: bool = False

    def __str__(self) -> str:
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


ACCEPTED = Fact("accepted_changes", tuple[Renewal, ...], ())
RESCORED = Fact("rescored", tuple[Renewal, ...], ())


def libraries_of(run: Setup) -> tuple[str, ...]:
    """Return the distributions that the kind of model depends on, and the plug-in that provides it."""
    plugin = distribution_of(run.kind)
    return (*run.kind.libraries, *(() if plugin is None else (plugin,)))


def provenance_facts(
    config: RunConfig, folder: Path, known: Iterable[str] = (), libraries: Sequence[str] = ()
) -> dict[str, object]:
    named = [folder / file for file, _ in _own_files(config)]
    loaded = (path for root in {root_of(file, folder) for file in named} for path in loaded_below(root))
    existing = [name for name in known if (folder / name).is_file()]
    code = user_code(config, folder, [*existing, *(_name(path, folder) for path in loaded)])
    missing = [file for file, value in code.items() if not value and folder / file not in named]
    if missing:
        expected = "a data file, which the run's own code names"
        remedy = "Put it there, or delete it from FILES."
        raise KingyoError(", ".join(missing), expected, f"no file {folder / missing[0]}", remedy)
    return {VERSIONS: current_versions(config, folder, libraries), CODE: code, OPENED: {}}


def current_versions(config: RunConfig, folder: Path, libraries: Sequence[str]) -> dict[str, str]:
    """Return the versions of kingyo and of all libraries that scores of a run depend on."""
    specs = config.specs.values()
    graders = [name for spec in specs for name, _ in spec.graders]
    kinds = [spec.kind for spec in specs if spec.kind is not None]
    extras = [*libraries, *(["peft"] if config.controls.trained or config.tune is not None else [])]
    extras += [name for spec in specs for name in libraries_of_task(spec, folder)]
    own = {folder / file for file, _ in _own_files(config)}
    extras += sorted({name for file in own for name in libraries_behind(file, root_of(file, folder))})
    return scoring_versions(extras, [*graders, *kinds, *config.merge.methods])


def user_code(config: RunConfig, folder: Path, known: Iterable[str] = ()) -> dict[str, str]:
    """Hash the user's files that scores depend on.

    These are code that a run.yaml names, the files that it imports or names, and those of tasks' graders.
    """
    own = _own_files(config)
    hashes = {
        path: value
        for file, settings in own
        for path, value in hash_own(folder / file, settings, folder).items()
    }
    places = {file: in_place(folder / file) for file, _ in own}
    others = {path: value for path, value in hashes.items() if path not in places.values()}
    code = {
        **{name: digest(folder / name) for name in known if in_place(folder / name) not in hashes},
        **{_name(path, folder): value for path, value in others.items()},
        **{file: hashes[place] for file, place in places.items()},
        **{
            _name(in_place(path), folder): digest_of_path(path)
            for spec in config.specs.values()
            for path in paths_in(spec, folder)
        },
    }
    return dict(sorted(code.items()))


def _own_files(config: RunConfig) -> list[tuple[str, object]]:
    specs = config.specs.values()
    searches = (config.search, config.hybrid.search)
    objects: list[tuple[object, object]] = [
        *(pair for spec in specs for pair in spec.graders),
        *((spec.kind, spec.options) for spec in specs),
        (config.kind, None),
        *((name, None) for name in config.answer_objectives),
        *((method, None) for method in config.merge.methods),
        *((search.strategy, search.settings) for search in searches),
        *((search.settings.get("strategy"), search.settings.get("settings")) for search in searches),
    ]
    return [
        (name.rpartition(":")[0], settings)
        for name, settings in objects
        if isinstance(name, str) and is_in_file(name)
    ]


def _name(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder.resolve())


def _config(store: RunStore) -> tuple[RunConfig, Path]:
    config, folder = stored_config(store)
    return with_asked_controls(config, store), folder


def has_scores(store: RunStore) -> bool:
    """Return whether a run has scores, including copies from another run."""
    return store.item_evaluations() > 0 or store.copied_scores() > 0


def differences(store: RunStore) -> Changes:
    """Return the differences between the stored code and versions and those of this process."""
    return {**version_differences(store), **_code_differences(store)}


def version_differences(store: RunStore) -> Changes:
    return {
        name: (old, new) for name, old in store.fact(VERSIONS).items() if (new := version_now(name)) != old
    }


def _code_differences(store: RunStore) -> Changes:
    code, opened = store.fact(CODE), opened_files(store)
    now = user_code(*_config(store), {**opened, **code})
    before = {**{file: value for file, value in opened.items() if file in now}, **code}
    return changed_files(before, now)


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """Return the files whose hashes differ, or that only one mapping has."""
    pairs = {file: (before.get(file), now.get(file)) for file in {**before, **now}}
    changed = {file: pair for file, pair in sorted(pairs.items()) if (pair[0] or "") != (pair[1] or "")}
    short = {value: f"sha256 {value[:8]}" for pair in changed.values() for value in pair if value}
    return {file: (short.get(old or ""), short.get(new or "")) for file, (old, new) in changed.items()}


def opened_files(store: RunStore) -> Mapping[str, str]:
    """Return the stored hashes of the files that graders only read; some are also in ``CODE``."""
    return {file: value for file, value in store.fact(OPENED).items() if value}


def has_changed_opened(store: RunStore) -> bool:
    """Return whether a file that graders of a run have read differs from what they read."""
    folder = Path(str(store.fact("folder")))
    return any(digest(folder / file) != value for file, value in opened_files(store).items())


def require_same(store: RunStore, *, only_code: bool = False) -> None:
    """Refuse other code or versions than those of a run's scores; ``only_code`` ignores versions."""
    changes = _code_differences(store) if only_code else differences(store)
    if changes and has_scores(store):
        raise changed_error(store, changes)


def changed_error(store: RunStore, changes: Changes, remedy: str | None = None) -> KingyoError:
    before, now = _as_text(changes, "; ")
    command = f"kingyo resume {shlex.quote(str(store.folder))}"
    return KingyoError(
        ", ".join(changes),
        f"what the run's scores were made with: {before}",
        now,
        remedy
        or f"Run `{command} --rescore` to score everything again (old scores are kept in "
        f"{free_archive_name(store.folder)}), or `{command} --accept-changes` to continue with mixed scores "
        "(show, report and card say so).",
    )


def _as_text(changes: Changes, joint: str) -> tuple[str, str]:
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
    """Return a sentence on versions that differ from those of the scores, or None."""
    before, now = _as_text(version_differences(store) if has_scores(store) else {}, ", ")
    return f"{action.capitalize()} with {now}; scored with {before}." if now else None


def require_same_or_store(store: RunStore, libraries: Sequence[str] = ()) -> None:
    """Check as ``require_same``; before the first score, and of new libraries, store the versions instead."""
    require_same(store)
    if not has_scores(store):
        facts = _facts_now(store, libraries)
        if any(store.fact(key) != value for key, value in facts.items()):
            store.reopen(facts, {})
        return
    known = store.fact(VERSIONS)
    now = current_versions(*_config(store), libraries)
    if now.keys() - known.keys():
        store.set_fact(VERSIONS, {**now, **known})


def _facts_now(store: RunStore, libraries: Sequence[str]) -> dict[str, object]:
    return provenance_facts(*_config(store), store.fact(CODE), libraries)


def renewals(store: RunStore) -> tuple[Renewal, ...]:
    """Return the rescores of a run, then the accepted changes; oldest first."""
    return (*store.fact(RESCORED), *store.fact(ACCEPTED))


def accept_changes(store: RunStore, libraries: Sequence[str] = ()) -> Renewal | None:
    """Store that a run continues with the code and versions of this process; None if nothing differs."""
    changes, (_, folder) = differences(store), _config(store)
    if not changes or not has_scores(store):
        return None
    opened = {file: digest(folder / file) for file in opened_files(store) if (folder / file).is_file()}
    renewal = Renewal(when=time.time(), changes=changes)
    facts = {OPENED: opened, ACCEPTED: (*store.fact(ACCEPTED), renewal)}
    store.reopen({**_facts_now(store, libraries), **facts}, {})
    return renewal


def score_again(
    store: RunStore, libraries: Sequence[str] = (), before: Mapping[str, object] | None = None
) -> Renewal:
    """Reset a run to its first ask, with its items, budget and controls; its database is copied before.

    ``before`` has facts to restore. If it is interrupted, the run is unchanged or reset completely.
    """
    facts = {**(before or {}), **_facts_now(store, libraries)}
    archive = free_archive_name(store.folder)
    renewal = Renewal(
        when=time.time(),
        changes=differences(store) if has_scores(store) else {},
        archive=archive,
        test_was_read=bool(store.summaries("test")),
    )
    finalists = (finalists_fact(name) for name in store.searches())
    facts |= {
        "version": version_now(KINGYO),
        "status": "running",
        EXTENSIONS: as_initial_budget(store),
        RESCORED: (*store.fact(RESCORED), renewal),
    }
    learned = (LESSONS, NO_LESSON, FAILURE)
    forgotten = (RACED, *TRAININGS, *learned, KEPT, ACCEPTED, SET_VALUES, VERDICT, *finalists)
    store.begin_again(store.folder / archive, facts, forgotten)
    return renewal
