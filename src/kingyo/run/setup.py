"""A resolved run.yaml with its opened models: the input of spaces and searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kingyo.models.kinds import ModelKind
from kingyo.run.config import RunConfig
from kingyo.run.model_kind import kind_of_models
from kingyo.run.run_models import RunModels
from kingyo.run.settings import RunSettings

KnownPaths = Mapping[str, Sequence[str]]
"""File of a recipe -> the layers of its path, such as ``ja.0``; stored as JSON."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A resolved run.yaml and its models.

    Attributes:
        config: the run.yaml.
        folder: start of its relative paths.
        settings: with those of presets.
        models: opened; only their headers were read.
        known_paths: the paths of ``dataflow.known``.
    """

    config: RunConfig
    folder: Path
    settings: RunSettings
    models: RunModels
    known_paths: KnownPaths = field(default_factory=dict[str, Sequence[str]])

    @cached_property
    def kind(self) -> ModelKind:
        """Kind of all models."""
        return kind_of_models(self.models.named, self.config.kind, self.folder)
