"""Open the models of a run.yaml: headers, not weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.run.config import RunConfig
from kingyo.run.model_kind import kind_of_models, needed_around


@dataclass(frozen=True, kw_only=True)
class RunModels:
    """The opened checkpoints of a run by their names in run.yaml."""

    base: Checkpoint | None
    sources: Mapping[str, Checkpoint]

    @property
    def skeleton(self) -> Checkpoint:
        """The model that gives config, tokenizer and the shape of the live model: base or first source."""
        return self.base or next(iter(self.sources.values()))

    @property
    def references(self) -> dict[str, str]:
        """Name of a source -> its reference."""
        return {name: checkpoint.reference for name, checkpoint in self.sources.items()}

    @property
    def named(self) -> dict[str, Checkpoint]:
        """Base and sources by name."""
        return {**({} if self.base is None else {"base": self.base}), **self.sources}

    @property
    def by_reference(self) -> dict[str, Checkpoint]:
        """Base and sources by reference."""
        models = [*self.sources.values(), *([self.base] if self.base else [])]
        return {model.reference: model for model in models}


def same_sources(models: RunModels, identity: Mapping[str, object]) -> list[list[str]]:
    """Return groups of names of sources that are the same model, such as ``[["a", "again"]]``.

    Args:
        models: base and sources.
        identity: reference -> a value that is equal for equal models, such as a fingerprint.
    """
    names_by_model: dict[object, list[str]] = {}
    for name, reference in models.references.items():
        names_by_model.setdefault(identity[reference], []).append(name)
    return [names for names in names_by_model.values() if len(names) > 1]


def open_models(config: RunConfig, folder: Path, *, fetch: bool = True) -> RunModels:
    """Open base and sources.

    If the skeleton is a component of a pipeline, it also gets the other folders that its kind needs.

    Args:
        config: the run.yaml.
        folder: start of its relative paths.
        fetch: whether to download weights from the Hub, or only headers.
    """
    opened = partial(open_checkpoint, folder=folder, fetch=fetch, allow_pickle=config.allow_pickle)
    models = RunModels(
        base=None if config.base is None else opened(config.base),
        sources={name: opened(reference) for name, reference in config.sources.items()},
    )
    skeleton = models.skeleton
    around = needed_around(skeleton, partial(kind_of_models, models.named, config.kind, folder))
    if not around:
        return models
    component = opened(skeleton.reference, around=around)
    if models.base is not None:
        return replace(models, base=component)
    sources = {name: component if model is skeleton else model for name, model in models.sources.items()}
    return replace(models, sources=sources)
