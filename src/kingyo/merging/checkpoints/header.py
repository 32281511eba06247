"""The headers of weight files, safetensors and pickles: read, checked, and mapped tensor by tensor.

Only ``torch.load(weights_only=True)`` reads a pickle, which runs no code from it.
"""

from __future__ import annotations

import math
import mmap
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import cast
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.io.yaml import parse_json
from kingyo.errors import ChangedSourceError, KingyoError

DTYPES: Mapping[str, tuple[str, int]] = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 1),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 1),
    "C64": ("complex64", 8),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U64": ("uint64", 8),
    "U32": ("uint32", 4),
    "U16": ("uint16", 2),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
"""safetensors dtype -> (torch dtype, bytes per element)."""

WIDTHS: Mapping[str, int] = dict(DTYPES.values())
"""torch dtype -> bytes per element."""
_MAX_SIZE = 1 << 63
_MAX_AXES = 64  # the limit of torch
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """A tensor of a checkpoint."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # torch's name of the dtype that ``read`` returns
    file: Path  # the file that holds it; a folder if the tensor is computed (a LoRA merged on the fly)
    start: int  # offset of its first byte in the file
    stored_as: str | None = None  # dtype on disk of a computed tensor, where it differs
    first_row: int = 0  # the row in the file that is read first; the rows before it follow at the end

    @property
    def stored_dtype(self) -> str:
        """The dtype on disk; a merge is rounded to it unless the recipe sets another."""
        return self.stored_as or self.dtype

    @property
    def n_elements(self) -> int:
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        return self.n_elements * WIDTHS[self.dtype]

    @property
    def element_size(self) -> int:
        return WIDTHS[self.dtype]

    def rows(self, start: int, end: int) -> TensorInfo:
        row = math.prod(self.shape[1:]) * self.element_size
        return replace(self, shape=(end - start, *self.shape[1:]), start=self.start + start * row)

    @property
    def is_floating(self) -> bool:
        return "float" in self.dtype


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Return the tensors in a safetensors file by name, in the order of their data."""
    return read_header_and_metadata(file)[0]


def read_header_and_metadata(file: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    try:
        check_no_pointer(file)
        with safe_open(file, framework="numpy"):  # the library checks the header against the file's size
            pass
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = cast("dict[str, dict[str, object]]", parse_json(stream.read(length)))
    except KingyoError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        remedy = "Fetch or write the file again: it is damaged."
        raise KingyoError(str(file), "a complete safetensors file", f"{error!s:.200}", remedy) from error
    metadata = cast("dict[str, str]", header.pop("__metadata__", None) or {})
    infos: list[TensorInfo] = []
    for name, entry in header.items():
        code, shape = cast("str", entry["dtype"]), tuple(cast("list[int]", entry["shape"]))
        is_odd = len(shape) > _MAX_AXES or math.prod(filter(None, shape)) >= _MAX_SIZE
        if is_odd or code not in DTYPES:  # other codes of the format are those of quantised models
            expected = "weights that can be merged"
            remedy = "Name the original, unquantised model, or fetch the file again."
            raise KingyoError(f"{file}: {name}", expected, f"{code} {list(shape)}"[:200], remedy)
        start = 8 + length + cast("list[int]", entry["data_offsets"])[0]
        infos.append(TensorInfo(name=name, shape=shape, dtype=DTYPES[code][0], file=file, start=start))
    return {info.name: info for info in sorted(infos, key=lambda each: (each.start, each.n_bytes))}, metadata


def check_no_pointer(file: Path) -> None:
    with file.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            remedy = "Run `git lfs install`, then `git lfs pull` in this folder."
            raise KingyoError(str(file), "weights", "a Git LFS pointer", remedy)


_LOCAL = 30  # bytes of a zip's local header before the name


def read_pickle(file: Path, *, within: str | None = None) -> dict[str, TensorInfo]:
    """Return the tensors in a torch pickle, or ``within`` a key of it, in the order of their data."""
    loaded, room = _load(file, within)
    infos = [_pickled_info(file, name, tensor, room) for name, tensor in loaded.items()]
    return {info.name: info for info in sorted(infos, key=lambda each: each.start)}


def _load(file: Path, within: str | None) -> tuple[Mapping[object, object], dict[int, int]]:
    try:
        check_no_pointer(file)
        room = _records(file)
        loaded: object = torch.load(file, map_location="meta", weights_only=True, mmap=True)  # pyright: ignore[reportUnknownMemberType]
    except UnpicklingError as error:
        code = str(error).partition("GLOBAL ")[2].split(maxsplit=1)
        received = f"code that it would run ({code[0]})" if code else "other objects"
        raise _pickle_error(file, received) from error
    except KingyoError:
        raise
    except Exception as error:  # torch and zipfile raise errors of several types on damaged files
        raise _pickle_error(file, f"{type(error).__name__}: {error!s:.200}") from error
    if within is not None and isinstance(loaded, Mapping) and within in loaded:
        loaded = cast("Mapping[object, object]", loaded)[within]
    if not isinstance(loaded, Mapping) or not loaded:
        raise _pickle_error(file, "an empty one" if isinstance(loaded, Mapping) else type(loaded).__name__)
    return cast("Mapping[object, object]", loaded), room


def _pickle_error(
    file: Path | str,
    received: str,
    expected: str = "tensors that torch 1.6 or later has saved",
) -> KingyoError:
    remedy = "Fetch it again; or load it where you trust it, and save it as safetensors."
    return KingyoError(str(file), expected, received, remedy)


def _records(file: Path) -> dict[int, int]:
    sizes: dict[int, int] = {}
    with ZipFile(file) as archive, file.open("rb") as stream:
        for record in archive.infolist():
            if record.compress_type != ZIP_STORED:
                raise ValueError("a compressed zip")
            if record.filename.endswith("/byteorder") and archive.read(record) != sys.byteorder.encode():
                raise ValueError("numbers in another byte order")
            stream.seek(record.header_offset)  # only the local header states its length
            n_name, n_extra = struct.unpack("<26x2H", stream.read(_LOCAL))
            sizes[record.header_offset + _LOCAL + n_name + n_extra] = record.file_size
    return sizes


def _pickled_info(file: Path, name: object, tensor: object, room: Mapping[int, int]) -> TensorInfo:
    entry = f"{file}: {name!r:.200}"
    if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
        raise _pickle_error(entry, type(tensor).__name__, "a tensor")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or dtype not in WIDTHS or not tensor.is_contiguous():
        raise _pickle_error(entry, f"{tensor.layout}, {dtype}", "a dense, contiguous tensor")
    begin = cast("int", getattr(tensor.untyped_storage(), "_checkpoint_offset", -1))  # of torch 2.7 or later
    if begin < 0:
        raise _pickle_error("torch", torch.__version__, "2.7 or later, which reports the offsets of tensors")
    offset = int(tensor.storage_offset()) * WIDTHS[dtype]
    info = TensorInfo(name=name, shape=tuple(tensor.shape), dtype=dtype, file=file, start=begin + offset)
    if offset + info.n_bytes > room.get(begin, -1):
        raise _pickle_error(entry, f"{room.get(begin, 0) - offset:,}", f"{info.n_bytes:,} bytes")
    return info


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
    """Return a tensor as stored, on the CPU. Its pages are private: writes never reach the file."""
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
    """Return the stamps of those files that exist."""
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
