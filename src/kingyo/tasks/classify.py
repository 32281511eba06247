"""Classify images: the model's answer is the class that it finds likeliest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol, cast, runtime_checkable

from pydantic import Field

from kingyo.errors import KingyoError, suggest
from kingyo.tasks.kinds import TASK_KINDS, Splits
from kingyo.tasks.media import with_images
from kingyo.tasks.rows import Row, stringify
from kingyo.tasks.split_items import SplitItems
from kingyo.types import Item, ItemScore, Media, SetMeasure, Split

Name = Annotated[str, Field(min_length=1)]


@runtime_checkable
class RatesClasses(Protocol):
    """A model that classifies images."""

    @property
    def classes(self) -> Sequence[str]:
        """The names of its classes, in the order of its output."""
        ...

    def rate_classes(self, images: Sequence[Media]) -> Sequence[Sequence[float]]:
        """Return how likely each class is, image by image; larger is likelier."""
        ...


@dataclass(frozen=True, kw_only=True)
class ClassifySettings:
    """The options of ``classify``.

    Attributes:
        image: the column of the image.
        label: the column of its class: a name, or a number from 0 in the order of the model's output.
        classes: names among which the model chooses; all of its own when empty.
    """

    image: Name = "image"
    label: Name = "label"
    classes: tuple[Name, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MacroF1:
    """The mean over the classes of the harmonic mean of precision and recall, so that rare classes count.

    Of classes that occur as a label (Opitz and Burst 2019, arXiv 1911.03347: the mean of the F1 of classes).
    """

    name: str = "macro_f1"

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[tuple[str, str]]:
        """Return the label and the answer of each item."""
        return [(item.answer, each.answer) for item, each in zip(items, scores, strict=True)]

    def value(self, features: Sequence[object]) -> float:
        """Return macro F1, from 0 to 1."""
        pairs = cast("Sequence[tuple[str, str]]", features)
        labels, answers = Counter(label for label, _ in pairs), Counter(answer for _, answer in pairs)
        right = Counter(label for label, answer in pairs if label == answer)
        return sum(2 * right[each] / (n + answers[each]) for each, n in labels.items()) / len(labels)


@TASK_KINDS.register("classify")
class ClassifyTask:
    """A task of images, each of one class; right when the likeliest class is the label (top-1).

    Args:
        name: unique within a run.
        settings: columns and classes.
        splits: the items of each split.
        folder: where relative paths start; unused.
    """

    Settings = ClassifySettings
    needs = RatesClasses

    def __init__(self, name: str, settings: ClassifySettings, splits: Splits, folder: Path) -> None:  # noqa: ARG002 (of the protocol)
        self._name = name
        self._settings = settings
        self._items = SplitItems(splits)

    @staticmethod
    def read_item(row: Row, settings: ClassifySettings) -> Item:
        """Make a row an item: its image asks, and its label answers."""
        label = stringify(row.cell(settings.label, "label")).strip()
        if not label:
            raise KingyoError(
                f"{row.where}: {settings.label}",
                expected="a class",
                received="an empty cell",
                remedy="Fill it in, or delete this row.",
            )
        item = with_images(Item(id="", prompt="", answer=label), row, settings.image)
        if len(item.media) > 1:
            raise KingyoError(
                f"{row.where}: {settings.image}",
                expected="one image",
                received=f"{len(item.media)}",
                remedy="Write a row for each image.",
            )
        return item

    @property
    def name(self) -> str:
        """Unique within a run."""
        return self._name

    @property
    def set_measures(self) -> Sequence[SetMeasure]:
        """Macro F1, which is no mean over items."""
        return (MacroF1(),)

    def items(self, split: Split) -> Sequence[Item]:
        """The items of a split, in a fixed order.

        Raises:
            KingyoError: there is no such split.
        """
        return self._items.of(split)

    def score(self, model: RatesClasses, items: Sequence[Item]) -> Sequence[ItemScore]:
        """Score each item, in the order given.

        Raises:
            KingyoError: a label or one of ``classes`` is no class of the model.
        """
        known = list(model.classes)
        allowed = [self._place(each, known, "classes") for each in self._settings.classes]
        allowed = allowed or list(range(len(known)))
        labels = [self._place(item.answer, known, f"label of item {item.id}") for item in items]
        for item, label in zip(items, labels, strict=True):
            if label not in allowed:
                raise self._unknown(f"label of item {item.id}", item.answer, self._settings.classes)
        scores: list[ItemScore] = []
        rated = model.rate_classes([item.media[0] for item in items])
        for item, label, rates in zip(items, labels, rated, strict=True):
            if any(map(math.isnan, rates)):
                raise KingyoError(
                    f"task {self._name}: item {item.id}",
                    expected="a number for each class",
                    received="NaN",
                    remedy="Leave this model out, or run it in float32: its numbers overflow, or hold NaN.",
                )
            best = max(allowed, key=lambda place: rates[place])  # the first of equals
            answer = known[best] if item.answer in known else str(best)  # in the words of the label
            scores.append(ItemScore(item=item.id, score=float(best == label), answer=answer))
        return tuple(scores)

    def _place(self, name: str, known: Sequence[str], argument: str) -> int:
        """The place of a class in the model's output, by its name, else by its number."""
        if known.count(name) > 1:
            places = [str(place) for place, each in enumerate(known) if each == name]
            raise KingyoError(
                f"task {self._name}: {argument}",
                expected="a name of one class",
                received=f"{name!r:.80}, which is the name of {len(places)}",
                remedy=f"Write its number: {' or '.join(places)}.",
            )
        if name in known:
            return known.index(name)
        if name.isascii() and name.isdigit() and len(name) < 10 and int(name) < len(known):
            return int(name)
        raise self._unknown(argument, name, known)

    def _unknown(self, argument: str, name: str, known: Sequence[str]) -> KingyoError:
        return KingyoError(
            f"task {self._name}: {argument}",
            expected=f"one of {len(known)} classes of the model, or its number from 0",
            received=f"{name!r:.80}",
            remedy=suggest(name[:80], known),
        )
