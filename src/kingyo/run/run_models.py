"""The models that a run.yaml names, opened: headers of checkpoints, and no weight."""

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
    """The opened checkpoints of a run. Keys are the names in the run.yaml; ``base`` may be None."""

    base: Checkpoint | None
    sources: Mapping[str, Checkpoint]

    @property
    def skeleton(self) -> Checkpoint:
        """The model that gives config, tokenizer and the live model's shape."""
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
        """All of them, as recipes name them."""
        every = [*self.sources.values(), *([self.base] if self.base else [])]
        return {each.reference: each for each in every}


def same_sources(models: RunModels, identity: Mapping[str, object]) -> list[list[str]]:
    """Return the names of sources that are one and the same model, such as ``[["a", "again"]]``.

    Args:
        models: base and sources.
        identity: reference -> what is equal for equal models, such as their fingerprint.
    """
    found: dict[object, list[str]] = {}
    for name, reference in models.references.items():
        found.setdefault(identity[reference], []).append(name)
    return [names for names in found.values() if len(names) > 1]


def open_models(config: RunConfig, folder: Path, *, fetch: bool = True) -> RunModels:
    """Open base and sources; nothing is read but headers, and without ``fetch`` nothing else is fetched.

    Candidates are loaded as the skeleton is. If that is a component of a pipeline, so are the other folders
    that its kind needs, which belong to it then.
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
    whole = opened(skeleton.reference, around=around)
    if models.base is not None:
        return replace(models, base=whole)
    return replace(
        models, sources={name: whole if each is skeleton else each for name, each in models.sources.items()}
    )
