"""Items and graders that a program has as objects, written as the files that a task names.

So a run of a notebook can be resumed, and a changed grader is noticed, as with files of the user.
"""

import inspect
import json
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from kingyo.errors import KingyoError

AnyItems = Sequence[Mapping[str, object]] | Any
"""A list of dicts, or a data frame of pandas or polars."""
AnyGrader = str | Callable[..., object]


def with_inputs(
    task: Mapping[str, object], data: AnyItems | None, grader: AnyGrader | None, folder: Path
) -> dict[str, object]:
    """Return the keys of a task with data and grader, which are written into a folder."""
    changed = dict(task)
    if data is not None:
        changed["data"] = str(_write(folder / "items.jsonl", _lines(rows_of(data))))
    if grader is not None:
        changed["grader"] = grader if isinstance(grader, str) else _grader(grader, folder / "grader.py")
    return changed


def rows_of(data: Any) -> list[dict[str, object]]:
    """Return items as dicts; a cell that is missing in a data frame has no key."""
    if hasattr(data, "to_dicts"):  # polars
        data = data.to_dicts()
    elif hasattr(data, "columns") and hasattr(data, "to_dict"):  # pandas
        data = data.to_dict(orient="records")
    rows = list(cast("Iterable[object]", data)) if isinstance(data, Iterable) else []
    if not rows or isinstance(data, str | Mapping) or not all(isinstance(row, Mapping) for row in rows):
        expected = "a list of dicts or a data frame, with a row for each item"
        remedy = "Pass rows such as {'prompt': '1 + 1 =', 'answer': '2'}."
        raise KingyoError("data", expected, f"{data!r:.80}", remedy)
    return [
        {str(key): cell for key, cell in row.items() if cell is not None and not _is_nan(cell)}
        for row in cast("list[Mapping[object, object]]", rows)
    ]


def _is_nan(cell: object) -> bool:
    return isinstance(cell, float) and math.isnan(cell)


def _lines(rows: Sequence[Mapping[str, object]]) -> str:
    def plain(cell: Any) -> object:  # numbers and arrays of numpy
        if hasattr(cell, "tolist"):
            return cell.tolist()
        expected = "cells that JSON can hold: texts, numbers, and lists of them"
        remedy = "Convert the column; images are named by their paths."
        raise KingyoError("data", expected, f"{cell!r:.80}", remedy)

    return "".join(json.dumps(row, ensure_ascii=False, default=plain) + "\n" for row in rows)


def _grader(function: object, file: Path) -> str:
    """Return the name of a function in the file of its module; one without a file gets one.

    Other names that a function of a notebook or script uses must be modules, which its file imports.
    """
    name = getattr(function, "__name__", "")
    if not inspect.isfunction(function) or not name.isidentifier() or function.__qualname__ != name:
        raise _not_a_function(f"{function!r:.80}")
    home = None if function.__module__ == "__main__" else inspect.getsourcefile(function)
    if home is not None and Path(home).is_file():
        return f"{Path(home).resolve()}:{name}"
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except OSError as error:
        raise _not_a_function("a function whose source is unknown") from error
    used = inspect.getclosurevars(function)
    imports = "from __future__ import annotations\n\n"
    for key, value in used.globals.items():
        if not isinstance(value, ModuleType):
            raise _not_a_function(f"{name}, which uses {key} from outside")
        imports += f"import {value.__name__} as {key}\n"
    return f"{_write(file, imports + source)}:{name}"


def _not_a_function(received: str) -> KingyoError:
    expected = "a function (answer, item) that uses only its arguments and modules, or a name"
    remedy = "Write what it needs inside it, or put it into a file and pass 'file.py:function'."
    return KingyoError("grader", expected, received, remedy)


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file.resolve()
