"""Graders of pictures: their protocol and registry, the weighted mix of several, and the classifier."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar, cast, runtime_checkable

from pydantic import Field

from kingyo.errors import KingyoError, crashes_as_errors, suggest
from kingyo.io.schema import parse_settings
from kingyo.registry import Registry
from kingyo.tasks.graded_settings import Text
from kingyo.types import Item, Media
from kingyo.vision.classifier import load_classifier


class PictureGrader(Protocol):
    """Scores pictures of items: 1 is right, 0 is wrong, values between are partly right.

    A grader is a frozen dataclass whose fields are its options. In the YAML ``{name: value}`` sets the first
    option and ``{name: {option: value}}`` any of them. A class attribute ``paths`` names the options that are
    files or folders: they become absolute paths, or stay names on the Hub. A run stores hashes of these
    files, and an export takes them along. ``known_names`` are values of these options that are neither.
    """

    def __call__(self, pictures: Sequence[Media], items: Sequence[Item], /) -> Sequence[float]:
        """Return the score of each picture, in order."""
        ...


@runtime_checkable
class ChecksItems(Protocol):
    """A grader that can reject items before any picture is drawn."""

    def check(self, items: Sequence[Item], /) -> None:
        """Raise KingyoError if the grader cannot grade pictures of these items."""
        ...


PICTURE_GRADERS: Registry[Callable[..., object]] = Registry(
    "grader of pictures", "kingyo.tasks", "kingyo.picture_graders"
)
"""Graders by name. Plug-ins use the entry point group ``kingyo.picture_graders``."""

G = TypeVar("G", bound=Callable[..., object])


def register_picture_grader(name: str) -> Callable[[G], G]:
    """Return a decorator that registers a built-in grader and keeps its type."""

    def put(grader: G) -> G:
        PICTURE_GRADERS.register(name)(grader)
        return grader

    return put


@dataclass(frozen=True, kw_only=True)
class GradersMix:
    """Several graders: the product of their scores, or a mean with weights.

    Attributes:
        graders: pairs of name and grader.
        weights: weights of the mean, one per grader; empty for the product.
    """

    graders: tuple[tuple[str, PictureGrader], ...]
    weights: tuple[float, ...] = ()

    def grade(self, pictures: Sequence[Media], items: Sequence[Item]) -> list[float]:
        """Return the score of each picture.

        Graders take turns on a few pictures, while these are decoded, see ``decode_picture``.
        """
        parts = [slice(start, start + TOGETHER) for start in range(0, len(pictures), TOGETHER)]
        return [score for part in parts for score in self._grade(pictures[part], items[part])]

    def _grade(self, pictures: Sequence[Media], items: Sequence[Item]) -> list[float]:
        columns = [_called(name, grader, pictures, items) for name, grader in self.graders]
        rows = zip(*columns, strict=True)
        if not self.weights:
            return [math.prod(row) for row in rows]
        total = sum(self.weights)
        return [sum(map(float.__mul__, self.weights, row)) / total for row in rows]

    def check(self, items: Sequence[Item]) -> None:
        """Check that every grader can grade the items."""
        for _, grader in self.graders:
            if isinstance(grader, ChecksItems):
                grader.check(items)


def build_mix(
    specs: Sequence[tuple[str, object]], folder: Path, weights: Sequence[float] | None = None
) -> GradersMix:
    """Build the graders of a task from their names and options.

    Args:
        specs: names, each with None, a mapping of options, or the value of the first option.
        folder: base of relative paths.
        weights: weights of the mean; None multiplies the scores.
    """
    graders = tuple((name, _build(name, option, folder)) for name, option in specs)
    return GradersMix(graders=graders, weights=tuple(map(float, weights or ())))


def _build(name: str, option: object, folder: Path) -> PictureGrader:
    kind: object = PICTURE_GRADERS.get(name, folder)
    if not isinstance(kind, type) or not is_dataclass(kind):
        raise KingyoError(
            f"grader {name}",
            expected="a frozen dataclass",
            received=f"{kind!r:.80}",
            remedy="Put @dataclass(frozen=True) above the class.",
        )
    first = next((field.name for field in fields(kind)), "option")
    options = {} if option is None else {first: option}
    values = cast("Mapping[str, object]", option) if isinstance(option, Mapping) else options
    grader: Any = parse_settings(cast("type[Any]", kind), values, f"grader.{name}")
    if not callable(grader):
        raise KingyoError(
            f"grader {name}",
            expected="a callable that takes pictures and their items",
            received=repr(grader)[:80],
            remedy="Write `def __call__(self, pictures, items)`, which returns a list of numbers.",
        )
    return _in_folder(grader, folder)


def _in_folder(grader: Any, folder: Path) -> Any:
    """Return a grader with absolute paths; names of the Hub stay."""
    names = cast("Sequence[str]", getattr(grader, "paths", ()))
    given = {name: value for name in names if (value := getattr(grader, name)) is not None}
    known = cast("Sequence[str]", getattr(grader, "known_names", ()))
    places = {name: folder / value for name, value in given.items() if value not in known}
    found = {name: str(path.resolve()) for name, path in places.items() if path.exists()}
    for name in places.keys() - found.keys():
        if not _HUB_NAME.fullmatch(given[name]):
            raise KingyoError(
                name,
                expected="a file or folder, or a model on the Hub (org/name)",
                received=f"{given[name]!r:.80}, and no {places[name]}",
                remedy="Correct the path, which is relative to the file of the task.",
            )
    return replace(grader, **found)


_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
TOGETHER = 64  # pictures
DIGITS = 6  # of scores: networks differ in later digits with the pictures beside one


def _called(
    name: str, grader: PictureGrader, pictures: Sequence[Media], items: Sequence[Item]
) -> list[float]:
    """Return the scores of a grader after checking them; a crash of a user's own is a clear error."""
    remedy = "Make the grader return a number from 0 to 1 for each picture."
    with crashes_as_errors(f"grader {name}", expected="scores", remedy=remedy):
        scores = [round(float(each), DIGITS) for each in grader(pictures, items)]
    if len(scores) != len(pictures) or not all(0 <= each <= 1 for each in scores):
        wrong = next((each for each in scores if not 0 <= each <= 1), f"{len(scores)} scores")
        raise KingyoError(
            f"grader {name}",
            expected=f"{len(pictures)} numbers from 0 to 1, one per picture",
            received=f"{wrong}",
            remedy=remedy,
        )
    return scores


@register_picture_grader("classifier")
@dataclass(frozen=True, kw_only=True)
class ClassifierGrader:
    """Right if an image classifier finds the class of the item.

    Attributes:
        model: folder or Hub name of an image classifier of transformers.
        label: column of the class: a name in the classifier's id2label, or an index.
        soft: score the probability of the class, instead of whether it is the likeliest.
    """

    paths = ("model",)

    model: Text
    label: Text = "label"
    soft: Annotated[bool, Field(strict=True)] = False

    def check(self, items: Sequence[Item]) -> None:
        """Load the classifier, and check that it knows the class of each item."""
        classes = load_classifier(self.model).classes
        for item in items:
            self._place(item, classes)

    def __call__(self, pictures: Sequence[Media], items: Sequence[Item]) -> list[float]:
        """Return whether the likeliest class of each picture is that of its item, or its probability."""
        classifier = load_classifier(self.model)
        places = [self._place(item, classifier.classes) for item in items]
        rates = classifier.rate_classes(pictures)
        if self.soft:
            return [own[place] for own, place in zip(rates, places, strict=True)]
        return [float(own.index(max(own)) == place) for own, place in zip(rates, places, strict=True)]

    def _place(self, item: Item, classes: Sequence[str]) -> int:
        """Return the index of an item's class in the output of the classifier."""
        label = item.fields.get(self.label)
        if label is None:
            raise KingyoError(
                "grader.classifier: label",
                expected="a column of the task's data",
                received=f"'{self.label}'",
                remedy=suggest(self.label, item.fields),
            )
        if label in classes:
            return classes.index(label)
        if label.isascii() and label.isdigit() and int(label) < len(classes):
            return int(label)
        raise KingyoError(
            f"{self.label} of item {item.id}",
            expected=f"a class of {self.model}",
            received=f"{label!r:.80}",
            remedy=suggest(label, classes),
        )
