"""Memory that is needed again and again: what it costs is to get it from the system, page by page."""

from __future__ import annotations

import os
from collections import OrderedDict
from threading import Lock

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
_MOST = 1 << 29  # bytes


class Scratch:
    """Arrays that were given back, by their sizes; several threads may use it.

    Args:
        most: how many bytes it keeps; the sizes that were not used for the longest time go first.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self.clear()

    def clear(self) -> None:
        """Keep nothing."""
        self._kept: OrderedDict[int, list[Bytes]] = OrderedDict()
        self.n_bytes = 0
        self._lock = Lock()

    def take(self, n_bytes: int) -> Bytes:
        """So many bytes, of any content."""
        with self._lock:
            if self._kept.get(n_bytes):
                self.n_bytes -= n_bytes
                return self._kept[n_bytes].pop()
        return np.empty(n_bytes, dtype=np.uint8)

    def give(self, array: Bytes) -> None:
        """Give back what was taken, and is no longer used."""
        if array.nbytes > self._most:
            return
        with self._lock:
            self._kept.setdefault(array.nbytes, []).append(array)
            self._kept.move_to_end(array.nbytes)
            self.n_bytes += array.nbytes
            while self.n_bytes > self._most:
                size, oldest = next(iter(self._kept.items()))
                if oldest:
                    oldest.pop()
                    self.n_bytes -= size
                else:
                    del self._kept[size]


SCRATCH = Scratch()
"""That of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SCRATCH.clear)  # another thread may have held its lock
