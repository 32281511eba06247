"""What a safetensors file says it holds, checked against the file itself before anyone reads a weight.

It reads headers only and knows nothing of models.
"""

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
"""The format's names of dtypes -> torch's names and bytes an element."""

WIDTHS: Mapping[str, int] = dict(DTYPES.values())
"""torch's names of dtypes -> bytes an element."""
_LONGEST = 100_000_000  # the format's own bound on headers
_LARGEST = 1 << 63
_MOST_AXES = 64  # torch's own bound
_FIELDS = ("dtype", "shape", "data_offsets")
_CODES = ("F4", "F6_E2M3", "F6_E3M2", "F8_E8M0")
"""Dtypes of the format that only quantised models have."""


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One tensor of a checkpoint: name, shape, dtype (torch's name), and in which file and byte it starts.

    One that is computed when it is read (a LoRA merged on the fly) is in no file, and ``stored_as`` is the
    dtype that its model keeps it in: ``dtype`` is always that of what ``read`` returns.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: Path
    start: int
    stored_as: str | None = None

    @property
    def stored_dtype(self) -> str:
        """The dtype that its model keeps it in; a merge is rounded to it unless the recipe says else."""
        return self.stored_as or self.dtype

    @property
    def n_elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """How many bytes they take in the file."""
        return self.n_elements * WIDTHS[self.dtype]

    @property
    def element_size(self) -> int:
        """How many bytes one of them takes."""
        return WIDTHS[self.dtype]

    @property
    def is_floating(self) -> bool:
        """Whether it holds floating-point numbers (and so can be merged)."""
        return "float" in self.dtype


_POINTER = b"version https://git-lfs"


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Read and check the header of a safetensors file.

    Returns:
        Tensors by name, in the order of their data.

    Raises:
        KingyoError: the file is truncated or its header is not true of it.
    """
    return read_header_and_metadata(file)[0]


def read_header_and_metadata(file: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Read what ``read_header`` reads, and the texts that the header holds beside it."""
    try:
        with file.open("rb") as stream:
            size = file.stat().st_size
            begin = stream.read(8)
            if begin == _POINTER[:8]:
                check_no_pointer(file)
            length = int.from_bytes(begin, "little")
            if not 0 < length <= min(size - 8, _LONGEST):
                raise _broken(file, "a header within the file", f"{length:,} bytes of it in {size:,}")
            raw = stream.read(1)
            if raw != b"{":  # before a hundred megabytes are read
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
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    for name in found:
        name.encode("utf-8")  # half a surrogate is no text: nobody could print it
    return found


def _no_number(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


def _metadata(file: Path, metadata: object) -> dict[str, str]:
    texts = cast("dict[str, object]", metadata).values() if isinstance(metadata, dict) else (None,)
    if not all(isinstance(text, str) for text in texts):
        raise _broken(file, "__metadata__ that maps texts to texts", f"{metadata!r:.200}")
    return cast("dict[str, str]", metadata)


def _span(file: Path, name: str, entry: object) -> tuple[int, int]:
    """First and last byte + 1 of a tensor within the data, after checking its entry."""
    told = f"{name!r:.200}"
    if not isinstance(entry, dict):
        raise _broken(file, f"dtype, shape and data_offsets of {told}", type(entry).__name__)
    fields = cast("dict[str, object]", entry)
    dtype = fields.get("dtype")
    if dtype in _CODES:
        raise KingyoError(
            f"{file}: {told}",
            expected="weights that can be merged",
            received=f"a quantised model ({dtype})",
            remedy="Name the model as it was before it was quantised.",
        )
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _broken(file, f"a known dtype of {told}", f"{dtype!r:.200}")
    shape, offsets = _sizes(fields.get("shape")), _sizes(fields.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2 or len(fields) != len(_FIELDS):
        raise _broken(file, f"shape and data_offsets of {told}", f"{fields!r:.200}")
    wanted = math.prod(shape) * DTYPES[dtype][1]
    if offsets[1] - offsets[0] != wanted or math.prod(filter(None, shape)) >= _LARGEST:
        raise _broken(file, f"{wanted:,} bytes for {told} {list(shape)}", f"{offsets[1] - offsets[0]:,}")
    return offsets[0], offsets[1]


def _sizes(value: object) -> tuple[int, ...] | None:
    numbers = cast("list[object]", value if isinstance(value, list) else [None])
    if len(numbers) > _MOST_AXES or not all(type(each) is int and 0 <= each < _LARGEST for each in numbers):
        return None
    return tuple(cast("list[int]", numbers))


def _info(file: Path, name: str, entry: object, start: int) -> TensorInfo:
    fields = cast("dict[str, object]", entry)
    shape = tuple(cast("list[int]", fields["shape"]))
    dtype = DTYPES[cast(str, fields["dtype"])][0]
    return TensorInfo(name=name, shape=shape, dtype=dtype, file=file, start=start)


def check_no_pointer(file: Path) -> None:
    """Refuse what Git LFS leaves in place of a large file.

    Raises:
        KingyoError: the file is that.
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise KingyoError(
                str(file),
                expected="weights",
                received="a pointer of Git LFS to them",
                remedy="Fetch them: `git lfs install`, then `git lfs pull` in this folder.",
            )


def _broken(file: Path, expected: str, received: str) -> KingyoError:
    return KingyoError(
        str(file),
        expected=expected,
        received=received,
        remedy="The file is damaged: fetch or write it again.",
    )
