"""Models on the Hub, as far as their small files and the headers of their weights tell.

A merge of models that do not fit should not begin with fetching them. Files of weights are made here that
have a header and their size, and no weights: what was not written of them takes no room, and reads as zeros.
"""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import BinaryIO, NamedTuple, cast

_WEIGHTS = "*.safetensors"
_AT_ONCE = 1 << 17  # bytes; most headers are shorter, and one request is enough
_LONGEST = 100_000_000  # bytes of a header, as safetensors allows


class Peeked(NamedTuple):
    """A model that was looked at.

    Attributes:
        path: a folder as it would be, but for the weights; it is gone when the process ends.
        n_missing: bytes of weights that are not there.
    """

    path: Path
    n_missing: int


def peek(name: str, revision: str | None, wanted: Sequence[str], ignored: str) -> Peeked | None:
    """Look at a model on the Hub.

    Args:
        name, revision: which.
        wanted, ignored: patterns of its files.

    Returns:
        None where there is nothing to gain, since all of its weights are in the cache; or where the Hub does
        not let it be looked at, of which who fetches it then will hear.
    """
    try:
        return _peek(name, revision, wanted, ignored)
    except Exception:  # noqa: BLE001 - those of any library that the Hub's own is built on
        return None


def _peek(name: str, revision: str | None, wanted: Sequence[str], ignored: str) -> Peeked | None:
    from huggingface_hub import (
        HfApi,
        snapshot_download,  # pyright: ignore[reportUnknownVariableType]
        try_to_load_from_cache,
    )

    info = HfApi().model_info(name, revision=revision, files_metadata=True)
    if info.sha is None:
        return None
    missing = {
        each.rfilename: each.size
        for each in info.siblings or ()
        if fnmatch(each.rfilename, _WEIGHTS)
        and any(fnmatch(each.rfilename, pattern) for pattern in wanted)
        and not fnmatch(each.rfilename, ignored)
        and each.size is not None
        and not isinstance(try_to_load_from_cache(name, each.rfilename, revision=info.sha), str)
    }
    if not missing:
        return None
    small = snapshot_download(
        name, revision=info.sha, allow_patterns=list(wanted), ignore_patterns=[ignored, *missing]
    )
    root = Path(mkdtemp(prefix="kingyo-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    folder = root / f"models--{name.replace('/', '--')}" / "snapshots" / info.sha
    _link_all(Path(small), folder)
    for file, size in missing.items():
        _write_header(folder / _safe(file), size, _header(f"{name}@{info.sha}/{file}"))
    return Peeked(folder, sum(missing.values()))


def _link_all(source: Path, target: Path) -> None:
    for file in source.rglob("*"):
        if file.is_file():
            link = target / file.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            try:
                link.symlink_to(file.resolve())
            except OSError:  # a system without links
                shutil.copyfile(file, link)


def _safe(file: str) -> Path:
    """The name of a file within its model, which the Hub says."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"a file outside of the model: {file}")
    return Path(path)


def _header(file: str) -> bytes:
    """The first bytes of a file on the Hub: its header, as far as it is one."""
    from huggingface_hub import HfFileSystem

    opened = cast("BinaryIO", HfFileSystem().open(file, "rb", cache_type="none"))  # pyright: ignore[reportUnknownMemberType]
    with opened:
        first = opened.read(_AT_ONCE)
        end = 8 + int.from_bytes(first[:8], "little")
        rest = opened.read(end - _AT_ONCE) if _AT_ONCE < end <= _LONGEST else b""
    return (first + rest)[:end]


def _write_header(file: Path, size: int, header: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        out.write(header[:size])
        out.truncate(size)
