"""What a kind of model is: its protocol, what else a kind may do, and the data that go in and out.

It imports no torch, and registers nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from kingyo.late import Tensor
from kingyo.recipe import Hop
from kingyo.types import Example, Item

if TYPE_CHECKING:
    from kingyo.models.training import Course, Start

Config = Mapping[str, object]
"""A checkpoint's config.json, or the ``model_index.json`` of a pipeline of diffusers."""
Options = Mapping[str, object]
"""What the user said of a task, by the keys of task files, with defaults."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is loaded.

    Attributes:
        dtype: float32, float16 or bfloat16; as saved when None.
        device: where it lives, such as ``cpu`` or ``cuda:0``.
        batch_size: how many items it answers at once.
        remote_code: whether Python files of the checkpoint may run. Only ever on the user's word.
        allow_pickle: whether weights that are there only as pickles are read, by
            ``torch.load(weights_only=True)``. Only ever on the user's word.
    """

    dtype: str | None = None
    device: str = "cpu"
    batch_size: int = 64
    remote_code: bool = False
    allow_pickle: bool = False


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a run asks of a live model.

    Attributes:
        items: of all splits.
        options: of each task.
        batch_size: how many items are answered at once.
        n_bytes: of one number of its widest weights.
    """

    items: Sequence[Item]
    options: Sequence[Options]
    batch_size: int
    n_bytes: int


@dataclass(frozen=True, kw_only=True)
class BatchMemory:
    """What a full batch takes on the device beside the weights.

    Attributes:
        bytes: how much; None where it is not known.
        what: what for, such as ``keys and values of a full batch``.
        record: more of it, for programs.
    """

    bytes: int | None
    what: str
    record: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, kw_only=True)
class CardPart:
    """What the card of any model of a kind says.

    Attributes:
        pipeline_tag: the Hub's word for what it does.
        auto_class: the class of ``library`` that loads it.
        scored: how it is scored, before "of TASK", such as ``greedy decoding with the prompts``.
        library: the Hub's name of the library that loads it.
    """

    pipeline_tag: str
    auto_class: str
    scored: str
    library: str = "transformers"


class Live(Protocol):
    """A live model: it does what its kind provides, and its weights may be overwritten while it lives."""

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The live tensors by their names in the checkpoint, each once; none requires a gradient."""
        ...

    @property
    def dtype(self) -> str:
        """What it computes in, such as ``float32``."""
        ...


class AllRead(Exception):  # noqa: N818 (nothing is wrong)
    """Raised by a reader that has read what it was asked: a live model could answer it."""


@runtime_checkable
class ModelKind(Protocol):
    """A kind of model."""

    @property
    def name(self) -> str:
        """Unique among kinds."""
        ...

    @property
    def provides(self) -> Sequence[type]:
        """What its live models do: protocols such as ``kingyo.types.GeneratesText``."""
        ...

    @property
    def libraries(self) -> Sequence[str]:
        """Installed distributions that its answers depend on, beside torch, numpy and safetensors.

        Such as ``transformers`` and ``pillow``. A run stores their versions, and goes on with no others.
        """
        ...

    @property
    def card(self) -> CardPart:
        """Its part of a model card."""
        ...

    def takes(self, config: Config, pipeline: Config) -> bool:
        """Return whether a checkpoint is of this kind.

        Args:
            config: its config.json.
            pipeline: the ``model_index.json`` of the pipeline of diffusers that it is a component of; empty
                where it is of none.
        """
        ...

    def load(self, path: Path, options: LoadOptions) -> Live:
        """Build a live model from a checkpoint's folder.

        Raises:
            KingyoError: the folder is no complete checkpoint, or the device is not here.
        """
        ...

    def reader(self, path: Path) -> Any:
        """Return a stand-in for a live model, made without weights; None if there is none.

        Before a run begins, tasks score it on all items. It has the methods of a live model. Each of those
        that answer reads what it is asked, and raises AllRead if a live model could answer it, or a
        KingyoError if not. So a bad test item is found at once, and not after hours of search.
        """
        ...

    def memory(self, path: Path, config: Config, load: Workload) -> BatchMemory | None:
        """Estimate what a batch takes, without weights; None where nothing is known.

        Args:
            path: folder of a model like the candidates.
            config: its config.json.
            load: what it is asked.

        Raises:
            KingyoError: an item that it cannot answer.
        """
        ...

    def usage(self, example: Item, options: Options) -> str:
        """Return Python code that loads a model from its own folder and answers an item.

        Args:
            example: an item of a task that it was scored on.
            options: of that task.
        """
        ...


@runtime_checkable
class InPipeline(ModelKind, Protocol):
    """A kind of model that is a component of a pipeline of diffusers, and needs others of it."""

    @property
    def around(self) -> Sequence[str]:
        """The folders of the pipeline that a live model needs, such as ``text_encoder*`` and ``vae``.

        They lie beside the folder that ``load`` gets. Those on the Hub are fetched, and a run goes on with no
        others.
        """
        ...


class PassableModels(Protocol):
    """Live models whose layers can be passed through in any order."""

    def follow(self, path: Sequence[Hop], frame: str) -> Any:
        """Return the frame, a model by name, with these layers in place of its own."""
        ...

    def whole(self, name: str) -> Any:
        """Return a model by name, with its own layers."""
        ...


@runtime_checkable
class PassesLayers(ModelKind, Protocol):
    """A kind of model whose layers can be passed through in any order."""

    def path_models(self, live: Mapping[str, Any]) -> PassableModels:
        """Return models of this kind, by name, as parts of paths.

        Raises:
            KingyoError: their layers cannot follow one another.
        """
        ...


class Streams(Protocol):
    """What enters the layers of models, and what leaves the last, on the same prompts."""

    @property
    def n_layers(self) -> Mapping[str, int]:
        """Name -> how many layers a model has."""
        ...

    def __call__(self, prompts: Sequence[Any]) -> Iterator[Tensor]:
        """Yield batches [places, tokens, width] in float64; a model has a place more than layers."""
        ...


@runtime_checkable
class ShowsStreams(ModelKind, Protocol):
    """A kind of model that shows what passes through its layers.

    Its ``reader`` keeps what it was asked, in order, as ``prompts``.
    """

    def streams(self, live: Mapping[str, Any], frame: str) -> Streams:
        """Return the streams of models of this kind, by name; the frame reads the prompts.

        Raises:
            KingyoError: a model has no list of layers.
        """
        ...


@runtime_checkable
class TrainsLora(ModelKind, Protocol):
    """A kind of model that can be trained on items."""

    def train_lora(
        self, start: Start, examples: Sequence[Example], course: Course, out: Path | None = None
    ) -> list[float]:
        """Train a LoRA, write it to ``out``, and return the seconds of each step.

        Raises:
            KingyoError: a library is missing, an example does not fit, or the loss is no number.
        """
        ...


ABILITIES: tuple[type, ...] = (InPipeline, PassesLayers, ShowsStreams, TrainsLora)
"""What else a kind may do."""
