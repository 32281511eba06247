"""Read headers of safetensors files, and check them against the size of the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

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
_MAX_HEADER_BYTES = 100_000_000  # bytes of a header, the limit of the format
_MAX_NUMBER = 1 << 63
_MAX_AXES = 64  # the limit of torch
_FIELDS = ("dtype", "shape", "data_offsets")
_CODES = ("F4", "F6_E2M3", "F6_E3M2", "F8_E8M0")
"""Dtypes of the format that only quantised models use."""


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


_POINTER = b"version https://git-lfs"


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
        with file.open("rb") as stream:
            size = file.stat().st_size
            begin = stream.read(8)
            if begin == _POINTER[:8]:
                check_no_pointer(file)
            length = int.from_bytes(begin, "little")
            if not 0 < length <= min(size - 8, _MAX_HEADER_BYTES):
                raise _broken(file, "a header within the file", f"{length:,} bytes of it in {size:,}")
            raw = stream.read(1)
            if raw != b"{":  # checked before reading up to 100 MB
                raise _broken(file, "a header that maps names to tensors, which begins with '{'", repr(raw))
            raw += stream.read(length - 1)
    except OSError as error:
        raise _broken(file, "a readable file", error.strerror or str(error)) from error
    entries = _parse(file, raw)
    metadata = _metadata(file, entries.pop("__metadata__", {}))
    spans = {name: _span(file, name, entry) for name, entry in entries.items()}
    in_order = sorted(spans, key=lambda name: spans[name])
    end = 0
    for name in in_order:
        if spans[name][0] != end:
            received = f"byte {spans[name][0]:,}"
            raise _broken(file, f"{name!r:.200} at byte {end:,} of the data", received)
        end = spans[name][1]
    if end != size - 8 - length:
        raise _broken(file, f"{end:,} bytes of tensors", f"{size - 8 - length:,}")
    data = 8 + length
    return {name: _info(file, name, entries[name], data + spans[name][0]) for name in in_order}, metadata


def _parse(file: Path, raw: bytes) -> dict[str, object]:
    try:
        text = raw.decode("utf-8")
        parsed: object = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _broken(file, "a header in JSON", f"{error!s:.200}") from error
    if not isinstance(parsed, dict):
        raise _broken(file, "a header that maps names to tensors", type(parsed).__name__)
    return cast("dict[str, object]", parsed)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name occurs twice")
    for name in entries:
        name.encode("utf-8")  # raises on half a surrogate, which cannot be printed
    return entries


def _no_number(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _metadata(file: Path, metadata: object) -> dict[str, str]:
    texts = cast("dict[str, object]", metadata).values() if isinstance(metadata, dict) else (None,)
    if not all(isinstance(text, str) for text in texts):
        raise _broken(file, "__metadata__ that maps texts to texts", f"{metadata!r:.200}")
    return cast("dict[str, str]", metadata)


def _span(file: Path, name: str, entry: object) -> tuple[int, int]:
    """Check the entry of a tensor, and return its first byte in the data and the one after its last."""
    quoted = f"{name!r:.200}"
    if not isinstance(entry, dict):
        raise _broken(file, f"dtype, shape and data_offsets of {quoted}", type(entry).__name__)
    fields = cast("dict[str, object]", entry)
    dtype = fields.get("dtype")
    if dtype in _CODES:
        raise KingyoError(
            f"{file}: {quoted}",
            expected="weights that can be merged",
            received=f"a quantised model ({dtype})",
            remedy="Name the original, unquantised model.",
        )
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _broken(file, f"a known dtype of {quoted}", f"{dtype!r:.200}")
    shape, offsets = _sizes(fields.get("shape")), _sizes(fields.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2 or len(fields) != len(_FIELDS):
        raise _broken(file, f"shape and data_offsets of {quoted}", f"{fields!r:.200}")
    wanted = math.prod(shape) * DTYPES[dtype][1]
    if offsets[1] - offsets[0] != wanted or math.prod(filter(None, shape)) >= _MAX_NUMBER:
        raise _broken(file, f"{wanted:,} bytes for {quoted} {list(shape)}", f"{offsets[1] - offsets[0]:,}")
    return offsets[0], offsets[1]


def _sizes(value: object) -> tuple[int, ...] | None:
    numbers = cast("list[object]", value if isinstance(value, list) else [None])
    if len(numbers) > _MAX_AXES or not all(type(each) is int and 0 <= each < _MAX_NUMBER for each in numbers):
        return None
    return tuple(cast("list[int]", numbers))


def _info(file: Path, name: str, entry: object, start: int) -> TensorInfo:
    fields = cast("dict[str, object]", entry)
    shape = tuple(cast("list[int]", fields["shape"]))
    dtype = DTYPES[cast(str, fields["dtype"])][0]
    return TensorInfo(name=name, shape=shape, dtype=dtype, file=file, start=start)


def check_no_pointer(file: Path) -> None:
    """Check that a file is not a pointer of Git LFS.

    Raises:
        KingyoError: the file is a pointer.
        OSError: the file cannot be read.
    """
    with file.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise KingyoError(
                str(file),
                expected="weights",
                received="a Git LFS pointer",
                remedy="Run `git lfs install`, then `git lfs pull` in this folder.",
            )


def _broken(file: Path, expected: str, received: str) -> KingyoError:
    return KingyoError(
        str(file),
        expected=expected,
        received=received,
        remedy="Fetch or write the file again: it is damaged.",
    )
