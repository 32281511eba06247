"""Preview a model on the Hub without its weights, so that a dry run need not download them.

The preview is a folder with the model's small files. Its weight files have the true header and no data: they
are sparse, take no room on the disk, and read as zeros.
"""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from http import HTTPStatus
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

SAFETENSORS = "*.safetensors"
_AT_ONCE = 1 << 17  # bytes; most headers are shorter, so that one request is enough
_LONGEST = 100_000_000  # bytes of a header that safetensors allows
_SECONDS = 10.0  # without an answer


def peek(name: str, revision: str | None, wanted: Sequence[str], ignored: str) -> tuple[Path, int] | None:
    """Preview a model on the Hub: files of the ``wanted`` patterns without those of ``ignored``.

    Returns:
        Its folder, deleted when the process ends, and the bytes of weights that were not downloaded. None if
        the cache has all weights, or the Hub does not answer (the later download reports why).

    Raises:
        OSError, ValueError: the small files or a header cannot be read.
    """
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
    except Exception:  # noqa: BLE001 - huggingface_hub raises the errors of several libraries
        return None
    try:
        return None if info.sha is None else _peek(name, info, wanted, ignored)
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _peek(name: str, info: ModelInfo, wanted: Sequence[str], ignored: str) -> tuple[Path, int] | None:
    from huggingface_hub import (
        hf_hub_url,
        snapshot_download,  # pyright: ignore[reportUnknownVariableType]
        try_to_load_from_cache,
    )

    assert info.sha is not None
    missing = {
        each.rfilename: each.size
        for each in info.siblings or ()
        if fnmatch(each.rfilename, SAFETENSORS)
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
    shutil.copytree(small, folder, copy_function=_link)
    for file, size in missing.items():
        if not (folder / file).resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"a file outside of the model: {file}")
        _write_header(folder / file, hf_hub_url(name, file, revision=info.sha), size)
    return folder, sum(missing.values())


def _link(file: str, link: str) -> None:
    Path(link).symlink_to(Path(file).resolve())


def _write_header(target: Path, url: str, size: int) -> None:
    """Write the header of a file as it is, so that reading it finds what is wrong with it."""
    start = _fetch(url, 0, _AT_ONCE)
    end = 8 + int.from_bytes(start[:8], "little")
    rest = _fetch(url, _AT_ONCE, end) if _AT_ONCE < end <= _LONGEST else b""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        out.write((start + rest)[:end])
        out.truncate(size)


def _fetch(url: str, start: int, end: int) -> bytes:
    from huggingface_hub.utils import (
        build_hf_headers,  # pyright: ignore[reportUnknownVariableType]
        get_session,
        hf_raise_for_status,
    )

    headers = {**build_hf_headers(), "range": f"bytes={start}-{end - 1}"}
    with get_session().stream("GET", url, headers=headers, timeout=_SECONDS) as response:
        hf_raise_for_status(response)
        first = start if response.status_code == HTTPStatus.PARTIAL_CONTENT else 0  # a proxy may send all
        content = bytearray()
        for part in response.iter_bytes():
            content += part
            if len(content) >= end - first:
                break
    return bytes(content[start - first : end - first])
