"""Choose the kind of a model from its config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from kingyo.errors import KingyoError
from kingyo.models.kinds.causal_lm import may_load
from kingyo.models.kinds.kind import Config, ModelKind
from kingyo.models.kinds.registry import DEFAULT, MODEL_KINDS, called

NO_PIPELINE: Config = MappingProxyType({})
"""The pipeline of a model that is not a component of one."""
NO_PIPELINES: Mapping[str, Config] = MappingProxyType({})
"""The pipelines of models that are not components of one."""


def kind_of(
    config: Config, name: str | None = None, folder: Path | None = None, pipeline: Config = NO_PIPELINE
) -> ModelKind:
    """Return the kind of a model, or the default kind if no kind takes it.

    Args:
        config: its config.json.
        name: a registered name or ``path/to/file.py:NAME``, which overrides the config.
        folder: base of a relative file; None means the working directory.
        pipeline: see ``ModelKind.takes``.

    Raises:
        KingyoError: an unknown name, a failure in a user's kind, or a known model of diffusers or
            transformers that no kind takes and that is not a language model.
    """
    if name is not None:
        return MODEL_KINDS.get(name, folder)
    return known_kind(config, pipeline) or _default(config)


def _default(config: Config) -> ModelKind:
    """Return the default kind, unless the model is known not to be a language model."""
    kind = MODEL_KINDS.get(DEFAULT)
    if "_class_name" not in config and may_load(config):
        return kind
    model = f"{config.get('_class_name') or config['model_type']}"
    raise KingyoError(
        "model",
        expected=f"a model of one of the kinds {', '.join(MODEL_KINDS.names())}",
        received=f"{model} of {'diffusers' if '_class_name' in config else 'transformers'}",
        remedy="Install a plug-in for it (docs/kinds.md), or merge it with a recipe (kingyo merge).",
    )


def known_kind(config: Config, pipeline: Config = NO_PIPELINE) -> ModelKind | None:
    """Return the first kind that takes a model, built-in kinds before plug-ins, or None."""
    names = sorted(MODEL_KINDS.names(), key=lambda name: not MODEL_KINDS.is_registered(name))
    return next((kind for kind in map(MODEL_KINDS.get, names) if _takes(kind, config, pipeline)), None)


def _takes(kind: ModelKind, config: Config, pipeline: Config) -> bool:
    return called(kind, "takes", lambda: bool(kind.takes(config, pipeline)))


def common_kind(
    configs: Mapping[str, Config],
    name: str | None = None,
    folder: Path | None = None,
    pipelines: Mapping[str, Config] = NO_PIPELINES,
) -> ModelKind:
    """Return the kind of several models.

    Args:
        configs: the config.json of each model, by the user's name for it.
        name, folder: see ``kind_of``.
        pipelines: the pipeline of each model that is a component of one; see ``ModelKind.takes``.

    Raises:
        KingyoError: the models are of different kinds, the named kind does not take a model that another kind
            takes, or see ``kind_of``.
    """
    kinds: dict[str, ModelKind] = {}
    for model, config in configs.items():
        try:
            kinds[model] = kind_of(config, name, folder, pipelines.get(model, NO_PIPELINE))
        except KingyoError as error:
            raise error if name is not None else error.placed(model) from error
    by_name = {kind.name: kind for kind in kinds.values()}
    if len(by_name) > 1:
        groups = [
            f"{each} ({', '.join(m for m, kind in kinds.items() if kind.name == each)})" for each in by_name
        ]
        raise KingyoError(
            "models",
            expected="models of one kind",
            received=" and ".join(groups),
            remedy="Use models of one kind.",
        )
    kind = next(iter(by_name.values()))
    if name is not None:
        _require_taken(configs, kind, pipelines)
    return kind


def _require_taken(configs: Mapping[str, Config], kind: ModelKind, pipelines: Mapping[str, Config]) -> None:
    """Check that no other kind takes a model that the named kind does not take."""
    others = {
        model: other.name
        for model, config in configs.items()
        for around in (pipelines.get(model, NO_PIPELINE),)
        if not _takes(kind, config, around) and (other := known_kind(config, around)) is not None
    }
    if others:
        raise KingyoError(
            f"kind: {kind.name}",
            expected="models that this kind takes",
            received=", ".join(f"{model} of kind {other}" for model, other in others.items()),
            remedy="Remove the kind, so that config.json decides, or use models of this kind.",
        )
