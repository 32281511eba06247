"""How fast this machine's disks are, and how much of a file is in memory already."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SAMPLE = 1 << 26  # bytes that are written and read again
_AT_ONCE = 1 << 22
_ROOM = 1 << 30  # bytes that must be free before a disk is tried
_USUAL = 500e6  # bytes a second of a disk that cannot be tried


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes a second of a disk; whether they were measured."""

    read: float = _USUAL
    write: float = _USUAL
    is_measured: bool = False


def try_disk(folder: Path) -> Disk:
    """Write a file without a name below a folder that exists, read it back, and let it go."""
    try:
        if shutil.disk_usage(folder).free < _ROOM:
            return Disk()
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            return _tried(file.fileno())
    except OSError:
        return Disk()


def cached(files: Iterable[Path]) -> int:
    """The bytes of files that are in memory, as far as the system tells."""
    return sum(_cached(file) for file in files)


def _tried(descriptor: int) -> Disk:
    chunk = os.urandom(_AT_ONCE)
    begun = time.perf_counter()
    for start in range(0, _SAMPLE, _AT_ONCE):
        os.pwrite(descriptor, chunk, start)
    os.fsync(descriptor)
    written = time.perf_counter()
    if hasattr(os, "posix_fadvise"):  # else it is read from memory, and looks faster than it is
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    for start in range(0, _SAMPLE, _AT_ONCE):
        os.pread(descriptor, _AT_ONCE, start)
    read = time.perf_counter()
    return Disk(read=_SAMPLE / (read - written), write=_SAMPLE / (written - begun), is_measured=True)


def _cached(file: Path) -> int:
    """By mincore(2), one byte a page; nothing where there is no such call."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError), file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        pages = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_COPY)
        held = np.zeros(-(-size // mmap.PAGESIZE), dtype=np.uint8)
        first = ctypes.c_char.from_buffer(pages)
        library = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
        place = ctypes.c_void_p(ctypes.addressof(first))
        failed = library.mincore(place, ctypes.c_size_t(size), ctypes.c_void_p(held.ctypes.data))
        del first
        pages.close()
        return 0 if failed else min(size, mmap.PAGESIZE * int(np.count_nonzero(held & 1)))
    return 0
