"""A tensor's bytes, mapped from its file: for as long as somebody holds the tensor, or for good.

Mapping tensors one by one is what keeps a merge of large models small: a tensor that was read leaves the
process's memory when it is dropped, and the system's file cache still has it. A search, which reads every
tensor for every candidate, maps whole files, once: each mapping keeps a file open, and of files there are
few.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kingyo.checkpoints.header import TensorInfo
from kingyo.errors import KingyoError
from kingyo.late import Tensor, torch


class MappedFiles:
    """Files that stay mapped."""

    def __init__(self) -> None:
        self._pages: dict[Path, mmap.mmap] = {}

    def tensor(self, info: TensorInfo) -> Tensor:
        """``map_tensor``, from the whole file.

        Raises:
            KingyoError: see ``map_tensor``.
        """
        if info.n_elements == 0:
            return map_tensor(info)
        if info.file not in self._pages:
            self._pages[info.file] = _map(info, 0, 0)
        pages = self._pages[info.file]
        if len(pages) < info.start + info.n_bytes:
            raise _changed(info, f"{len(pages)} bytes")
        return _view(info, pages, info.start)


def map_tensor(info: TensorInfo) -> Tensor:
    """Return a tensor as stored, on the CPU. Its pages are private: a write would never reach the file.

    Raises:
        KingyoError: the file is gone or shorter than when it was opened.
    """
    if info.n_elements == 0:
        return torch.empty(info.shape, dtype=getattr(torch, info.dtype))
    return _view(info, *_own_pages(info))


def map_bytes(info: TensorInfo) -> NDArray[np.uint8]:
    """The bytes of a tensor, as ``map_tensor`` maps them: without torch, and of any dtype.

    Raises:
        KingyoError: see ``map_tensor``.
    """
    if info.n_elements == 0:
        return np.empty(0, dtype=np.uint8)
    pages, lead = _own_pages(info)
    return np.frombuffer(pages, dtype=np.uint8, count=info.n_bytes, offset=lead)


def _own_pages(info: TensorInfo) -> tuple[mmap.mmap, int]:
    """The pages that hold a tensor alone, and where in them it begins."""
    lead = info.start % mmap.ALLOCATIONGRANULARITY
    return _map(info, lead + info.n_bytes, info.start - lead), lead


def _map(info: TensorInfo, length: int, offset: int) -> mmap.mmap:
    try:
        with info.file.open("rb") as stream:
            return mmap.mmap(stream.fileno(), length, access=mmap.ACCESS_COPY, offset=offset)
    except (OSError, ValueError) as error:
        raise _changed(info, str(error)) from error


def _view(info: TensorInfo, pages: mmap.mmap, start: int) -> Tensor:
    dtype = getattr(torch, info.dtype)
    raw = torch.frombuffer(pages, dtype=torch.uint8, count=info.n_bytes, offset=start)
    if info.start % dtype.itemsize:
        raw = raw.clone()  # a header of odd length: such bytes cannot be viewed as numbers
    return raw.view(dtype).view(info.shape)


def _changed(info: TensorInfo, received: str) -> KingyoError:
    return KingyoError(
        f"{info.file}: {info.name}",
        expected="the file as it was when it was opened",
        received=received,
        remedy="Leave the sources in place while they are merged; put the file back and go on.",
    )
