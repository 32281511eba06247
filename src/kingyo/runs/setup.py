"""The setup of a run: its stored config, its opened models (headers, not weights), and its items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

from kingyo.core.io.lazy_torch import torch
from kingyo.core.types import Item, Split, Task
from kingyo.core.user_code.versions import CODE, KINGYO
from kingyo.errors import KingyoError, unknown_name_error
from kingyo.merging.checkpoints import Checkpoint, fingerprints_of, is_as_stamped, open_checkpoint
from kingyo.merging.checkpoints.locate import open_together
from kingyo.models.kinds import HasLanguagePart, ModelKind, known_kind
from kingyo.runs.config import RunConfig, parse_config
from kingyo.runs.model_kind import kind_of_models, needed_around
from kingyo.runs.settings import RunSettings
from kingyo.store import Fact, RunStore
from kingyo.tasks import LoadedSplits, build_tasks, load_splits


@dataclass(frozen=True, kw_only=True)
class RunModels:
    """The opened checkpoints of a run by their names in run.yaml; ``framing`` is that of ``frame``."""

    base: Checkpoint | None
    sources: Mapping[str, Checkpoint]
    frame: str | None = None
    framing: Checkpoint | None = None
    random_sources: Mapping[str, Checkpoint] = field(default_factory=dict[str, Checkpoint])

    @property
    def skeleton(self) -> Checkpoint:
        """The model that gives config, tokenizer and the shape of the live model."""
        return self.framing or self.base or next(iter(self.sources.values()))

    @property
    def references(self) -> dict[str, str]:
        return {name: checkpoint.reference for name, checkpoint in self.sources.items()}

    @property
    def named(self) -> dict[str, Checkpoint]:
        return {**({} if self.base is None else {"base": self.base}), **self.sources}

    @property
    def by_reference(self) -> dict[str, Checkpoint]:
        models = [*self.sources.values(), *self.random_sources.values(), *([self.base] if self.base else [])]
        return {model.reference: model for model in models}


def open_models(config: RunConfig, folder: Path, *, fetch: bool = True) -> RunModels:
    """Open base and sources.

    If the skeleton is a component of a pipeline, it also gets the other folders that its kind needs.
    """
    others = config.controls.random_sources
    references = [*([] if config.base is None else [config.base]), *config.sources.values(), *others.values()]
    opened = open_together(
        references, folder, fetch=fetch, allow_pickle=config.allow_pickle, templates=references[:1]
    )
    models = RunModels(
        base=None if config.base is None else opened[config.base],
        sources={name: opened[reference] for name, reference in config.sources.items()},
        random_sources={name: opened[reference] for name, reference in others.items()},
    )
    frame = _frame(config, models)
    models = replace(models, frame=frame, framing=None if frame is None else models.named[frame])
    skeleton = models.skeleton
    around = needed_around(skeleton, partial(kind_of_models, models.named, config.kind, folder))
    if not around:
        return models
    component = open_checkpoint(
        skeleton.reference,
        folder,
        fetch=fetch,
        allow_pickle=config.allow_pickle,
        around=around,
        among=opened.values(),
    )
    models = replace(models, framing=None if frame is None else component)
    if models.base is not None:
        return replace(models, base=component)
    sources = {name: component if model is skeleton else model for name, model in models.sources.items()}
    return replace(models, sources=sources)


def _frame(config: RunConfig, models: RunModels) -> str | None:
    """Return the name of the frame: the one in run.yaml, or the first model with a language part.

    The frame of paths is one of the sources.
    """
    name = config.merge.frame
    if name is not None and name not in models.named:
        raise unknown_name_error("merge.frame", name, models.named)
    if name is not None:
        return name
    among = models.sources if config.space == "dataflow" else models.named
    kinds = {name: known_kind(model.config) for name, model in among.items()}
    framing = [name for name, kind in kinds.items() if isinstance(kind, HasLanguagePart)]
    own = config.dataflow.frame
    return own if own in framing else next(iter(framing), None)


MODELS = Fact("models", dict[str, str], {})
"""Reference of a model -> its fingerprint."""
STAMPS = Fact("model_stamps", dict[str, object], {})
"""Reference of a model -> the stamps of its files when the fingerprint was computed."""
THREADS = Fact("threads", int)
"""Threads of torch in each process, as sums may depend on them."""


def as_fact(config: RunConfig) -> dict[str, object]:
    return config.model_dump(mode="json", by_alias=True, exclude_unset=True)


def stored_config(store: RunStore) -> tuple[RunConfig, Path]:
    """Return the config of a run, and the folder that its paths are relative to."""
    data, folder = store.fact("config"), store.fact("folder")
    if not isinstance(data, dict) or not isinstance(folder, str):
        expected = "a run that was set up completely"
        remedy = "Delete the folder and start again with `kingyo evolve`."
        raise KingyoError(str(store.folder), expected, "one that was stopped before its first step", remedy)
    try:
        config = parse_config(_known_keys(cast(dict[str, Any], data)), str(store.folder))
    except KingyoError as error:  # stored settings were valid once
        versions = cast(dict[str, str], store.fact("versions") or {})
        remedy = f"Use the kingyo that wrote it: {versions.get(KINGYO)}, code {versions.get(CODE)}."
        raise KingyoError(str(store.folder), "settings of this version", str(error), remedy) from error
    relative = store.fact("folder_from_run")
    if not Path(folder).is_dir() and isinstance(relative, str):  # the run may have moved with it
        moved = (store.folder / relative).resolve()
        return config, moved if moved.is_dir() else Path(folder)
    return config, Path(folder)


def _known_keys(data: dict[str, Any]) -> dict[str, Any]:
    """Return stored settings without keys of earlier checkouts that a begun run no longer needs."""
    known = {key: value for key, value in data.items() if key != "scout"}
    paths: dict[str, Any] = known.get("dataflow") or {}
    tasks: dict[str, dict[str, Any]] = {"": known.get("task") or {}, **(known.get("tasks") or {})}
    for gone in ("known", "max_size"):
        paths.pop(gone, None)
    for task in tasks.values():
        splits: dict[str, Any] = task.get("splits") or {}
        splits.pop("similar", None)
    return known


def use_threads(store: RunStore) -> None:
    threads = store.fact(THREADS)
    if threads is not None:
        torch.set_num_threads(threads)


def known_fingerprints(store: RunStore, models: RunModels) -> dict[str, str]:
    """Return the stored fingerprints of the models whose files have the stored stamps."""
    known, stamps = store.fact(MODELS), store.fact(STAMPS)
    return {
        name: known[name]
        for name, model in models.by_reference.items()
        if name in known and is_as_stamped(model, stamps.get(name))
    }


def require_same_models(store: RunStore, models: RunModels) -> None:
    """Check that models are the same as when a run began; files with unchanged stamps are not read."""
    before, same = store.fact(MODELS), known_fingerprints(store, models)
    to_read = [model for name, model in models.by_reference.items() if name in before and name not in same]
    for name, fingerprint in fingerprints_of(to_read).items():
        if fingerprint != before[name]:
            expected = "the weights, config and tokenizer that the run began with"
            received = f"other ones in {models.by_reference[name].path}"
            remedy = "Restore the old files, or start a new run."
            raise KingyoError(f"model {name}", expected, received, remedy)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A resolved run.yaml, its opened models and its items, and its database once it has begun."""

    config: RunConfig
    folder: Path
    settings: RunSettings
    models: RunModels
    learns: bool = False
    store: RunStore | None = None

    @property
    def begun(self) -> RunStore:
        assert self.store is not None, "the run has not begun"
        return self.store

    @cached_property
    def kind(self) -> ModelKind:
        return kind_of_models(self.models.named, self.config.kind, self.folder)

    @cached_property
    def data(self) -> LoadedSplits:
        return load_splits(self.config.specs, self.folder)

    @cached_property
    def items(self) -> Mapping[Split, tuple[Item, ...]]:
        return self.data.splits if self.store is None else self.store.items()

    @cached_property
    def task(self) -> Task:
        return build_tasks(self.config.specs, self.items, self.folder)
