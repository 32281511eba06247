"""Kinds of models: how live models are loaded, what they can do, and what a run checks before it loads them.

There is one module per kind. This one has the protocol and the registry: it finds the kind of a model, checks
what it can do, and calls it. Plug-ins use the entry point group ``kingyo.model_kinds``; a user's own kind is
an instance named as ``path/to/file.py:NAME``. Kinds import slow libraries, such as torch, in their methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

from kingyo.core.io.lazy_torch import Tensor
from kingyo.core.types import Example, Item
from kingyo.errors import KingyoError, crashes_as_errors
from kingyo.merging.recipe import Hop
from kingyo.registry import Registry

T = TypeVar("T")
Config = Mapping[str, object]
"""A checkpoint's config.json, or the ``model_index.json`` of a pipeline of diffusers."""
Options = Mapping[str, object]
"""The options of a task by their YAML keys, with defaults."""


def architectures(config: Config) -> list[str]:
    """Return the class names of transformers in a config; invalid ones are left out."""
    named = config.get("architectures")
    return [str(each) for each in cast("list[object]", named)] if isinstance(named, list) else []


def most_new(options: Options) -> int:
    """Return the maximum number of tokens in an answer; 0 for a task without this option."""
    return cast(int, options.get("max_new_tokens", 0))


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is loaded.

    Attributes:
        dtype: float32, float16 or bfloat16; None keeps the saved dtype.
        batch_size: number of items in a batch.
        remote_code: let transformers run Python files from the model's folder.
        allow_pickle: read weights that exist only as pickles. Code in a pickle is never run.
        scratch: folder for files that live as long as the model; None writes no files.
    """

    dtype: str | None = None
    device: str = "cpu"
    batch_size: int = 64
    remote_code: bool = False
    allow_pickle: bool = False
    scratch: Path | None = None


class Question(NamedTuple):
    """A call of a live model's method by a task, such as ``generate(prompts, max_new_tokens=8)``.

    ``inputs`` is the first argument: prompts, pairs of prompt and continuation, images, …
    """

    method: str
    inputs: Sequence[Any]
    options: Mapping[str, Any]

    @property
    def has_continuations(self) -> bool:
        return self.method.startswith("log_likelihood")

    @property
    def prompts(self) -> list[Any]:
        return [each[0] for each in self.inputs] if self.has_continuations else list(self.inputs)


def errors_of(check: Callable[[T], object], inputs: Iterable[T]) -> Iterator[KingyoError]:
    """Yield the KingyoError of each input for which a check raises one."""
    for each in inputs:
        try:
            check(each)
        except KingyoError as error:
            yield error


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The work of a live model in a run; ``n_bytes`` is the bytes per value of its widest dtype."""

    items: Sequence[Item]
    options: Sequence[Options]
    batch_size: int
    n_bytes: int


@dataclass(frozen=True, kw_only=True)
class BatchMemory:
    """Memory of a full batch on the device, without the weights."""

    bytes: int | None  # None if unknown
    what: str  # what takes it, such as ``keys and values of a full batch``
    record: Mapping[str, object] = field(default_factory=dict[str, object])  # further data for ``--json``


@dataclass(frozen=True, kw_only=True)
class CardPart:
    """A kind's part of a model card."""

    pipeline_tag: str  # the Hub's name, like ``library``
    auto_class: str  # the class of ``library`` that loads the model
    # how models are scored, such as ``greedy decoding with the prompts``; the card adds "of TASK"
    scored: str
    library: str = "transformers"


@dataclass(frozen=True, kw_only=True)
class Start:
    """The model that training starts from; ``adapter`` is the folder of a LoRA to train further."""

    path: Path
    adapter: Path | None = None
    device: str = "cpu"
    allow_pickle: bool = False


def training_dtype(device: str) -> str:
    return "float32" if device == "cpu" else "bfloat16"  # slow on CPUs


@dataclass(frozen=True, kw_only=True)
class Course:
    """Hyperparameters of training a LoRA."""

    steps: int  # number of updates, 1 or more
    learning_rate: float  # the maximum; the rate rises to it in the first tenth of the steps, then falls to 0
    batch_size: int = 8
    seed: int = 0  # of the adapter's initial weights and of the order of the examples
    progress: Callable[[int], None] = lambda _: None  # called with the number of finished steps after each


class Live(Protocol):
    """A loaded model with the members that its kind provides.

    Candidates overwrite its ``weights`` in place. A model without them has ``load_weights`` instead, see
    ``LoadsWeights``.
    """

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The live tensors by their names in the checkpoint, each once; none requires a gradient."""
        ...

    @property
    def dtype(self) -> str:
        """The dtype of the computation, such as ``float32``."""
        ...


@runtime_checkable
class LoadsWeights(Protocol):
    """A loaded model that copies its weights from tensors, such as one of another backend."""

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take new weights: every tensor of the checkpoint, with its name there. Keep none of the tensors."""
        ...


@runtime_checkable
class ModelKind(Protocol):
    """A kind of model."""

    @property
    def name(self) -> str: ...

    @property
    def provides(self) -> Sequence[type]:
        """Protocols that its live models implement, such as ``kingyo.core.types.GeneratesText``."""
        ...

    @property
    def libraries(self) -> Sequence[str]:
        """Distributions that its answers depend on, such as ``transformers`` and ``pillow``.

        torch, numpy and safetensors are implied. A run stores their versions and resumes only with the same.
        """
        ...

    @property
    def card(self) -> CardPart: ...

    def takes(self, config: Config, pipeline: Config) -> bool:
        """Return whether a checkpoint is of this kind, by its config.json.

        ``pipeline`` is the ``model_index.json`` of the diffusers pipeline around it; empty without one.
        """
        ...

    def load(self, path: Path, options: LoadOptions) -> Live:
        """Build a live model from a checkpoint's folder."""
        ...

    def validate(self, path: Path, questions: Sequence[Question]) -> Iterable[KingyoError]:
        """Yield what is wrong with inputs of questions that tasks will ask, without loading weights.

        A run calls it with the questions about all items before it starts.
        """
        ...

    def memory(self, path: Path, config: Config, load: Workload) -> BatchMemory | None:
        """Estimate the memory of a batch without the weights; None if unknown.

        ``path`` is the folder of a model with the shapes of the candidates, ``config`` its config.json.
        """
        ...

    def usage(self, example: Item, options: Options) -> str:
        """Return Python code that loads a model from the current folder and answers an item."""
        ...


@runtime_checkable
class HasPreprocessor(ModelKind, Protocol):
    """A kind of model with a part that needs no weights, such as a tokenizer."""

    def preprocessor(self, path: Path) -> Any:
        """Return what live models have without weights, such as ``chat_prompt``, ``classes`` and ``fits``.

        A method ``shown``, if it has one, returns a prompt as models read it.
        """
        ...


@runtime_checkable
class InPipeline(ModelKind, Protocol):
    """A kind of model that is a component of a diffusers pipeline and needs its other components."""

    @property
    def around(self) -> Sequence[str]:
        """Patterns of the folders beside a component that a live model needs, such as ``text_encoder*``.

        A run downloads them from the Hub, and resumes only with the same.
        """
        ...

    def pipeline_files(self, path: Path, options: Sequence[Options]) -> Mapping[str, str]:
        """Return the files of an exported pipeline that differ from those around a component, by name.

        ``options`` are those of each task, which may change the pipeline, such as its scheduler.
        """
        ...


@runtime_checkable
class HasLanguagePart(ModelKind, Protocol):
    """A kind of model with a language part, into which models of other kinds can be merged.

    If it also ``PassesLayers``, it also gets live models of those kinds, for their layers.
    """

    @property
    def language_kinds(self) -> Sequence[str]: ...


class PassableModels(Protocol):
    """Live models whose layers can run in any order."""

    def follow(self, path: Sequence[Hop], frame: str) -> Any:
        """Return the model named ``frame`` with the layers of a path."""
        ...

    def whole(self, name: str) -> Any: ...


@runtime_checkable
class PassesLayers(ModelKind, Protocol):
    """A kind of model whose layers can run in any order."""

    def path_models(self, live: Mapping[str, Any]) -> PassableModels:
        """Return the models, by name, for use in paths."""
        ...


@runtime_checkable
class TrainsLora(ModelKind, Protocol):
    """A kind of model that can train a LoRA on items."""

    def train_lora(
        self, start: Start, examples: Sequence[Example], course: Course, out: Path | None = None
    ) -> list[float]:
        """Train a LoRA, write it to ``out``, and return the seconds of each step."""
        ...


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
    for kind in ordered:
        if call_kind(kind, "takes", lambda kind=kind: bool(kind.takes(config, pipeline))):
            return kind
    return None


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
    taken = {each.name: each.language_kinds for each in by_name.values() if isinstance(each, HasLanguagePart)}
    hosts = [each for each in by_name.values() if set(by_name) <= {each.name, *taken.get(each.name, ())}]
    if not hosts:
        groups = [
            f"{each} ({', '.join(m for m, kind in kinds.items() if kind.name == each)})" for each in by_name
        ]
        raise KingyoError("models", "models of one kind", " and ".join(groups), "Use models of one kind.")
    return hosts[0]


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
