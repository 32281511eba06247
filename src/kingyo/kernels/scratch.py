"""Memory that is needed again and again: what it costs is to get it from the system, page by page."""

from __future__ import annotations

from collections import defaultdict
from threading import Lock

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
_MOST = 1 << 29  # bytes


class Scratch:
    """Arrays that were given back, by their sizes; several threads may use it.

    Args:
        most: how many bytes it keeps.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: defaultdict[int, list[Bytes]] = defaultdict(list)
        self._n_bytes = 0
        self._lock = Lock()

    def take(self, n_bytes: int) -> Bytes:
        """So many bytes, of any content."""
        with self._lock:
            if self._kept[n_bytes]:
                self._n_bytes -= n_bytes
                return self._kept[n_bytes].pop()
        return np.empty(n_bytes, dtype=np.uint8)

    def give(self, array: Bytes) -> None:
        """Give back what was taken, and is no longer used."""
        with self._lock:
            if self._n_bytes + array.nbytes <= self._most:
                self._n_bytes += array.nbytes
                self._kept[array.nbytes].append(array)


SCRATCH = Scratch()
"""That of this process."""
