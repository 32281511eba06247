"""Items, images and scores, and the axes and genomes of a search. Larger scores are better, everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

from kingyo.errors import ChangedSourceError

Split = Literal["fit", "validation", "test"]
SPLITS: tuple[Split, ...] = ("fit", "validation", "test")

Genome = tuple[float, ...]
"""One number per axis, in the units of the axis; a categorical gene is the index of its choice."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One coordinate of a genome."""

    name: str  # unique within its space, such as ``weight/ja/block.3``
    # low and high: bounds, both inclusive. A binary axis is 0..1, a categorical one 0..len(choices) - 1.
    low: float
    high: float
    # float genes are continuous; the others are whole numbers
    kind: Literal["float", "int", "binary", "categorical"] = "float"
    choices: tuple[str, ...] = ()  # the categories of a categorical axis, else empty
    start: float | None = None  # the first point of a search that needs one; None means the middle
    # the position in the model of the tensors that the gene affects, from 0 (input) to 1 (output); None if it
    # affects all of them
    place: float | None = None
    # shared by axes of one quantity at different places of the model, such as the weights of one source in
    # each block; empty for an axis on its own
    family: str = ""
    # the value without effect, such as weight 0 of a source; None if there is none
    neutral: float | None = None

    @property
    def first(self) -> float:
        """The first point: ``start``, or the middle of the bounds."""
        return (self.low + self.high) / 2 if self.start is None else self.start


DATABASE = "run.db"
"""SQLite file in the folder of a run."""
MEDIA = "media"
"""Folder of images in a run, and next to exported items."""


@dataclass(frozen=True, kw_only=True)
class Media:
    """An image of an item, or one that a model made; or another file, such as sound. Equal hashes are equal.

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
        return f"{self.sha256}.{self.type.rpartition('/')[2]}"

    @property
    def place(self) -> str:
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
        expected = f"the {self.type.partition('/')[0]} with SHA-256 {self.sha256[:16]}…"
        remedy = "Restore the file. A task of your own must give the hash of the file's bytes."
        return ChangedSourceError(
            "media" if self.path is None else str(self.path), expected, received, remedy
        )


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a task."""

    id: str  # unique within a run; a kind of task that reads items leaves it empty
    prompt: str  # the question, after templating
    answer: str
    choices: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict[str, str])  # the row that the item was read from
    task: str = ""  # the name of its task if a run has several, else empty
    media: tuple[Media, ...] = ()  # the images of the question, in order
    seed: int | None = None  # the seed of the answer's noise, if the model draws
    # what it shares with other items of its task, such as ``prompt 3f2a``; the first word says what that is.
    # Items of a group are in one split and not independent. Several groups are written one per line. Empty if
    # it is on its own.
    group: str = ""
    # the place of that row, such as ``items.jsonl line 7``; empty if unknown, as in a stored item
    where: str = field(default="", compare=False)

    @property
    def place(self) -> str:
        return self.where or f"item {self.id}"

    @property
    def images(self) -> list[str]:
        return [each.place for each in self.media]

    def in_a_line(self) -> str:
        prompt = [repr(self.prompt)] if self.prompt or not self.media else []
        seed = [] if self.seed is None else [f"(seed {self.seed})"]
        return " ".join((*prompt, *self.images, *seed))


@dataclass(frozen=True, kw_only=True)
class Example:
    """A prompt and the answer that a model should learn."""

    item: str  # the id of the item
    prompt: str
    # the continuation to learn, with the text that ends an answer if the task has one. Of an image
    # classifier: the index of the right class.
    answer: str
    images: tuple[Media, ...] = ()  # the images of the prompt, whose text marks their places
    # wrong continuations, which should become less likely than ``answer``; empty for free text
    others: tuple[str, ...] = ()
    per_byte: bool = False  # whether likelihoods of continuations are divided by their lengths in UTF-8 bytes


class ItemScore(NamedTuple):
    """The score of one model on one item, in [0, 1], with its answer.

    A named tuple rather than a dataclass: a run of ten thousand candidates makes millions of them.
    """

    item: str  # the id of the item
    score: float
    answer: str
    is_cut: bool = False  # whether the answer was cut off at ``max_new_tokens``
    # an image as the answer. A run stores those of validation and test, and of baselines on fit.
    media: Media | None = None
