"""The words of kingyo as data and protocols: what travels between the crafts.

Only plain data live here: no torch, no numpy. Larger scores are better, everywhere.
"""

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
"""One number per axis, in the axis' own units; a categorical gene is the index of its choice."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One coordinate of a genome.

    Attributes:
        name: unique within its space, such as ``weight/ja/block.3``.
        low, high: bounds, both inclusive. A binary axis is 0..1, a categorical one 0..len(choices) - 1.
        kind: float genes are continuous; the others take whole numbers.
        choices: the categories of a categorical axis, else empty.
        start: where a search that needs a first point begins; the middle when None.
        place: where along the model the tensors lie that it decides about, from 0 (the input) to 1 (the
            output); None when it decides about all of them.
        family: axes of one family are the same value at other places of the model, such as the weights of one
            source in each block; empty when it stands alone.
        neutral: the value at which it changes nothing, such as the weight 0 of a source; None when there is
            none.
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
"""The folder of images in a run, and beside exported items."""


@dataclass(frozen=True, kw_only=True)
class Media:
    """An image, of an item or made by a model; it is the same as another one with the same hash.

    Attributes:
        sha256: of the bytes of its file.
        type: its MIME type, such as ``image/png``.
        path: the file that holds it.
        content: its bytes, where no file holds it.
    """

    sha256: str
    type: str
    path: Path | None = field(default=None, compare=False)
    content: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The name of its file in a run folder."""
        return f"{self.sha256}.{self.type.rpartition('/')[2]}"

    @property
    def place(self) -> str:
        """Where people find it: its path, or its name."""
        return str(self.path or self.name)

    def read(self) -> bytes:
        """Return the bytes of its file.

        Raises:
            ChangedSourceError: the file cannot be read, or the bytes have another hash.
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
            remedy="Bring the file back as it was; let a task of your own give the hash of the bytes.",
        )


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a task: prompt as the model sees it after templating, and the reference answer.

    Attributes:
        id: unique within a run; a kind of task that reads items leaves it empty.
        prompt, answer, choices, fields: what is asked, what is right, and the row that it was made of.
        task: the name of its task where a run has several, else empty.
        media: images that belong to the question, in order.
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
        """Where people find its images."""
        return [each.place for each in self.media]

    def in_a_line(self) -> str:
        """Return what it asks, for people: its prompt, and where its images are."""
        prompt = [repr(self.prompt)] if self.prompt or not self.media else []
        return " ".join((*prompt, *self.images))


@dataclass(frozen=True, kw_only=True)
class Example:
    """What a model should learn to answer, for training.

    Attributes:
        item: the id of the item.
        prompt: as the model sees it.
        answer: how it should go on, with the text that ends an answer where the task has one.
        others: wrong continuations; the model learns to find ``answer`` more likely. Empty where it writes.
        per_byte: whether likelihoods of choices are divided by their lengths in bytes of UTF-8.
    """

    item: str
    prompt: str
    answer: str
    others: tuple[str, ...] = ()
    per_byte: bool = False


class ItemScore(NamedTuple):
    """The score of one model on one item, in [0, 1], with the text or the image that it answered.

    ``is_cut``: the answer had no end within ``max_new_tokens``. ``media``: the image; a run keeps it on
    validation and test, and on fit of baselines. A named tuple and no dataclass, since a run of ten thousand
    candidates makes millions of them.
    """

    item: str
    score: float
    answer: str
    is_cut: bool = False
    media: Media | None = None


class Written(NamedTuple):
    """A text that a model wrote; ``is_cut``: it had no end within the most tokens that were allowed."""

    text: str
    is_cut: bool


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One ask of a strategy. Numbers count from 0 within a search; parents are numbers of earlier trials."""

    number: int
    genome: Genome
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended: item scores, or a failure with its reason. Never both, never neither.

    Attributes:
        trial: what was asked.
        scores: of the items that it was scored on.
        failure: why there are none.
        value: what a search for one objective maximises, when that is not the mean of the scores: an estimate
            for all items where only some were scored, or a mean over several tasks.
        objectives: one number per objective of the run, larger better; empty where there is only one.
        is_partial: only some of the items were scored, so ``value`` and ``objectives`` are estimates.
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
        """What a search for one objective maximises; None for a failure."""
        if self.failure is not None:
            return None
        if self.value is not None:
            return self.value
        return sum(each.score for each in self.scores) / len(self.scores)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How one candidate did on one split: item scores, or a failure with its reason; and what it cost.

    Attributes:
        build_seconds: time to merge the weights into the live model.
        score_seconds: time to answer and grade the items.
        copied_from: id of an earlier trial with the same recipe whose scores these are; nothing was run. The
            trial's own id where they are of a run of another seed.
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
    """Ask / tell search: numbers in, numbers out.

    What it asks depends on its axes, settings, seed and history alone. Tells may come late, shuffled
    within a batch, in parts; a failure is an outcome and ranks below every score. ``ask`` never blocks:
    asked before all tells are in, it proposes from what it knows.
    """

    @property
    def batch(self) -> int:
        """How many trials it would like to be asked for at once (its population)."""
        ...

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials, numbered on from the last; fewer (or none) only when the space is exhausted."""
        ...

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn how trials ended."""
        ...


@runtime_checkable
class FiniteStrategy(Strategy, Protocol):
    """A strategy that has no more to propose after a number of trials, such as a grid."""

    @property
    def size(self) -> int:
        """How many trials it proposes in all."""
        ...


@runtime_checkable
class InformedStrategy(Strategy, Protocol):
    """A strategy that can begin with points that were measured before, such as parents and their mean."""

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Begin with known points; called at most once, before the first ask.

        Args:
            known: outcomes without failures. Their trials have numbers below 0, and no child may name them
                as parents.
        """
        ...


@runtime_checkable
class TaskAware(Strategy, Protocol):
    """A strategy that looks at single items, and so has to know of which task each of them is."""

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        """Take in the tasks of the run; called before all else, where there are several.

        Args:
            task_of: the task of each item that a search may see, by the item's name.
            weights: how much each task counts, by its name; the search maximises their weighted mean.
        """
        ...


@runtime_checkable
class PredictingStrategy(Strategy, Protocol):
    """A strategy that predicts scores of points, which is steadier than what any one of them scored."""

    def predict(self, genomes: Sequence[Genome]) -> list[float] | None:
        """Return the mean score over all items that it expects of each genome, by all outcomes so far.

        Predictions are averaged with scores on validation. None where it has none, such as a strategy around
        another one that does not predict.
        """
        ...


@runtime_checkable
class AcceptsMigrants(Strategy, Protocol):
    """A strategy that can go on with points that others measured."""

    def inject(self, outcomes: Sequence[Outcome]) -> None:
        """Take in migrants, at any time; their order does not matter, and failures are ignored.

        Args:
            outcomes: their trials have numbers below 0, and each number is used once, by known points
                (``warm_start``) or by migrants. A child may name a migrant as its parent by this number.
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
    """A model that says how likely a text is."""

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
    """A model that writes text and says how likely a text is."""


@runtime_checkable
class CutAware(GeneratesText, Protocol):
    """A model that knows which of its answers had no end."""

    def write(
        self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> list[Written]:
        """Continue each prompt as ``generate`` does, and tell which texts were cut."""
        ...


@runtime_checkable
class Task(Protocol):
    """Items with splits, and a way to score a live model on them.

    A task may say in a class attribute ``needs`` which protocol a model must have, such as ``GeneratesText``.
    """

    @property
    def name(self) -> str:
        """Unique within a run."""
        ...

    def items(self, split: Split) -> Sequence[Item]:
        """The items of a split, in a fixed order."""
        ...

    def score(self, model: Any, items: Sequence[Item]) -> Sequence[ItemScore]:
        """Score each item, in the order given; the model is one that the task needs."""
        ...


@runtime_checkable
class SetMeasure(Protocol):
    """A property of a set of answers that is no mean of scores, such as F1 or −FID; larger is better."""

    @property
    def name(self) -> str:
        """Unique within a task."""
        ...

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[object]:
        """Return what is needed of each answer, in their order; computed once where no search goes by it."""
        ...

    def value(self, features: Sequence[object]) -> float:
        """Return the measure of a set, given as ``features``; a bootstrap repeats some of them.

        NaN where a set has no such value.
        """
        ...


@runtime_checkable
class MeasuredTask(Task, Protocol):
    """A task that measures sets of answers, too: beside scores, or in place of their mean on request."""

    @property
    def set_measures(self) -> Sequence[SetMeasure]:
        """What is measured on validation and test; a search goes by one that the run.yaml names."""
        ...


@runtime_checkable
class TeachingTask(Task, Protocol):
    """A task that can say what a model should learn in order to solve it."""

    def examples(
        self,
        model: Any,
        items: Sequence[Item],
        answers: Mapping[str, Sequence[str]],
        *,
        prefers_given: bool,
    ) -> Sequence[Example]:
        """Return the examples to train on; an item without an answer of full marks has none.

        Args:
            model: gives the prompts of a task with a chat template.
            items: to learn from.
            answers: id of an item -> texts that got full marks, such as those of models that reason.
            prefers_given: whether these are learned in place of the item's own answer, where there are both.
        """
        ...
