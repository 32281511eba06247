"""The values of cells: as text, as lists, and inside mappings."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import cast


def stringify(value: object) -> str:
    """Return a cell as text: 3.0 is "3", true is "true", null is empty, lists and mappings are JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(Decimal(repr(value or 0.0)), "f").removesuffix(".0")  # no negative zero
    if isinstance(value, int):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def holds_bytes(value: object) -> bool:
    """Return whether a cell holds an image as bytes (as in the library ``datasets``) or decoded."""
    if isinstance(value, str | int | float | None):
        return False
    if isinstance(value, Mapping):
        return set(cast("Mapping[str, object]", value)) == {"bytes", "path"}
    if isinstance(value, list | tuple):
        return any(map(holds_bytes, cast("Sequence[object]", value)))
    return isinstance(value, bytes | bytearray) or is_decoded(value)


def is_decoded(value: object) -> bool:
    """Return whether a value is a Pillow image, without importing Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def parse_list(cell: object) -> object:
    """Return a cell, with a JSON list (as in CSV files and exported tasks) parsed."""
    if isinstance(cell, str) and cell.startswith("["):
        with suppress(ValueError, RecursionError):
            return cast(object, json.loads(cell))
    return cell


def value_at(columns: Mapping[str, object], name: str) -> object:
    """Return the cell of a column, or the value at ``column.key`` in a mapping; None without one.

    Example:
        >>> value_at({"answers": {"text": ["red"]}}, "answers.text")
        ['red']
    """
    outer, dot, key = name.partition(".")
    inside = columns.get(outer)
    if name in columns or not dot or not isinstance(inside, Mapping):
        return columns.get(name)
    return cast("Mapping[str, object]", inside).get(key)


def names_in(columns: Mapping[str, object]) -> list[str]:
    """Return the names that ``value_at`` knows: the columns, and ``column.key`` for those in mappings."""
    mappings = {
        name: cast("Mapping[str, object]", cell)
        for name, cell in columns.items()
        if isinstance(cell, Mapping) and not holds_bytes(cast(object, cell))
    }
    return [*columns, *(f"{name}.{key}" for name, mapping in mappings.items() for key in mapping)]
