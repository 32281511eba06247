"""Data and protocols shared by all rooms. Larger scores are better, everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from kingyo.errors import ChangedSourceError

Split = Literal["fit", "validation", "test"]
SPLITS: tuple[Split, ...] = ("fit", "validation", "test")

Genome = tuple[float, ...]
"""One number per axis, in the units of the axis; a categorical gene is the index of its choice."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One coordinate of a genome.

    Attributes:
        name: unique within its space, such as ``weight/ja/block.3``.
        low, high: bounds, both inclusive. A binary axis is 0..1, a categorical one 0..len(choices) - 1.
        kind: float genes are continuous; the others are whole numbers.
        choices: the categories of a categorical axis, else empty.
        start: the first point of a search that needs one; None means the middle.
        place: the position in the model of the tensors that the gene affects, from 0 (input) to 1 (output);
            None if it affects all of them.
        family: shared by axes of one quantity at different places of the model, such as the weights of one
            source in each block; empty for an axis on its own.
        neutral: the value without effect, such as weight 0 of a source; None if there is none.
    """

    name: str
    low: float
    high: float
    kind: Literal["float", "int", "binary", "categorical"] = "float"
    choices: tuple[str, ...] = ()
    start: float | None = None
    place: float | None = None
    family: str = ""
    neutral: float | None = None

    @property
    def first(self) -> float:
        """The first point: ``start``, or the middle of the bounds."""
        return (self.low + self.high) / 2 if self.start is None else self.start


MEDIA = "media"
"""Folder of images in a run, and next to exported items."""


@dataclass(frozen=True, kw_only=True)
class Media:
    """An image of an item, or one that a model made. Images with equal hashes are equal.

    Attributes:
        sha256: hash of the file's bytes.
        type: MIME type, such as ``image/png``.
        path: its file, if it has one.
        content: its bytes, if it has no file.
    """

    sha256: str
    type: str
    path: Path | None = field(default=None, compare=False)
    content: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """File name in a run folder."""
        return f"{self.sha256}.{self.type.rpartition('/')[2]}"

    @property
    def place(self) -> str:
        """Its path or, without one, its name; for messages."""
        return str(self.path or self.name)

    def read(self) -> bytes:
        """Return the bytes of its file.

        Raises:
            ChangedSourceError: the file cannot be read, or its hash has changed.
        """
        try:
            content = (self.content or b"") if self.path is None else self.path.read_bytes()
        except OSError as error:
            raise self._changed(str(error.strerror)) from error
        if sha256(content).hexdigest() != self.sha256:
            raise self._changed("bytes with another hash")
        return content

    def _changed(self, received: str) -> ChangedSourceError:
        return ChangedSourceError(
            "media" if self.path is None else str(self.path),
            expected=f"the {self.type.partition('/')[0]} with SHA-256 {self.sha256[:16]}…",
            received=received,
            remedy="Restore the file. A task of your own must give the hash of the file's bytes.",
        )


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a task.

    Attributes:
        id: unique within a run; a kind of task that reads items leaves it empty.
        prompt: the question, after templating.
        fields: the row that the item was read from.
        task: the name of its task if a run has several, else empty.
        media: the images of the question, in order.
    """

    id: str
    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    task: str = ""
    media: tuple[Media, ...] = ()

    @property
    def images(self) -> list[str]:
        """Paths or names of its images, for messages."""
        return [each.place for each in self.media]

    def in_a_line(self) -> str:
        """Return prompt and images in one line, for messages."""
        prompt = [repr(self.prompt)] if self.prompt or not self.media else []
        return " ".join((*prompt, *self.images))


@dataclass(frozen=True, kw_only=True)
class Example:
    """A prompt and the answer that a model should learn.

    Attributes:
        item: the id of the item.
        answer: the continuation to learn, with the text that ends an answer if the task has one.
        others: wrong continuations, which should become less likely than ``answer``; empty for free text.
        per_byte: whether likelihoods of continuations are divided by their lengths in UTF-8 bytes.
    """

    item: str
    prompt: str
    answer: str
    others: tuple[str, ...] = ()
    per_byte: bool = False


class ItemScore(NamedTuple):
    """The score of one model on one item, in [0, 1], with its answer.

    A named tuple rather than a dataclass: a run of ten thousand candidates makes millions of them.

    Attributes:
        item: the id of the item.
        is_cut: whether the answer was cut off at ``max_new_tokens``.
        media: an image as the answer. A run stores those of validation and test, and of baselines on fit.
    """

    item: str
    score: float
    answer: str
    is_cut: bool = False
    media: Media | None = None


class Written(NamedTuple):
    """Generated text. ``is_cut`` means that it was cut off at the token limit."""

    text: str
    is_cut: bool


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One proposal of a strategy. Numbers count from 0 within a search; parents are earlier numbers."""

    number: int
    genome: Genome
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a trial: item scores, or a failure with its reason, never both.

    Attributes:
        value: what a search with one objective maximises, if that is not the mean of ``scores``: an estimate
            for all items if only some were scored, or a mean over several tasks.
        objectives: one number per objective of the run; empty if there is only one.
        is_partial: whether only some items were scored, so that ``value`` and ``objectives`` are estimates.
    """

    trial: Trial
    scores: tuple[ItemScore, ...] = ()
    failure: str | None = None
    value: float | None = None
    objectives: tuple[float, ...] = ()
    is_partial: bool = False

    def __post_init__(self) -> None:
        if bool(self.scores) == (self.failure is not None):
            raise ValueError(
                f"outcome of trial {self.trial.number}: give item scores or a failure, not both or neither"
            )

    @cached_property
    def score(self) -> float | None:
        """What a search with one objective maximises; None for a failure."""
        if self.failure is not None:
            return None
        if self.value is not None:
            return self.value
        return sum(each.score for each in self.scores) / len(self.scores)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of one candidate on one split: item scores or a failure, and the time that it took.

    Attributes:
        build_seconds: time to merge the weights into the live model.
        score_seconds: time to answer and grade the items.
        copied_from: id of an earlier trial with the same recipe, whose scores were copied. The trial's own id
            means a run with another seed.
    """

    scores: tuple[ItemScore, ...] = ()
    failure: str | None = None
    build_seconds: float = 0.0
    score_seconds: float = 0.0
    copied_from: int | None = None

    @property
    def mean(self) -> float | None:
        """Mean item score; None for a failure."""
        if self.failure is not None or not self.scores:
            return None
        return sum(each.score for each in self.scores) / len(self.scores)


@runtime_checkable
class Strategy(Protocol):
    """A search algorithm with an ask/tell interface.

    Its proposals depend only on axes, settings, seed and history. Outcomes may arrive late, in parts and in
    any order within a batch. A failure is an outcome that ranks below every score. ``ask`` never blocks:
    before all outcomes are in, it proposes from what it knows.
    """

    @property
    def batch(self) -> int:
        """Preferred number of trials per ask: the population size."""
        ...

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials with consecutive numbers; fewer or none only if the space is exhausted."""
        ...

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Receive the outcomes of trials."""
        ...


@runtime_checkable
class FiniteStrategy(Strategy, Protocol):
    """A strategy with a fixed number of trials, such as a grid."""

    @property
    def size(self) -> int:
        """Total number of trials."""
        ...


@runtime_checkable
class InformedStrategy(Strategy, Protocol):
    """A strategy that can start from known points, such as the parents and their mean."""

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Start from known points; called at most once, before the first ask.

        Args:
            known: outcomes without failures. Their trials have numbers below 0, and must not be named as
                parents.
        """
        ...


@runtime_checkable
class TaskAware(Strategy, Protocol):
    """A strategy that uses item scores, and so needs to know the task of each item."""

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        """Receive the tasks of a run with several tasks; called first.

        Args:
            task_of: id of an item of fit -> name of its task.
            weights: name of a task -> weight; the search maximises the weighted mean.
        """
        ...


@runtime_checkable
class PredictingStrategy(Strategy, Protocol):
    """A strategy that predicts the scores of genomes, with less noise than a single measurement."""

    def predict(self, genomes: Sequence[Genome]) -> list[float] | None:
        """Return the expected mean score over all items of each genome, given all outcomes so far.

        Predictions are averaged with scores on validation. None means no prediction, for example because an
        inner strategy does not predict.
        """
        ...


@runtime_checkable
class AcceptsMigrants(Strategy, Protocol):
    """A strategy that accepts points from other searches."""

    def inject(self, outcomes: Sequence[Outcome]) -> None:
        """Receive migrants, at any time; their order does not matter, and failures are ignored.

        Args:
            outcomes: their trials have numbers below 0, unique among known points (``warm_start``) and
                migrants. A trial may name a migrant as its parent by this number.
        """
        ...


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
    """A model that classifies images."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in the order of the model's output."""
        ...

    def rate_classes(self, images: Sequence[Media]) -> Sequence[Sequence[float]]:
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


class Decoding(NamedTuple):
    """How a model writes without chance: greedily, or the best of several beams.

    Attributes:
        num_beams: number of continuations that are kept; 1 is greedy.
        repetition_penalty: divides positive logits of tokens that occurred before, and multiplies negative
            ones (Keskar et al. 2019); 1 is none.
    """

    num_beams: int = 1
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


@runtime_checkable
class Task(Protocol):
    """Items with splits, and a way to score a live model on them.

    A class attribute ``needs`` may name the protocol that models must satisfy, such as ``GeneratesText``.
    """

    @property
    def name(self) -> str:
        """Unique within a run."""
        ...

    def items(self, split: Split) -> Sequence[Item]:
        """Return the items of a split, in a fixed order."""
        ...

    def score(self, model: Any, items: Sequence[Item]) -> Sequence[ItemScore]:
        """Return the scores of a model on items, in their order. The model satisfies ``needs``."""
        ...


@runtime_checkable
class SetMeasure(Protocol):
    """A property of a set of answers that is not a mean of item scores, such as F1 or −FID."""

    @property
    def name(self) -> str:
        """Unique within a task."""
        ...

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[object]:
        """Return what the measure needs of each answer, in their order."""
        ...

    def value(self, features: Sequence[object]) -> float:
        """Return the measure of a set of answers, some repeated in a bootstrap sample; NaN if undefined."""
        ...


@runtime_checkable
class MeasuredTask(Task, Protocol):
    """A task that also has set measures."""

    @property
    def set_measures(self) -> Sequence[SetMeasure]:
        """The measures of validation and test; run.yaml may let a search maximise one."""
        ...


@runtime_checkable
class TeachingTask(Task, Protocol):
    """A task that provides training examples."""

    def examples(
        self,
        model: Any,
        items: Sequence[Item],
        answers: Mapping[str, Sequence[str]],
        *,
        prefers_given: bool,
    ) -> Sequence[Example]:
        """Return the training examples. An item without a correct answer has none.

        Args:
            model: a live model, for its chat template.
            items: the items to learn from.
            answers: id of an item -> generated answers with full score, which may contain reasoning.
            prefers_given: whether ``answers`` take precedence over the reference answer.
        """
        ...
