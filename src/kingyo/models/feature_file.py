"""A file of tensors without a name, for image features that do not fit into memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, cast
from weakref import finalize

import torch
from torch import Tensor

FILE_BYTES = 32 << 30
"""Limit in bytes of a file."""
SEGMENT_BYTES = 256 << 20
"""Bytes of a file that are mapped together. A mapping holds a file descriptor, so there must be few."""
_ALIGNMENT = 64


class FileFullError(Exception):
    """A file has reached a limit, or cannot be written."""


@dataclass(kw_only=True)
class _Segment:
    """The bytes of a file from ``start`` to ``end``; the mapping may lack the last of them."""

    start: int
    end: int
    mapping: mmap.mmap | None = None


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor in a file, at ``offset`` of a segment."""

    segment: _Segment
    offset: int
    shape: torch.Size
    dtype: torch.dtype

    @property
    def end(self) -> int:
        """Offset of the first byte after it."""
        return self.offset + self.shape.numel() * self.dtype.itemsize


class FeatureFile:
    """Tensors on a disk. The file has no name, so the system deletes it however the process ends.

    Tensors are written with ``pwrite``, so that a full disk is an error and not a signal. They are read
    through copy-on-write mappings, whose memory the system can reclaim.

    Args:
        folder: a folder on the disk.
        least_free: bytes of the disk that stay free.

    Raises:
        FileFullError: the folder cannot be written.
    """

    def __init__(self, folder: Path, least_free: int) -> None:
        try:
            with TemporaryFile(dir=folder) as file:
                self._file = os.dup(file.fileno())
        except OSError as error:
            raise FileFullError(str(error)) from error
        finalize(self, os.close, self._file)
        self._least_free = least_free
        self._segments = [_Segment(start=0, end=0)]

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return self._segments[-1].end

    def append(self, tensors: Sequence[Tensor]) -> list[StoredTensor]:
        """Write tensors and return their places.

        Raises:
            FileFullError: the file would be larger than ``FILE_BYTES``, the disk would have less than
                ``least_free`` bytes, or the system refuses. The file stays as before.
        """
        size = sum(tensor.nbytes + _ALIGNMENT for tensor in tensors)
        segment = self._segment(size)
        self._require_room(segment.end + size - self.n_bytes)
        places, end = list[StoredTensor](), segment.end - segment.start
        for tensor in tensors:
            offset = _aligned(end, _ALIGNMENT)
            place = StoredTensor(segment=segment, offset=offset, shape=tensor.shape, dtype=tensor.dtype)
            self._write(segment.start + offset, tensor)
            places.append(place)
            end = place.end
        if segment is not self._segments[-1]:
            self._segments.append(segment)
        segment.end = segment.start + end
        return places

    def read(self, place: StoredTensor) -> Tensor:
        """Return a stored tensor, on the CPU. Do not write into it.

        Raises:
            OSError: the system refuses the mapping.
        """
        segment = place.segment
        if segment.mapping is None or len(segment.mapping) < place.end:
            size, start = segment.end - segment.start, segment.start
            segment.mapping = mmap.mmap(self._file, size, offset=start, access=mmap.ACCESS_COPY)
        flat = torch.frombuffer(
            segment.mapping, dtype=place.dtype, count=place.shape.numel(), offset=place.offset
        )
        return flat.view(place.shape)

    def _segment(self, size: int) -> _Segment:
        """Return the last segment if it has room, else a new one."""
        last = self._segments[-1]
        if last.end + size - last.start <= SEGMENT_BYTES:
            return last
        start = _aligned(last.end, mmap.ALLOCATIONGRANULARITY)
        return _Segment(start=start, end=start)

    def _require_room(self, size: int) -> None:
        if self.n_bytes + size > FILE_BYTES:
            raise FileFullError(f"a file has at most {FILE_BYTES:,} bytes")
        if free_bytes(self._file) - size < self._least_free:
            raise FileFullError("half of the disk space that was free is used")

    def _write(self, position: int, tensor: Tensor) -> None:
        flat = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
        data = memoryview(cast("Any", flat.numpy()))
        try:
            while data:
                written = os.pwrite(self._file, data, position)
                data, position = data[written:], position + written
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self.n_bytes)  # mappings end before
            raise FileFullError(str(error)) from error


def free_bytes(place: Path | int) -> int:
    """Return the free bytes of the disk of a path or an open file."""
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize


def _aligned(n: int, to: int) -> int:
    return -(-n // to) * to
