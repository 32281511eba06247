"""Image classification tasks: the answer is the model's most likely class."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from kingyo.core.types import Example, Item, ItemScore, RatesClasses, SetMeasure
from kingyo.errors import KingyoError, suggest
from kingyo.tasks.kinds import TASK_KINDS, Splits, SplitTask, Text
from kingyo.tasks.rows import Row, stringify, with_images


@dataclass(frozen=True, kw_only=True)
class ClassifySettings:
    """The columns of image and class, and the classes that the model may choose from; empty: all."""

    image: Text = "image"
    label: Text = "label"
    classes: tuple[Text, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MacroF1:
    """Mean of the F1 of each class, so that rare classes count as much as common ones.

    Only classes that occur as a label count (Opitz and Burst 2019, arXiv 1911.03347, "averaged F1").
    """

    name: str = "macro_f1"

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[tuple[str, str]]:
        return [(item.answer, each.answer) for item, each in zip(items, scores, strict=True)]

    def value(self, features: Sequence[object]) -> float:
        pairs = cast("Sequence[tuple[str, str]]", features)
        labels, answers = Counter(label for label, _ in pairs), Counter(answer for _, answer in pairs)
        right = Counter(label for label, answer in pairs if label == answer)
        return sum(2 * right[each] / (n + answers[each]) for each, n in labels.items()) / len(labels)


@TASK_KINDS.register("classify")
class ClassifyTask(SplitTask):
    """Image classification with one class per image; right if the most likely class is the label (top-1)."""

    Settings = ClassifySettings
    needs = RatesClasses

    def __init__(self, name: str, settings: ClassifySettings, splits: Splits, folder: Path) -> None:  # noqa: ARG002 (part of the protocol)
        super().__init__(name, splits)
        self._settings = settings

    @staticmethod
    def read_item(row: Row, settings: ClassifySettings) -> Item:
        answer = stringify(row.cell(settings.label, "label")).strip()
        if not answer:
            remedy = "Fill it in, or delete this row."
            raise KingyoError(f"{row.where}: {settings.label}", "a class", "an empty cell", remedy)
        item = with_images(Item(id="", prompt="", answer=answer), row, settings.image)
        if len(item.media) > 1:
            argument, remedy = f"{row.where}: {settings.image}", "Write a row for each image."
            raise KingyoError(argument, "one image", f"{len(item.media)}", remedy)
        return item

    @property
    def set_measures(self) -> Sequence[SetMeasure]:
        return (MacroF1(),)

    def score(self, model: RatesClasses, items: Sequence[Item]) -> Sequence[ItemScore]:
        known = list(model.classes)
        allowed, labels = self._places(known, items)
        scores: list[ItemScore] = []
        rated = model.rate_classes([item.media[0] for item in items])
        for item, label, rates in zip(items, labels, rated, strict=True):
            if any(map(math.isnan, rates)):
                expected = "a number for each class"
                remedy = "Remove this model, or run it in float32: its weights or outputs overflow."
                raise KingyoError(f"task {self.name}: item {item.id}", expected, "NaN", remedy)
            best = max(allowed, key=lambda place: rates[place])  # ties go to the first
            answer = known[best] if item.answer in known else str(best)  # a name or an index, like the label
            scores.append(ItemScore(item=item.id, score=float(best == label), answer=answer))
        return tuple(scores)

    def examples(
        self,
        model: RatesClasses,
        items: Sequence[Item],
        answers: Mapping[str, Sequence[str]],  # noqa: ARG002 (part of the protocol)
        *,
        prefers_given: bool,  # noqa: ARG002
    ) -> Sequence[Example]:
        """Return an example per item: its label, with the other classes as ``others``."""
        allowed, labels = self._places(list(model.classes), items)
        return tuple(
            Example(
                item=item.id,
                prompt="",
                images=item.media,
                answer=str(label),
                others=tuple(str(place) for place in allowed if place != label),
            )
            for item, label in zip(items, labels, strict=True)
        )

    def _places(self, known: Sequence[str], items: Sequence[Item]) -> tuple[list[int], list[int]]:
        allowed = [self._place(each, known, "classes") for each in self._settings.classes]
        allowed = allowed or list(range(len(known)))
        labels = [self._place(item.answer, known, f"label of item {item.id}") for item in items]
        for item, label in zip(items, labels, strict=True):
            if label not in allowed:
                raise self._unknown(f"label of item {item.id}", item.answer, self._settings.classes)
        return allowed, labels

    def _place(self, name: str, known: Sequence[str], argument: str) -> int:
        places = [str(place) for place, each in enumerate(known) if each == name]
        if len(places) > 1:
            received = f"{name!r:.80}, the name of {len(places)} classes"
            remedy = f"Use its index: {' or '.join(places)}."
            raise KingyoError(f"task {self.name}: {argument}", "the name of one class", received, remedy)
        place = places[0] if places else name
        if place.isascii() and place.isdigit() and len(place) < 10 and int(place) < len(known):
            return int(place)
        raise self._unknown(argument, name, known)

    def _unknown(self, argument: str, name: str, known: Sequence[str]) -> KingyoError:
        expected = f"one of the {len(known)} classes, or its index from 0"
        return KingyoError(f"task {self.name}: {argument}", expected, f"{name!r:.80}", suggest(name, known))
