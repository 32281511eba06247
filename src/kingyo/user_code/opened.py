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
    """Return the SHA-256 of the user's files below a folder that were read; empty if also written.

    A file is hashed in the first call after it was opened. A file that was replaced, moved or removed counts
    as written.
    """
    known, paths = _digests.setdefault(root, {}), list(_read)
    fresh = paths[_n_looked_at.get(root, 0) :]
    _n_looked_at[root] = len(paths)
    written = {in_place(Path(each)) for each in list(_written)}
    for path in own_files((in_place(Path(_source(each))) for each in fresh), root):
        if path not in known:
            known[path] = "" if path in written else digest_of_path(path)
    return {path: "" if path in written else value for path, value in known.items()}


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        path, mode, flags = arguments
        is_write = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        if is_write or (isinstance(mode, str) and not {*"wax+"}.isdisjoint(mode)):
            _written.update(_name(path))
        else:
            _read.update(dict.fromkeys(_name(path)))
    elif event == "os.rename":  # also os.replace and shutil.move
        old, new, *folders = arguments
        _written.update(*map(_name, (old, new), folders))
    elif event == "os.remove":
        _written.update(_name(*arguments))


def _name(path: object, folder: object = -1) -> tuple[str, ...]:
    """Return the absolute path of a file, or nothing for a descriptor, and for a path in an open folder."""
    if folder != -1 or not isinstance(path, str | bytes | os.PathLike):
        return ()
    name = os.fsdecode(cast("str | bytes | os.PathLike[str]", path))
    return (os.path.abspath(name),)  # noqa: PTH100 (called at every open)


def _source(path: str) -> str:
    """Return the module of a compiled file; other paths stay."""
    try:
        return source_from_cache(path) if path.endswith(".pyc") else path
    except ValueError:
        return path
