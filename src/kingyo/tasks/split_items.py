"""The items of a task by split, shared by all kinds of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kingyo.errors import unknown
from kingyo.types import Item, Split


class SplitItems:
    """Items by split, frozen when the task is built."""

    def __init__(self, splits: Mapping[Split, Sequence[Item]]) -> None:
        self._splits: dict[Split, tuple[Item, ...]] = {split: tuple(items) for split, items in splits.items()}

    def of(self, split: Split) -> tuple[Item, ...]:
        """Return the items of one split, in order.

        Raises:
            KingyoError: the split does not exist.
        """
        if split not in self._splits:
            raise unknown("split", split, self._splits)
        return self._splits[split]

    def all(self) -> tuple[Item, ...]:
        """Return the items of all splits."""
        return tuple(item for items in self._splits.values() for item in items)
