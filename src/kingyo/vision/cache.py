"""A least-recently-used cache with a limit in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class BoundedCache(Generic[V]):
    """Values by key, up to a total size.

    Args:
        max_bytes: total size.
        size_of: returns the size of a value in bytes.
    """

    def __init__(self, max_bytes: int, size_of: Callable[[V], int]) -> None:
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._n_bytes = 0

    def get(self, key: Hashable) -> V | None:
        """Return the value of a key, or None."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: Hashable, value: V) -> V:
        """Store a value, and return it."""
        if key in self._values:
            self._n_bytes -= self._size_of(self._values.pop(key))
        self._values[key] = value
        self._n_bytes += self._size_of(value)
        while self._n_bytes > self._max_bytes:
            _, oldest = self._values.popitem(last=False)
            self._n_bytes -= self._size_of(oldest)
        return value
