"""The grader that asks an image classifier for the class of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from kingyo.errors import KingyoError, nearest, suggest
from kingyo.tasks.graded_settings import Text
from kingyo.tasks.picture_grader import register_picture_grader
from kingyo.types import Item, Media
from kingyo.vision.frozen import load_classifier

SHOWN = 5
"""Number of classes that an error lists."""


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
        probabilities = classifier.class_probabilities(pictures)
        if self.soft:
            return [own[place] for own, place in zip(probabilities, places, strict=True)]
        return [float(own.index(max(own)) == place) for own, place in zip(probabilities, places, strict=True)]

    def _place(self, item: Item, classes: Sequence[str]) -> int:
        """Return the index of an item's class in the output of the classifier."""
        label = item.fields.get(self.label)
        if label is None:
            raise KingyoError(
                "grader.classifier: label",
                expected="a column of the task's data",
                received=f"'{self.label}', which {item.place} lacks",
                remedy=suggest(self.label, item.fields),
            )
        if label in classes:
            return classes.index(label)
        if label.isascii() and label.isdigit() and int(label) < len(classes):
            return int(label)
        raise KingyoError(
            f"{item.place}: {self.label}",
            expected=f"a class of {self.model}",
            received=f"{label!r:.80}",
            remedy=_remedy(label, item, classes),
        )


def _remedy(label: str, item: Item, classes: Sequence[str]) -> str:
    """Suggest the nearest class, or else the column that holds one."""
    columns = [name for name, text in item.fields.items() if text in classes]
    if columns and nearest(label, classes) is None:
        return f"Did you mean the column: `label: {columns[0]}`?"
    return suggest(label, classes, SHOWN)
