"""A cache of tensor statistics for the next candidate; the least recently used are dropped first."""

from __future__ import annotations

import copy
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from numpy.typing import NDArray

Statistic = NDArray[Any]

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Files with a container's memory limit on Linux; the first may contain "max"."""


class TensorStats:
    """Statistics by name, in ``max_bytes`` or a quarter of the memory; several threads may use it."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self._kept = _Kept(memory_size() // 4 if max_bytes is None else max_bytes)
        self._prefix = ""

    @property
    def n_bytes(self) -> int:
        return self._kept.n_bytes

    def within(self, space: str) -> TensorStats:
        """Return a view of the same cache whose names have a prefix, for models as one merge sees them."""
        view = copy.copy(self)
        view._prefix = f"{self._prefix}{space}\n"
        return view

    def get(self, name: str) -> Statistic | None:
        return self._kept.get(self._prefix + name)

    def put(self, name: str, statistic: Statistic) -> None:
        """Store a statistic, if it is not larger than the cache."""
        self._kept.put(self._prefix + name, statistic)

    def has_room(self, n_bytes: int) -> bool:
        """Return whether this many bytes fit; a quarter is reserved for small statistics."""
        return self._kept.n_bytes + n_bytes <= 0.75 * self._kept.max_bytes


class _Kept:
    """Statistics of all views by full name, the least recently used first."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._statistics: OrderedDict[str, Statistic] = OrderedDict()
        self._lock = Lock()

    def get(self, name: str) -> Statistic | None:
        with self._lock:
            if name in self._statistics:
                self._statistics.move_to_end(name)
            return self._statistics.get(name)

    def put(self, name: str, statistic: Statistic) -> None:
        if statistic.nbytes > self.max_bytes:
            return
        with self._lock:
            old = self._statistics.pop(name, None)
            self._statistics[name] = statistic
            self.n_bytes += statistic.nbytes - (old.nbytes if old is not None else 0)
            while self.n_bytes > self.max_bytes:
                self.n_bytes -= self._statistics.popitem(last=False)[1].nbytes


def memory_size(limits: Sequence[Path] = _LIMITS) -> int:
    """Return the bytes of memory of the machine, or of this process's container; 4 GiB if unknown."""
    try:
        n_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        n_bytes = 1 << 32
    for file in limits:
        try:
            n_bytes = min(n_bytes, int(file.read_text()))
        except (OSError, ValueError):  # there is no limit
            continue
    return n_bytes
