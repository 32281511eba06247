"""Versions and hashes of the code that scores: libraries, kingyo, and the user's own files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.errors import KingyoError
from kingyo.models.kinds import distribution_of
from kingyo.registry import is_in_file
from kingyo.run.config import RunConfig
from kingyo.user_code.files import hash_own, in_place, libraries_behind, loaded_below, root_of
from kingyo.user_code.versions import digest, scoring_versions

if TYPE_CHECKING:
    from kingyo.run.run import Run

VERSIONS, CODE = "versions", "code"
"""Facts of a run: name -> version, and path of a user's file -> hash."""


def libraries_of(run: Run) -> tuple[str, ...]:
    """Return the distributions that the kind of model depends on, and the plug-in that provides it."""
    plugin = distribution_of(run.kind)
    return (*run.kind.libraries, *(() if plugin is None else (plugin,)))


def provenance_facts(
    config: RunConfig, folder: Path, known: Iterable[str] = (), libraries: Sequence[str] = ()
) -> dict[str, object]:
    """Return the facts about the code of this process.

    Args:
        config: config of the run; the code that it names is loaded.
        folder: start of its relative paths.
        known: further files of the user, if they still exist.
        libraries: see ``libraries_of``.

    Raises:
        KingyoError: a data file that the user's code names does not exist.
    """
    named = [folder / file for file, _ in _own_files(config)]
    loaded = (path for root in {root_of(file, folder) for file in named} for path in loaded_below(root))
    existing = [name for name in known if (folder / name).is_file()]
    code = user_code(config, folder, [*existing, *(_name(path, folder) for path in loaded)])
    missing = [file for file, value in code.items() if not value and folder / file not in named]
    if missing:
        raise KingyoError(
            ", ".join(missing),
            expected="a data file, which the run's own code names",
            received=f"no file {folder / missing[0]}",
            remedy="Put it there, or delete it from FILES.",
        )
    return {VERSIONS: current_versions(config, folder, libraries), CODE: code}


def current_versions(config: RunConfig, folder: Path, libraries: Sequence[str]) -> dict[str, str]:
    """Return the versions of kingyo and of all libraries that scores of a run depend on."""
    graders = [name for spec in config.specs.values() for name, _ in spec.graders]
    kinds = [spec.kind for spec in config.specs.values() if spec.kind is not None]
    extras = [*libraries, *(["peft"] if config.controls.trained else [])]
    extras += ["lingua-language-detector"] if "language" in graders else []
    own = {folder / file for file, _ in _own_files(config)}
    extras += sorted({name for file in own for name in libraries_behind(file, root_of(file, folder))})
    return scoring_versions(extras, [*graders, *kinds, *config.merge.methods])


def user_code(config: RunConfig, folder: Path, known: Iterable[str] = ()) -> dict[str, str]:
    """Hash the files of the user that a run.yaml names, and the files that they import or name.

    Args:
        config: the run.yaml.
        folder: start of its relative paths.
        known: further files.
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
    }
    return dict(sorted(code.items()))


def _own_files(config: RunConfig) -> list[tuple[str, object]]:
    """Return the files of graders, kinds, methods and strategies in a run.yaml, with their settings."""
    specs = config.specs.values()
    searches = (config.search, config.hybrid.search)
    objects: list[tuple[object, object]] = [
        *(pair for spec in specs for pair in spec.graders),
        *((spec.kind, spec.options) for spec in specs),
        (config.kind, None),
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
