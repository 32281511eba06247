"""The protocol of a kind of model, its optional abilities and its data types; importing it loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

from kingyo.core.io.lazy_torch import Tensor
from kingyo.core.types import Example, Item
from kingyo.errors import KingyoError
from kingyo.merging.recipe import Hop

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
