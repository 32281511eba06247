"""Read the names, shapes and file offsets of the tensors in a torch pickle.

Only ``torch.load(weights_only=True)`` reads the file, which runs no code from it. It loads tensors without
data, which is mapped later tensor by tensor, as from safetensors.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import BinaryIO, cast
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from kingyo.checkpoints.header import WIDTHS, TensorInfo, check_no_pointer
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, torch

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
    infos = [_info(file, name, tensor, room) for name, tensor in loaded.items()]
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


def _info(file: Path, name: object, tensor: object, room: Mapping[int, int]) -> TensorInfo:
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
