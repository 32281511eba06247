"""Read headers of safetensors files, and check them against the size of the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from safetensors import SafetensorError, safe_open

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
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: Path
    start: int
    stored_as: str | None = None

    @property
    def stored_dtype(self) -> str:
        """The dtype on disk; a merge is rounded to it unless the recipe sets another."""
        return self.stored_as or self.dtype

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Size in bytes."""
        return self.n_elements * WIDTHS[self.dtype]

    @property
    def element_size(self) -> int:
        """Bytes per element."""
        return WIDTHS[self.dtype]

    @property
    def is_floating(self) -> bool:
        """Return whether its dtype is floating-point, so that it can be merged."""
        return "float" in self.dtype


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Read and check the header of a safetensors file.

    Returns:
        Tensors by name, in the order of their data.

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
            header = cast("dict[str, dict[str, object]]", json.loads(stream.read(length)))
    except (OSError, ValueError, SafetensorError) as error:
        raise KingyoError(
            str(file),
            expected="a complete safetensors file",
            received=f"{error!s:.200}",
            remedy="Fetch or write the file again: it is damaged.",
        ) from error
    metadata = cast("dict[str, str]", header.pop("__metadata__", None) or {})
    infos = (_info(file, name, entry, 8 + length) for name, entry in header.items())
    return {info.name: info for info in sorted(infos, key=lambda each: (each.start, each.n_bytes))}, metadata


def _info(file: Path, name: str, entry: Mapping[str, object], data: int) -> TensorInfo:
    """Describe the tensor of an entry; the data begin at the byte ``data`` of the file."""
    code, shape = cast("str", entry["dtype"]), tuple(cast("list[int]", entry["shape"]))
    if code not in DTYPES:
        raise KingyoError(
            f"{file}: {name}",
            expected="weights that can be merged",
            received=f"a quantised model ({code})",
            remedy="Name the original, unquantised model.",
        )
    if len(shape) > _MAX_AXES or math.prod(filter(None, shape)) >= _MAX_SIZE:
        raise KingyoError(
            f"{file}: {name}",
            expected="a shape that torch supports",
            received=f"{list(shape)}"[:200],
            remedy="Fetch or write the file again: it is damaged.",
        )
    start = data + cast("list[int]", entry["data_offsets"])[0]
    return TensorInfo(name=name, shape=shape, dtype=DTYPES[code][0], file=file, start=start)


def check_no_pointer(file: Path) -> None:
    """Check that a file is not a pointer of Git LFS."""
    with file.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise KingyoError(
                str(file),
                expected="weights",
                received="a Git LFS pointer",
                remedy="Run `git lfs install`, then `git lfs pull` in this folder.",
            )
