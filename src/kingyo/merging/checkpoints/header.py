"""The headers of weight files: read and check those of safetensors and pickles, and lay out new files.

Only ``torch.load(weights_only=True)`` reads a pickle, which runs no code from it. It loads tensors without
data, which is mapped later tensor by tensor, as from safetensors.

Sizes of new files follow from shapes and dtypes, so headers are complete before tensors are computed, and any
thread may write any span of any tensor.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import BinaryIO, cast
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from safetensors import SafetensorError, safe_open

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.io.yaml import parse_json
from kingyo.errors import KingyoError

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
_CODES = {name: code for code, (name, _) in DTYPES.items()}
_ALIGNMENT = 64  # bytes; safetensors requires 8, vector instructions prefer more
_MAX_SIZE = 1 << 63
_MAX_AXES = 64  # the limit of torch
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """A tensor of a checkpoint.

    Attributes:
        name: its name.
        shape: its shape.
        dtype: torch's name of the dtype that ``read`` returns.
        file: the file that holds it; a folder if the tensor is computed (a LoRA merged on the fly).
        start: offset of its first byte in the file.
        stored_as: dtype on disk of a computed tensor, where it differs.
        first_row: the row in the file that is read first; the rows before it follow at the end.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: Path
    start: int
    stored_as: str | None = None
    first_row: int = 0

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
    """Return the tensors in a safetensors file by name, in the order of their data.

    Raises:
        KingyoError: the file is truncated or its header does not match it.
    """
    return read_header_and_metadata(file)[0]


def read_header_and_metadata(file: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Read the tensors of ``read_header``, and the texts in the header's ``__metadata__``."""
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
    infos = (_info(file, name, entry, 8 + length) for name, entry in header.items())
    return {info.name: info for info in sorted(infos, key=lambda each: (each.start, each.n_bytes))}, metadata


def _info(file: Path, name: str, entry: Mapping[str, object], data: int) -> TensorInfo:
    code, shape = cast("str", entry["dtype"]), tuple(cast("list[int]", entry["shape"]))
    is_odd = len(shape) > _MAX_AXES or math.prod(filter(None, shape)) >= _MAX_SIZE
    if is_odd or code not in DTYPES:  # other codes of the format are those of quantised models
        expected = "weights that can be merged"
        remedy = "Name the original, unquantised model, or fetch the file again."
        raise KingyoError(f"{file}: {name}", expected, f"{code} {list(shape)}"[:200], remedy)
    start = data + cast("list[int]", entry["data_offsets"])[0]
    return TensorInfo(name=name, shape=shape, dtype=DTYPES[code][0], file=file, start=start)


def check_no_pointer(file: Path) -> None:
    with file.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            remedy = "Run `git lfs install`, then `git lfs pull` in this folder."
            raise KingyoError(str(file), "weights", "a Git LFS pointer", remedy)


@dataclass(frozen=True, kw_only=True)
class OutTensor:
    """A tensor to write: name, shape and torch's name of its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * WIDTHS[self.dtype]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file: its final name, its header, the offset of each tensor, and its size in bytes."""

    file: str
    header: bytes
    starts: Mapping[str, int]
    n_bytes: int


def lay_out(tensors: Sequence[OutTensor], max_shard_bytes: int, stem: str = "model") -> tuple[Shard, ...]:
    """Split tensors, in order, into shards. A tensor larger than a shard has one of its own."""
    groups: list[list[OutTensor]] = []
    filled = 0
    for tensor in tensors:
        if not groups or (filled and filled + tensor.n_bytes > max_shard_bytes):
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += tensor.n_bytes
    count = len(groups)
    names = (
        [f"{stem}.safetensors"]
        if count == 1
        else [f"{stem}-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    )
    return tuple(_shard(name, group) for name, group in zip(names, groups, strict=True))


def index_of(shards: Iterable[Shard]) -> dict[str, object]:
    files = tuple(shards)
    total = sum(shard.n_bytes - len(shard.header) for shard in files)
    weight_map = {name: shard.file for shard in files for name in shard.starts}
    return {"metadata": {"total_size": total}, "weight_map": weight_map}


def _shard(file: str, tensors: Sequence[OutTensor]) -> Shard:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offsets: dict[str, int] = {}
    end = 0
    for tensor in tensors:
        offsets[tensor.name] = end
        entries[tensor.name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [end, end + tensor.n_bytes],
        }
        end += tensor.n_bytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text = text.ljust(len(text) + -(len(text) + 8) % _ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    starts = {name: len(header) + offset for name, offset in offsets.items()}
    return Shard(file=file, header=header, starts=starts, n_bytes=len(header) + end)


_LOCAL = 30  # bytes of a zip's local header before the name
_SAVE_AGAIN = "Load the file where you trust it, and save it again as safetensors."
_FETCH_AGAIN = (
    "Fetch it again: it is cut off or damaged. If torch before 1.6 wrote it, load it where you trust it, and "
    "save it again."
)


def read_pickle(file: Path, *, within: str | None = None) -> dict[str, TensorInfo]:
    """Return the descriptions of the tensors in a torch pickle by name, in the order of their data.

    ``within`` is the key of the mapping with the tensors, in a file that has one.

    Raises:
        KingyoError: the file holds code or other objects, is damaged, or was written by torch before 1.6.
    """
    loaded, room = _load(file, within)
    infos = [_pickled_info(file, name, tensor, room) for name, tensor in loaded.items()]
    return {info.name: info for info in sorted(infos, key=lambda each: each.start)}


def _load(file: Path, within: str | None) -> tuple[Mapping[object, object], dict[int, int]]:
    try:
        check_no_pointer(file)
        room = _records(file)
        loaded: object = torch.load(file, map_location="meta", weights_only=True, mmap=True)  # pyright: ignore[reportUnknownMemberType]
    except UnpicklingError as error:
        reason = str(error).partition("GLOBAL ")[2].split(maxsplit=1)
        content = f"code that it would run ({reason[0]})" if reason else "other objects"
        raise _pickle_error(file, "a pickle with only tensors", content) from error
    except KingyoError:
        raise
    except Exception as error:  # torch and zipfile raise errors of several types on damaged files
        expected = "a complete file of torch.save, of torch 1.6 or later"
        remedy = _FETCH_AGAIN if isinstance(error, BadZipFile) else _SAVE_AGAIN
        raise _pickle_error(file, expected, f"{type(error).__name__}: {error!s:.200}", remedy) from error
    if within is not None and isinstance(loaded, Mapping) and within in loaded:
        loaded = cast("Mapping[object, object]", loaded)[within]
    if not isinstance(loaded, Mapping) or not loaded:
        received = "an empty one" if isinstance(loaded, Mapping) else type(loaded).__name__
        raise _pickle_error(file, "a mapping of names to tensors", received)
    return cast("Mapping[object, object]", loaded), room


def _records(file: Path) -> dict[int, int]:
    """Return the offset of each record of a zip -> its bytes; refuse zips that torch reads wrongly."""
    with ZipFile(file) as archive, file.open("rb") as stream:
        for record in archive.infolist():
            if record.compress_type != ZIP_STORED:
                raise ValueError("a compressed zip")
            if record.filename.endswith("/byteorder") and archive.read(record) != sys.byteorder.encode():
                raise ValueError("numbers in another byte order")
        return {_data_start(stream, each): each.file_size for each in archive.infolist()}


def _data_start(stream: BinaryIO, record: ZipInfo) -> int:
    """Return the offset of a record's data, after its local header, whose length only the header states."""
    stream.seek(record.header_offset)
    n_name, n_extra = struct.unpack("<26x2H", stream.read(_LOCAL))
    return record.header_offset + _LOCAL + n_name + n_extra


def _pickled_info(file: Path, name: object, tensor: object, room: Mapping[int, int]) -> TensorInfo:
    entry = f"{file}: {name!r:.200}"
    if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
        raise _pickle_error(entry, "a tensor", type(tensor).__name__)
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or dtype not in WIDTHS or not tensor.is_contiguous():
        raise _pickle_error(entry, "a dense, contiguous tensor", f"{tensor.layout}, {dtype}")
    begin = _begin(tensor)
    offset = int(tensor.storage_offset()) * WIDTHS[dtype]
    info = TensorInfo(name=name, shape=tuple(tensor.shape), dtype=dtype, file=file, start=begin + offset)
    if offset + info.n_bytes > room.get(begin, -1):
        raise _pickle_error(entry, f"{info.n_bytes:,} bytes", f"{room.get(begin, 0) - offset:,}")
    return info


def _begin(tensor: Tensor) -> int:
    begin = getattr(tensor.untyped_storage(), "_checkpoint_offset", None)
    if begin is None:
        raise _pickle_error(
            "torch", "a newer version, which reports the offsets of tensors", torch.__version__
        )
    return cast("int", begin)


def _pickle_error(file: Path | str, expected: str, received: str, remedy: str = _SAVE_AGAIN) -> KingyoError:
    return KingyoError(str(file), expected, received, remedy)
