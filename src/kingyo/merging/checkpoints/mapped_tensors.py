"""Map the bytes of tensors from their files, and notice files that changed since they were opened.

A merge maps tensors one by one, so that their memory is freed when they are dropped. A search, which reads
all tensors for every candidate, maps each file once: every map keeps a file open, and systems limit their
number.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.merging.checkpoints.header import TensorInfo

FileStamp = tuple[int, int, int, int]
"""Size, mtime (ns), ctime (ns) and inode; a copy can preserve only the first two."""


class MappedFiles:
    """Files that stay mapped for repeated reads."""

    def __init__(self) -> None:
        self._pages: dict[Path, mmap.mmap] = {}

    def tensor(self, info: TensorInfo) -> Tensor:
        if info.n_elements == 0:
            return map_tensor(info)
        if info.file not in self._pages:
            self._pages[info.file] = _map(info, 0, 0)
        pages = self._pages[info.file]
        if len(pages) < info.start + info.n_bytes:
            raise _changed_error(info, f"{len(pages)} bytes")
        return _view(info, pages, info.start)


def map_tensor(info: TensorInfo) -> Tensor:
    """Return a tensor as stored, on the CPU. Its pages are private: writes never reach the file.

    Raises:
        KingyoError: the file is gone, or shorter than when it was opened.
    """
    if info.n_elements == 0:
        return torch.empty(info.shape, dtype=getattr(torch, info.dtype))
    return _view(info, *_own_pages(info))


def map_bytes(info: TensorInfo) -> NDArray[np.uint8]:
    """Return the bytes of a tensor of any dtype, mapped without torch; see ``map_tensor``."""
    if info.n_elements == 0:
        return np.empty(0, dtype=np.uint8)
    pages, lead = _own_pages(info)
    stored = np.frombuffer(pages, dtype=np.uint8, count=info.n_bytes, offset=lead)
    return np.roll(stored, -info.first_row * info.n_bytes // info.shape[0]) if info.first_row else stored


def file_stamps(files: Iterable[Path]) -> dict[Path, FileStamp]:
    return {file: stamp for file in sorted(files) if (stamp := _stamp(file)) is not None}


def check_stamps(reference: str, seen: Mapping[Path, FileStamp]) -> None:
    for file, stamp in seen.items():
        now = _stamp(file)
        if now != stamp:
            expected = "files that have not changed since it was opened"
            received = f"{file.name}, which {'is gone' if now is None else 'changed'}"
            remedy = "Run the command again, and do not change sources during a merge."
            raise ChangedSourceError(reference, expected, received, remedy)


def _stamp(file: Path) -> FileStamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _own_pages(info: TensorInfo) -> tuple[mmap.mmap, int]:
    lead = info.start % mmap.ALLOCATIONGRANULARITY
    return _map(info, lead + info.n_bytes, info.start - lead), lead


def _map(info: TensorInfo, length: int, offset: int) -> mmap.mmap:
    try:
        with info.file.open("rb") as stream:
            return mmap.mmap(stream.fileno(), length, access=mmap.ACCESS_COPY, offset=offset)
    except (OSError, ValueError) as error:
        raise _changed_error(info, str(error)) from error


def _view(info: TensorInfo, pages: mmap.mmap, start: int) -> Tensor:
    dtype = getattr(torch, info.dtype)
    raw = torch.frombuffer(pages, dtype=torch.uint8, count=info.n_bytes, offset=start)
    if info.start % dtype.itemsize:
        raw = raw.clone()  # unaligned data (a header of odd length) cannot be viewed as numbers
    stored = raw.view(dtype).view(info.shape)
    return torch.roll(stored, -info.first_row, 0) if info.first_row else stored


def _changed_error(info: TensorInfo, received: str) -> KingyoError:
    expected = "a file that has not changed since it was opened"
    remedy = "Put the file back and run the command again; do not change sources during a merge."
    return KingyoError(f"{info.file}: {info.name}", expected, received, remedy)
