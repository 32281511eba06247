"""Kinds of models: what a live model can do, how it is loaded, what a run must know of it beforehand.

One file per kind. The package registers its own; plug-ins use the entry-point group ``kingyo.model_kinds``; a
user's file is named as ``path/to/file.py:NAME``, an instance. A kind imports inside its methods what takes
seconds to import, such as torch. It knows nothing of tasks, recipes or merging.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Generic, Protocol, TypeVar, cast

from kingyo.errors import KingyoError, crash
from kingyo.models.kinds.kind import (
    ABILITIES,
    AllRead,
    BatchMemory,
    CardPart,
    Config,
    InPipeline,
    Live,
    LoadOptions,
    ModelKind,
    Options,
    PassableModels,
    PassesLayers,
    ShowsStreams,
    Streams,
    TrainsLora,
    Workload,
)
from kingyo.registry import Registry

__all__ = [
    "ABILITIES",
    "DEFAULT",
    "MODEL_KINDS",
    "NO_PIPELINE",
    "AllRead",
    "BatchMemory",
    "CardPart",
    "Config",
    "InPipeline",
    "Live",
    "LoadOptions",
    "ModelKind",
    "Options",
    "PassableModels",
    "PassesLayers",
    "ShowsStreams",
    "Streams",
    "TrainsLora",
    "Workload",
    "called",
    "common_kind",
    "described",
    "distribution_of",
    "kind_of",
    "known_kind",
    "load_live",
    "members",
    "require_ability",
    "require_needs",
]

T = TypeVar("T")

NO_PIPELINE: Config = MappingProxyType({})
"""What is around a model that is no component of a pipeline."""
NO_PIPELINES: Mapping[str, Config] = MappingProxyType({})
"""Of models none of which is."""
DEFAULT = "causal-lm"
"""The kind of a model that no kind takes and that may be one: its loader says what is wrong with it."""
_FIX = "Fix the kind; kingyo.testing.kinds holds its contract."


def _check(name: str, found: object) -> None:
    """Refuse what is no kind of model, from a plug-in or a file of the user's own."""
    if not isinstance(found, ModelKind) or isinstance(found, type):
        received = f"the class {found.__name__}" if isinstance(found, type) else repr(found)[:120]
        raise _broken(name, "an instance with the parts of kingyo.models.kinds.ModelKind", received)
    provides: object = found.provides
    sound = {
        "name": isinstance(cast(object, found.name), str),
        "provides": isinstance(provides, tuple | list)
        and all(isinstance(each, type) for each in cast("list[object]", provides)),
        "card": isinstance(cast(object, found.card), CardPart),
    }
    for part in (part for part, is_sound in sound.items() if not is_sound):
        kinds = "a text as name, classes as provides, a CardPart as card"
        raise _broken(name, kinds, f"{part} = {getattr(found, part)!r:.80}")


MODEL_KINDS: Registry[ModelKind] = Registry(
    "kind of model", "kingyo.models.kinds", "kingyo.model_kinds", _check
)
"""Every kind of model by name."""


def kind_of(
    config: Config, name: str | None = None, folder: Path | None = None, pipeline: Config = NO_PIPELINE
) -> ModelKind:
    """Return the kind of a model; of one that no kind takes, the default kind.

    Args:
        config: its config.json.
        name: a registered name, or ``path/to/file.py:NAME``; it wins.
        folder: where a relative file is looked up; the working directory when None.
        pipeline: see ``ModelKind.takes``.

    Raises:
        KingyoError: an unknown name, a kind of somebody's own that fails, or a model of diffusers or
            transformers that no kind takes and that is no language model.
    """
    if name is not None:
        return MODEL_KINDS.get(name, folder)
    return known_kind(config, pipeline) or _default(config)


def _default(config: Config) -> ModelKind:
    """The kind of a model that no kind takes: a language model, unless it is known to be none."""
    kind = MODEL_KINDS.get(DEFAULT)
    from kingyo.models.kinds.causal_lm import may_load

    if "_class_name" not in config and may_load(config):
        return kind
    what = f"{config.get('_class_name') or config['model_type']}"
    raise KingyoError(
        "model",
        expected=f"one of a kind that can be run: {', '.join(MODEL_KINDS.names())}",
        received=f"{what} of {'diffusers' if '_class_name' in config else 'transformers'}",
        remedy="Install a plug-in for it (docs/kinds.md), or merge it by a recipe: kingyo merge.",
    )


def known_kind(config: Config, pipeline: Config = NO_PIPELINE) -> ModelKind | None:
    """Return the first kind that takes a model, those of the package before plug-ins; None without one."""
    names = sorted(MODEL_KINDS.names(), key=lambda name: not MODEL_KINDS.is_registered(name))
    return next((kind for kind in map(MODEL_KINDS.get, names) if _takes(kind, config, pipeline)), None)


def distribution_of(kind: ModelKind) -> str | None:
    """Return the installed distribution that brings a kind; None for one of the package or in a file."""
    if MODEL_KINDS.is_registered(kind.name):
        return None
    return MODEL_KINDS.distribution(kind)


def _takes(kind: ModelKind, config: Config, pipeline: Config) -> bool:
    return called(kind, "takes", lambda: bool(kind.takes(config, pipeline)))


def called(kind: ModelKind, name: str, call: Callable[[], T], returns: type | UnionType | None = None) -> T:
    """Return what a call of a kind returns; a crash of one outside of the package becomes a clear error.

    Args:
        kind: whose method it is.
        name: of the method.
        call: calls it.
        returns: what it must return, such as ``str``; None: anything.

    Raises:
        KingyoError: of the kind, as it is; or with the crash, its file and line; or with what it returned.
    """
    try:
        found = call()
    except KingyoError:
        raise
    except (Exception, SystemExit) as error:
        if MODEL_KINDS.is_registered(kind.name):
            raise
        raise _broken(kind.name, f"a call of {name} that succeeds", crash(error)) from error
    if returns is not None and not isinstance(found, returns):
        wanted = returns.__name__ if isinstance(returns, type) else str(returns)
        raise _broken(kind.name, f"{name} to return {wanted}", f"{found!r:.80}")
    return found


def load_live(kind: ModelKind, path: Path, options: LoadOptions) -> Live:
    """Load a live model, and check that it is one.

    Raises:
        KingyoError: see ``ModelKind.load``; or it lacks a part of what its kind provides.
    """
    live = called(kind, "load", lambda: kind.load(path, options))
    promised = {"dtype", "weights"}.union(*map(members, kind.provides))
    missing = sorted(name for name in promised if not hasattr(live, name))
    if missing:
        raise _broken(kind.name, f"a live model with {', '.join(missing)}", repr(live)[:120])
    return live


def _broken(name: str, expected: str, received: str) -> KingyoError:
    return KingyoError(f"kind of model {name}", expected=expected, received=received, remedy=_FIX)


def common_kind(
    configs: Mapping[str, Config],
    name: str | None = None,
    folder: Path | None = None,
    pipelines: Mapping[str, Config] = NO_PIPELINES,
) -> ModelKind:
    """Return the kind of several models.

    Args:
        configs: the config.json of each, by what the user calls it.
        name, folder: as of ``kind_of``.
        pipelines: the index of the pipeline of each that is a component of one; see ``ModelKind.takes``.

    Raises:
        KingyoError: they are of different kinds, or other kinds take them and the named one does not; or as
            ``kind_of`` raises.
    """
    kinds: dict[str, ModelKind] = {}
    for model, config in configs.items():
        try:
            kinds[model] = kind_of(config, name, folder, pipelines.get(model, NO_PIPELINE))
        except KingyoError as error:
            raise error if name is not None else error.placed(model) from error
    found = {kind.name: kind for kind in kinds.values()}
    if len(found) > 1:
        told = [
            f"{each} ({', '.join(m for m, kind in kinds.items() if kind.name == each)})" for each in found
        ]
        raise KingyoError(
            "models",
            expected="models of one kind",
            received=" and ".join(told),
            remedy="Name models of one kind: weights of others do not fit together.",
        )
    kind = next(iter(found.values()))
    if name is not None:
        _require_taken(configs, kind, pipelines)
    return kind


def _require_taken(configs: Mapping[str, Config], kind: ModelKind, pipelines: Mapping[str, Config]) -> None:
    """Refuse a kind for models that are of others; of those that no kind takes the user may say it."""
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
            remedy="Leave the kind out: what config.json says then counts. Or name models of this kind.",
        )


def require_needs(what: str, needs: type, kind: ModelKind) -> None:
    """Refuse a kind of model that cannot do what it will be asked.

    Args:
        what: who asks, such as ``task digits``.
        needs: a protocol whose docstring begins as "A model that writes text." does.
        kind: of the models.

    Raises:
        KingyoError: its live models lack a method.
    """
    has = {name for each in kind.provides for name in members(each)}
    if not members(needs) <= has:
        raise _unable(what, needs, kind, "Name models of another kind, or ask for something else.")


def require_ability(what: str, ability: type[T], kind: ModelKind, remedy: str) -> T:
    """Return a kind of model as one with an ability, such as ``PassesLayers``.

    Args:
        what: who asks, such as ``space: dataflow``.
        ability: the protocol; its docstring begins with what it is.
        kind: of the models.
        remedy: what to do without.

    Raises:
        KingyoError: the kind lacks it.
    """
    if not isinstance(kind, ability):
        raise _unable(what, ability, kind, remedy)
    return kind


def members(protocol: type) -> set[str]:
    """Return the names of the methods and attributes that a protocol asks for."""
    own = [each for each in protocol.__mro__ if each not in (object, Protocol, cast(object, Generic))]
    names = (name for each in own for name in (*vars(each), *vars(each).get("__annotations__", ())))
    return {name for name in names if not name.startswith("_")}


def described(protocol: type) -> str:
    """Return what a protocol stands for: the first line of its docstring, or else its members."""
    first = (protocol.__doc__ or "").strip().split("\n", 1)[0].rstrip(".")
    return first[:1].lower() + first[1:] or f"a model with {', '.join(sorted(members(protocol)))}"


def _unable(what: str, wanted: type, kind: ModelKind, remedy: str) -> KingyoError:
    received = f"models of kind {kind.name}"
    return KingyoError(what, expected=described(wanted), received=received, remedy=remedy)
