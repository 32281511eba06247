"""What a pickle of torch says it holds, and where in the file the numbers of each tensor are.

Only ``torch.load(weights_only=True)`` reads it, which builds tensors and calls nothing else. It builds them
without numbers, so that these are mapped tensor by tensor, as those of safetensors are.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import BinaryIO, cast
from zipfile import ZIP_STORED, ZipFile, ZipInfo, is_zipfile

from kingyo.checkpoints.header import WIDTHS, TensorInfo, check_no_pointer
from kingyo.errors import KingyoError
from kingyo.late import Tensor, torch

_LOCAL = 30  # bytes of a zip's local header before the name
_SAVE_AGAIN = "Load it where you trust it, and save it again as safetensors."


def read_pickle(file: Path) -> dict[str, TensorInfo]:
    """Read which tensors a pickle of torch holds, and no number of them.

    Returns:
        Tensors by name, in the order of their data.

    Raises:
        KingyoError: it holds code or anything but tensors, is damaged, or is of torch before 1.6.
    """
    room = _records(file)
    infos = [_info(file, name, tensor, room) for name, tensor in _load(file).items()]
    return {info.name: info for info in sorted(infos, key=lambda each: each.start)}


def _load(file: Path) -> Mapping[object, object]:
    try:
        found: object = torch.load(file, map_location="meta", weights_only=True, mmap=True)  # pyright: ignore[reportUnknownMemberType]
    except UnpicklingError as error:
        reason = str(error).partition("GLOBAL ")[2].split(maxsplit=1)
        code = f"code that it would run ({reason[0]})" if reason else "something else"
        raise _unfit(file, "a pickle of tensors alone", code, _SAVE_AGAIN) from error
    except Exception as error:  # whatever a damaged file makes torch raise
        raise _unfit(file, "a sound pickle of torch", f"{type(error).__name__}: {error!s:.200}") from error
    if not isinstance(found, Mapping) or not found:
        received = "none" if isinstance(found, Mapping) else type(found).__name__
        raise _unfit(file, "names and their tensors", received, _SAVE_AGAIN)
    return cast("Mapping[object, object]", found)


def _info(file: Path, name: object, tensor: object, room: Mapping[int, int]) -> TensorInfo:
    """Where a tensor is, after checking that it is there.

    Args:
        file: the pickle.
        name, tensor: what it holds.
        room: where in the file the data of tensors begin -> their bytes.
    """
    told = f"{file}: {name!r:.200}"
    if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
        raise _unfit(told, "a tensor", type(tensor).__name__, _SAVE_AGAIN)
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or dtype not in WIDTHS:
        raise _unfit(told, "a dense tensor", f"{tensor.layout}, {tensor.dtype}", _SAVE_AGAIN)
    if not tensor.is_contiguous():
        raise _unfit(told, "numbers one behind the other", f"strides {tensor.stride()}", _SAVE_AGAIN)
    begin = _begin(tensor)
    offset = int(tensor.storage_offset()) * WIDTHS[dtype]
    info = TensorInfo(name=name, shape=tuple(tensor.shape), dtype=dtype, file=file, start=begin + offset)
    if offset + info.n_bytes > room.get(begin, -1):
        raise _unfit(told, f"{info.n_bytes:,} bytes", f"{room.get(begin, 0) - offset:,}")
    return info


def _begin(tensor: Tensor) -> int:
    """Where the data that a tensor is a view of begin in its file."""
    begin = getattr(tensor.untyped_storage(), "_checkpoint_offset", None)
    if begin is None:
        raise KingyoError(
            "torch",
            expected="a version that says where in a pickle its tensors are",
            received=torch.__version__,
            remedy="Install a newer torch, or convert the model to safetensors.",
        )
    return cast("int", begin)


def _records(file: Path) -> dict[int, int]:
    """Where in the file the data of tensors begin -> their bytes, as the zip says it."""
    check_no_pointer(file)
    try:
        is_zip = is_zipfile(file)
        order, data = _directory(file) if is_zip else (b"", ())
        with file.open("rb") as stream:
            room = {_data_start(stream, each): each.file_size for each in data}
    except Exception as error:  # whatever a damaged file makes zipfile raise
        raise _unfit(file, "a sound pickle of torch", f"{type(error).__name__}: {error!s:.200}") from error
    if not is_zip:
        raise _unfit(
            file,
            "a whole file of torch.save, of torch 1.6 or later",
            "an empty file" if not file.stat().st_size else "no zip archive: it is cut off, damaged or older",
            "Fetch it again. If torch before 1.6 wrote it, load it where you trust it and save it again.",
        )
    if order not in (b"", sys.byteorder.encode()):
        raise _unfit(file, f"numbers in {sys.byteorder} endian order", f"{order!r:.80}", _SAVE_AGAIN)
    if any(each.compress_type != ZIP_STORED for each in data):
        raise _unfit(file, "tensors that can be mapped", "a compressed zip", _SAVE_AGAIN)
    return room


def _directory(file: Path) -> tuple[bytes, Sequence[ZipInfo]]:
    """The order of bytes that a zip states, and its records with data of tensors."""
    with ZipFile(file) as archive:
        records = archive.infolist()
        order = next((archive.read(each) for each in records if each.filename.endswith("/byteorder")), b"")
        return order, [each for each in records if "/data/" in each.filename]


def _data_start(stream: BinaryIO, record: ZipInfo) -> int:
    """Where the data of a record begin: behind its own header, whose length the directory does not tell."""
    stream.seek(record.header_offset)
    n_name, n_extra = struct.unpack("<26x2H", stream.read(_LOCAL))
    return record.header_offset + _LOCAL + n_name + n_extra


def _unfit(file: Path | str, expected: str, received: str, remedy: str | None = None) -> KingyoError:
    return KingyoError(
        str(file),
        expected=expected,
        received=received,
        remedy=remedy or "The file is damaged: fetch or write it again.",
    )
