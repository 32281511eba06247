"""Read JSON columns of the run database."""

from __future__ import annotations

import json
import sqlite3
from typing import TypeVar, cast

T = TypeVar("T")


def decoded(text: object, kind: type[T], name: str) -> T:
    """Return the value of a JSON column.

    Args:
        text: content of the column.
        kind: expected type.
        name: name of the column, for messages.

    Raises:
        sqlite3.DataError: it is not JSON, or of another type: someone edited the file.
    """
    try:
        value: object = json.loads(cast("str", text))
    except (TypeError, ValueError) as error:
        raise sqlite3.DataError(f"{name} is not JSON: {str(text)[:40]!r}") from error
    if not isinstance(value, kind):
        raise sqlite3.DataError(f"{name} is not a {kind.__name__}: {str(text)[:40]!r}")
    return value


def decoded_numbers(text: object, name: str) -> tuple[float, ...]:
    """Return the value of a JSON column of numbers; raises as ``decoded``."""
    values = cast("list[object]", decoded(text, list, name))
    if not all(isinstance(value, int | float) for value in values):
        raise sqlite3.DataError(f"{name} is not a list of numbers: {str(text)[:40]!r}")
    return tuple(float(cast("float", value)) for value in values)
