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
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
"""The format's names of dtypes -> torch's names and bytes an element."""

_WIDTHS: Mapping[str, int] = dict(DTYPES.values())
_LONGEST = 100_000_000  # the format's own bound on headers


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
        return self.n_elements * _WIDTHS[self.dtype]

    @property
    def is_floating(self) -> bool:
        """Whether it holds floating-point numbers (and so can be merged)."""
        return "float" in self.dtype


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Read and check the header of a safetensors file.

    Returns:
        Tensors by name, in the order of their data.

    Raises:
        KingyoError: the file is truncated or its header is not true of it.
    """
    try:
        with file.open("rb") as stream:
            size = file.stat().st_size
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(size - 8, _LONGEST):
                raise _broken(file, "a header within the file", f"{length:,} bytes of it in {size:,}")
            raw = stream.read(length)
    except OSError as error:
        raise _broken(file, "a readable file", error.strerror or str(error)) from error
    entries = _parse(file, raw)
    entries.pop("__metadata__", None)
    spans = {name: _span(file, name, entry) for name, entry in entries.items()}
    in_order = sorted(spans, key=lambda name: spans[name])
    end = 0
    for name in in_order:
        if spans[name][0] != end:
            raise _broken(file, f"'{name}' at byte {end:,} of the data", f"byte {spans[name][0]:,}")
        end = spans[name][1]
    if end != size - 8 - length:
        raise _broken(file, f"{end:,} bytes of tensors", f"{size - 8 - length:,}")
    data = 8 + length
    return {name: _info(file, name, entries[name], data + spans[name][0]) for name in in_order}


def _parse(file: Path, raw: bytes) -> dict[str, object]:
    try:
        parsed: object = json.loads(raw, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise _broken(file, "a header in JSON", str(error)) from error
    if not isinstance(parsed, dict):
        raise _broken(file, "a header that maps names to tensors", type(parsed).__name__)
    return cast("dict[str, object]", parsed)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _span(file: Path, name: str, entry: object) -> tuple[int, int]:
    """First and last byte + 1 of a tensor within the data, after checking its entry."""
    if not isinstance(entry, dict):
        raise _broken(file, f"dtype, shape and data_offsets of '{name}'", type(entry).__name__)
    fields = cast("dict[str, object]", entry)
    dtype = fields.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _broken(file, f"a known dtype of '{name}'", repr(dtype))
    shape, offsets = _sizes(fields.get("shape")), _sizes(fields.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2:
        raise _broken(file, f"shape and data_offsets of '{name}'", f"{fields}"[:200])
    wanted = math.prod(shape) * DTYPES[dtype][1]
    if offsets[1] - offsets[0] != wanted:
        raise _broken(file, f"{wanted:,} bytes for '{name}' {list(shape)}", f"{offsets[1] - offsets[0]:,}")
    return offsets[0], offsets[1]


def _sizes(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    numbers = cast("list[object]", value)
    if not all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in numbers):
        return None
    return tuple(cast("list[int]", numbers))


def _info(file: Path, name: str, entry: object, start: int) -> TensorInfo:
    fields = cast("dict[str, object]", entry)
    shape = tuple(cast("list[int]", fields["shape"]))
    dtype = DTYPES[cast(str, fields["dtype"])][0]
    return TensorInfo(name=name, shape=shape, dtype=dtype, file=file, start=start)


def _broken(file: Path, expected: str, received: str) -> KingyoError:
    return KingyoError(
        str(file),
        expected=expected,
        received=received,
        remedy="The file is damaged: fetch or write it again.",
    )
