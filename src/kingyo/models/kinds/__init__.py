"""Kinds of models: how live models are loaded, what they can do, and what a run checks before it loads them.

There is one module per kind. This one has their registry: it finds the kind of a model, checks what it can
do, and calls it. Plug-ins use the entry point group ``kingyo.model_kinds``; a user's own kind is an instance
named as ``path/to/file.py:NAME``. Kinds import slow libraries, such as torch, in their methods.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Generic, Protocol, TypeVar, cast

from kingyo.errors import KingyoError, crashes_as_errors
from kingyo.models.kinds.kind import BatchMemory as BatchMemory
from kingyo.models.kinds.kind import CardPart as CardPart
from kingyo.models.kinds.kind import Config as Config
from kingyo.models.kinds.kind import Course as Course
from kingyo.models.kinds.kind import HasLanguagePart as HasLanguagePart
from kingyo.models.kinds.kind import HasPreprocessor as HasPreprocessor
from kingyo.models.kinds.kind import InPipeline as InPipeline
from kingyo.models.kinds.kind import Live as Live
from kingyo.models.kinds.kind import LoadOptions as LoadOptions
from kingyo.models.kinds.kind import LoadsWeights as LoadsWeights
from kingyo.models.kinds.kind import ModelKind as ModelKind
from kingyo.models.kinds.kind import Options as Options
from kingyo.models.kinds.kind import PassableModels as PassableModels
from kingyo.models.kinds.kind import PassesLayers as PassesLayers
from kingyo.models.kinds.kind import Question as Question
from kingyo.models.kinds.kind import Start as Start
from kingyo.models.kinds.kind import TrainsLora as TrainsLora
from kingyo.models.kinds.kind import Workload as Workload
from kingyo.models.kinds.kind import errors_of as errors_of
from kingyo.registry import Registry

T = TypeVar("T")

DEFAULT = "causal-lm"
"""The kind of a model that no kind takes but that may be a language model; loading it reports any problem."""
NO_PIPELINE: Config = MappingProxyType({})
"""The pipeline of a model that is not a component of one."""
ABILITIES: tuple[type, ...] = (HasLanguagePart, InPipeline, PassesLayers, TrainsLora)
"""The optional abilities of a kind."""
_FIX = "Fix the kind; kingyo.testing.kinds has tests of the contract."


def _check(name: str, candidate: object) -> None:
    if not isinstance(candidate, ModelKind) or isinstance(candidate, type):
        received = f"the class {candidate.__name__}" if isinstance(candidate, type) else repr(candidate)[:120]
        raise _broken(name, "an instance with the members of kingyo.models.kinds.ModelKind", received)
    provides: object = candidate.provides
    has_classes = isinstance(provides, tuple | list) and all(
        isinstance(each, type) for each in cast("list[object]", provides)
    )
    is_named = isinstance(cast(object, candidate.name), str)
    if not (has_classes and is_named and isinstance(cast(object, candidate.card), CardPart)):
        received = f"{candidate.name!r:.40}, {provides!r:.80} and {candidate.card!r:.40}"
        raise _broken(name, "a str as name, classes as provides, and a CardPart as card", received)


MODEL_KINDS: Registry[ModelKind] = Registry(
    "kind of model", "kingyo.models.kinds", "kingyo.model_kinds", _check
)
"""Kinds of models by name."""


def distribution_of(kind: ModelKind) -> str | None:
    """Return the installed distribution of a plug-in's kind; None for a built-in kind or one in a file."""
    return None if MODEL_KINDS.is_registered(kind.name) else MODEL_KINDS.distribution(kind)


def call_kind(
    kind: ModelKind, name: str, call: Callable[[], T], returns: type | UnionType | None = None
) -> T:
    """Call a method of a kind; turn a crash of a user's or plug-in's kind into KingyoError."""
    expected = f"a call of {name} that succeeds"
    blames = crashes_as_errors(f"kind of model {kind.name}", expected=expected, remedy=_FIX)
    with nullcontext() if MODEL_KINDS.is_registered(kind.name) else blames:
        value = call()
    if returns is not None and not isinstance(value, returns):
        wanted = returns.__name__ if isinstance(returns, type) else str(returns)
        raise _broken(kind.name, f"{name} to return {wanted}", f"{value!r:.80}")
    return value


def load_live(kind: ModelKind, path: Path, options: LoadOptions) -> Live:
    """Load a live model and check that it has all members that its kind provides."""
    live = call_kind(kind, "load", lambda: kind.load(path, options))
    weights = "load_weights" if hasattr(live, "load_weights") else "weights"
    promised = {"dtype", weights}.union(*map(members, kind.provides))
    missing = sorted(name for name in promised if not hasattr(live, name))
    if missing:
        raise _broken(kind.name, f"a live model with {', '.join(missing)}", repr(live)[:120])
    return live


def kind_of(
    config: Config, name: str | None = None, folder: Path | None = None, pipeline: Config = NO_PIPELINE
) -> ModelKind:
    """Return the kind of a model, or the default kind if no kind takes it."""
    if name is not None:
        return MODEL_KINDS.get(name, folder)
    return known_kind(config, pipeline) or _default(config)


def _default(config: Config) -> ModelKind:
    kind = MODEL_KINDS.get(DEFAULT)
    if "_class_name" not in config and _may_load(config):
        return kind
    model = f"{config.get('_class_name') or config['model_type']}"
    expected = f"a model of one of the kinds {', '.join(MODEL_KINDS.names())}"
    received = f"{model} of {'diffusers' if '_class_name' in config else 'transformers'}"
    remedy = "Install a plug-in for it (docs/kinds.md), or merge it with a recipe (kingyo merge)."
    raise KingyoError("model", expected, received, remedy)


def _may_load(config: Config) -> bool:
    """Return whether AutoModelForCausalLM may load a model; unknown types and custom code may be anything."""
    named = config.get("model_type")
    if not isinstance(named, str) or "auto_map" in config:
        return True
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return named in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or named not in CONFIG_MAPPING


def kinds_in_order() -> list[ModelKind]:
    names = sorted(MODEL_KINDS.names(), key=lambda name: not MODEL_KINDS.is_registered(name))
    return [MODEL_KINDS.get(name) for name in names]


def known_kind(
    config: Config, pipeline: Config = NO_PIPELINE, kinds: Iterable[ModelKind] | None = None
) -> ModelKind | None:
    """Return the first kind that takes a model, or None; without ``kinds``, of ``kinds_in_order``."""
    ordered = kinds_in_order() if kinds is None else kinds
    return next((kind for kind in ordered if _takes(kind, config, pipeline)), None)


def _takes(kind: ModelKind, config: Config, pipeline: Config) -> bool:
    return call_kind(kind, "takes", lambda: bool(kind.takes(config, pipeline)))


def common_kind(
    configs: Mapping[str, Config],
    name: str | None = None,
    folder: Path | None = None,
    pipelines: Mapping[str, Config] | None = None,
) -> ModelKind:
    """Return the kind of several models; models of one may be merged into the language part of another."""
    kinds: dict[str, ModelKind] = {}
    for model, config in configs.items():
        try:
            kinds[model] = kind_of(config, name, folder, (pipelines or {}).get(model, NO_PIPELINE))
        except KingyoError as error:
            raise error if name is not None else error.placed(model) from error
    by_name = {kind.name: kind for kind in kinds.values()}
    hosts = [each for each in by_name.values() if set(by_name) <= {each.name, *_language_kinds(each)}]
    if not hosts:
        groups = [
            f"{each} ({', '.join(m for m, kind in kinds.items() if kind.name == each)})" for each in by_name
        ]
        raise KingyoError("models", "models of one kind", " and ".join(groups), "Use models of one kind.")
    return hosts[0]


def _language_kinds(kind: ModelKind) -> Sequence[str]:
    return kind.language_kinds if isinstance(kind, HasLanguagePart) else ()


def require_needs(what: str, needs: type, kind: ModelKind) -> None:
    has = {name for each in kind.provides for name in members(each)}
    if not members(needs) <= has:
        raise _unable(what, needs, kind, "Use models of another kind, or another kind of task.")


def require_ability(what: str, ability: type[T], kind: ModelKind, remedy: str) -> T:
    """Return a kind of model after checking that it has an ability, such as ``PassesLayers``."""
    if not isinstance(kind, ability):
        raise _unable(what, ability, kind, remedy)
    return kind


def members(protocol: type) -> set[str]:
    own = [each for each in protocol.__mro__ if each not in (object, Protocol, cast(object, Generic))]
    names = (name for each in own for name in (*vars(each), *vars(each).get("__annotations__", ())))
    return {name for name in names if not name.startswith("_")}


def described(protocol: type) -> str:
    """Return a noun phrase for a protocol: the first line of its docstring, or else its members."""
    first = (protocol.__doc__ or "").strip().split("\n", 1)[0].rstrip(".")
    return first[:1].lower() + first[1:] or f"a model with {', '.join(sorted(members(protocol)))}"


def _unable(what: str, wanted: type, kind: ModelKind, remedy: str) -> KingyoError:
    return KingyoError(what, described(wanted), f"models of kind {kind.name}", remedy)


def _broken(name: str, expected: str, received: str) -> KingyoError:
    return KingyoError(f"kind of model {name}", expected, received, _FIX)
