"""The files of the user that this process opens, by an audit hook of Python.

It sees imports under computed names and data files. It does not see what C code opens by itself, such as
SQLite, nor other processes.
"""

from __future__ import annotations

import os
import sys
from importlib.util import source_from_cache
from pathlib import Path
from typing import cast

from kingyo.user_code.files import in_place, own_files
from kingyo.user_code.versions import digest_of_path

_read: dict[str, None] = {}
_written: set[str] = set()
_digests: dict[Path, dict[Path, str]] = {}
_n_looked_at: dict[Path, int] = {}


def watch() -> None:
    """Note from now on which files this process opens."""
    sys.addaudithook(_note)


def opened_below(root: Path) -> dict[Path, str]:
    """Return the SHA-256 of the user's files below a folder that were read and never written.

    A file is hashed in the first call after it was opened.
    """
    known, paths = _digests.setdefault(root, {}), list(_read)
    fresh = paths[_n_looked_at.get(root, 0) :]
    _n_looked_at[root] = len(paths)
    for path in own_files((in_place(Path(_source(each))) for each in fresh), root):
        if path not in known:
            known[path] = digest_of_path(path)
    written = {in_place(Path(each)) for each in list(_written)}
    return {path: value for path, value in known.items() if path not in written}


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or not isinstance(arguments[0], str | bytes | os.PathLike):
        return  # a descriptor, or another event
    path, mode, flags = cast("tuple[str | bytes | os.PathLike[str], object, object]", arguments)
    name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (called at every open)
    is_write = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
    if is_write or (isinstance(mode, str) and not {*"wax+"}.isdisjoint(mode)):
        _written.add(name)
    else:
        _read[name] = None


def _source(path: str) -> str:
    """Return the module of a compiled file; other paths stay."""
    try:
        return source_from_cache(path) if path.endswith(".pyc") else path
    except ValueError:
        return path
