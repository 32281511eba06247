"""What live models can do: protocols that kinds of models provide and kinds of tasks need."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

from kingyo.core.types.data import Example, Media

if TYPE_CHECKING:
    from torch import Tensor


class Written(NamedTuple):
    """Generated text. ``is_cut`` means that it was cut off at the token limit."""

    text: str
    is_cut: bool


class Answered(NamedTuple):
    """The progress of a model through the prompts of a call or the items of a task."""

    done: int  # number with a complete answer
    timed: int  # number in complete batches, whose time shows how long the others take
    total: int  # number of all


Progress = Callable[[Answered], None]


def ignore_progress(_: Answered) -> None:
    """Ignore the progress."""


@runtime_checkable
class ReportsProgress(Protocol):
    """A live model that calls ``progress`` while it answers the prompts of a call."""

    progress: Progress


@runtime_checkable
class GeneratesText(Protocol):
    """A model that writes text."""

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Continue each prompt greedily; the texts end before the first stop string, without the prompt."""
        ...

    def chat_prompt(self, message: str) -> str:
        """Wrap a user's message in the model's chat template, up to where the answer begins."""
        ...


@runtime_checkable
class RatesText(Protocol):
    """A model that rates how likely a text is."""

    def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return log p(continuation | prompt) in nats, summed over the continuation's tokens."""
        ...

    def chat_prompt(self, message: str) -> str:
        """Wrap a user's message in the model's chat template, up to where the answer begins."""
        ...


@runtime_checkable
class RatesClasses(Protocol):
    """A model that classifies images, or other media."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in the order of the model's output."""
        ...

    def rate_classes(self, media: Sequence[Media], /) -> Sequence[Sequence[float]]:
        """Return a score per class for each image, such as its log-probability; higher is more likely."""
        ...


@runtime_checkable
class LanguageModel(GeneratesText, RatesText, Protocol):
    """A model that writes text and rates how likely a text is."""


@runtime_checkable
class CutAware(GeneratesText, Protocol):
    """A model that knows which of its answers were cut off."""

    def write(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Written]:
        """Continue each prompt like ``generate``, and mark texts that were cut off."""
        ...


TakeGradient: TypeAlias = "Callable[[str, Tensor], None]"
"""Takes the name of a weight and the derivatives of a loss by it."""


@runtime_checkable
class HasGradients(Protocol):
    """A live model with a loss that can be differentiated."""

    def loss_gradients(
        self, examples: Sequence[Example], names: Collection[str], take: TakeGradient
    ) -> float:
        """Return the loss of examples; pass its derivatives by named ``weights``, to ``take``.

        A weight may be passed several times: the sum is its derivative.
        """
        ...


@runtime_checkable
class HasRoom(Protocol):
    """A model, or what reads its prompts, whose context has a limit."""

    def fits(self, example: Example) -> bool:
        """Return whether an example, with each of its answers, fits into the context."""
        ...


class Decoding(NamedTuple):
    """Decoding without sampling: greedy, or beam search."""

    num_beams: int = 1  # number of continuations that are kept; 1 is greedy
    # divides positive logits of tokens that occurred before, and multiplies negative ones (Keskar et al.
    # 2019); 1 is none.
    repetition_penalty: float = 1.0


GREEDY = Decoding()


class ImagePrompt(NamedTuple):
    """A prompt with images; its text marks their places as the model's processor defines."""

    text: str
    images: tuple[Media, ...] = ()


@runtime_checkable
class AnswersImages(Protocol):
    """A model that writes text about images, and rates how likely a text about them is."""

    def image_prompt(self, message: str, images: Sequence[Media], *, chat: bool) -> ImagePrompt:
        """Return a prompt that shows images before a user's message; ``chat`` applies the chat template."""
        ...

    def write_about(
        self,
        prompts: Sequence[ImagePrompt],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        decoding: Decoding = GREEDY,
    ) -> list[Written]:
        """Continue each prompt; the texts end before the first stop string, without the prompt."""
        ...

    def log_likelihood_about(self, pairs: Sequence[tuple[ImagePrompt, str]]) -> list[float]:
        """Return log p(continuation | prompt) in nats, summed over the continuation's tokens."""
        ...


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How a model draws.

    Attributes:
        steps: number of denoising steps.
        guidance_scale: weight of the prompt in classifier-free guidance (Ho & Salimans 2022); 1 or less is
            no guidance. Models with distilled guidance take it as an input. None is the pipeline's default.
        negative_prompt: what guidance leads away from; empty for nothing.
        height, width: in pixels; None is the size that the model was trained for.
        scheduler: settings of the scheduler that differ from the pipeline's; ``class`` is one of diffusers.
        arguments: further arguments of the pipeline's call, such as ``max_sequence_length``.
        truncate: whether a prompt may be longer than the text encoders read.
    """

    steps: int = 20
    guidance_scale: float | None = None
    negative_prompt: str = ""
    height: int | None = None
    width: int | None = None
    scheduler: Mapping[str, object] = field(default_factory=dict[str, object])
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])
    truncate: bool = False


class DrawingPrompt(NamedTuple):
    """A prompt, and the seed of its initial noise."""

    text: str
    seed: int


@runtime_checkable
class DrawsImages(Protocol):
    """A model that draws an image for each prompt and seed."""

    def draw(self, prompts: Sequence[DrawingPrompt], drawing: Drawing) -> Sequence[Media]:
        """Return a PNG for each prompt; the same prompts in the same batches give the same pixels."""
        ...
