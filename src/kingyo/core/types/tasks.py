"""The protocols of tasks and of set measures."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from kingyo.core.types.data import Example, Item, ItemScore, Split


@runtime_checkable
class Task(Protocol):
    """Items with splits, and a way to score a live model on them.

    A class attribute ``needs`` may name the protocol that models must satisfy, such as ``GeneratesText``.
    """

    @property
    def name(self) -> str: ...

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
    def name(self) -> str: ...

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[object]:
        """Return what the measure needs of each answer, in their order."""
        ...

    def value(self, features: Sequence[object]) -> float:
        """Return the measure of a set of answers, or of half of them for its interval; NaN if undefined."""
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
