"""Measures of tensors, kept for the next candidate: the least recently used go first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from threading import Lock

import numpy as np
from numpy.typing import NDArray

Fact = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.int32] | NDArray[np.uint32]


class Facts(MutableMapping[str, Fact]):
    """A mapping that forgets; several threads may use it.

    Args:
        max_bytes: how much it may keep.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Fact] = OrderedDict()
        self._lock = Lock()
        self.n_bytes = 0

    def __getitem__(self, name: str) -> Fact:
        with self._lock:
            self._kept.move_to_end(name)
            return self._kept[name]

    def __setitem__(self, name: str, fact: Fact) -> None:
        if fact.nbytes > self._max_bytes:
            return
        with self._lock:
            old = self._kept.pop(name, None)
            self._kept[name] = fact
            self.n_bytes += fact.nbytes - (old.nbytes if old is not None else 0)
            while self.n_bytes > self._max_bytes:
                self.n_bytes -= self._kept.popitem(last=False)[1].nbytes

    def __delitem__(self, name: str) -> None:
        with self._lock:
            self.n_bytes -= self._kept.pop(name).nbytes

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._kept))

    def __len__(self) -> int:
        return len(self._kept)
