"""The stored config of a run, and checks that its models are unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from kingyo.checkpoints import fingerprints_of, is_as_stamped
from kingyo.errors import KingyoError
from kingyo.run.config import RunConfig, parse_config
from kingyo.run.run_models import RunModels
from kingyo.store import RunStore

MODELS, STAMPS = "models", "model_stamps"
"""Facts: reference -> fingerprint; reference -> stamps of the files when it was computed."""


def as_fact(config: RunConfig) -> dict[str, object]:
    """Return a run.yaml as a run stores it: without defaults."""
    return config.model_dump(mode="json", by_alias=True, exclude_unset=True)


def stored_config(store: RunStore) -> tuple[RunConfig, Path]:
    """Return the config of a run, and the folder that its paths are relative to.

    Raises:
        KingyoError: the run was stopped before it was set up.
    """
    data, folder = store.fact("config"), store.fact("folder")
    if not isinstance(data, dict) or not isinstance(folder, str):
        raise KingyoError(
            str(store.folder),
            expected="a run that was set up completely",
            received="one that was stopped before its first step",
            remedy="Delete the folder and start again with `kingyo evolve`.",
        )
    return parse_config(cast(dict[str, object], data), str(store.folder)), _current_folder(
        store, Path(folder)
    )


def _current_folder(store: RunStore, folder: Path) -> Path:
    """Return the base of relative paths: the stored folder, or its place relative to a moved run."""
    relative = store.fact("folder_from_run")
    if not folder.is_dir() and isinstance(relative, str):
        moved = (store.folder / relative).resolve()
        return moved if moved.is_dir() else folder
    return folder


def require_same_models(store: RunStore, models: RunModels) -> None:
    """Check that models are the same as when a run began; files with unchanged stamps are not read.

    Raises:
        KingyoError: a model has changed.
    """
    before, stamps = _by_reference(store.fact(MODELS)), _by_reference(store.fact(STAMPS))
    to_read = [
        model
        for name, model in models.by_reference.items()
        if name in before and not is_as_stamped(model, stamps.get(name))
    ]
    for name, fingerprint in fingerprints_of(to_read).items():
        if fingerprint != before[name]:
            raise KingyoError(
                f"model {name}",
                expected="the weights, config and tokenizer that the run began with",
                received=f"other ones in {models.by_reference[name].path}",
                remedy="Restore the old files, or start a new run.",
            )


def _by_reference(fact: object) -> Mapping[str, object]:
    return cast("dict[str, object]", fact) if isinstance(fact, dict) else {}
