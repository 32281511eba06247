"""Preview a model on the Hub without its weights, so that a dry run need not download them.

The preview is a folder with the model's small files. Its weight files have the true header and no data: they
are sparse, take no room on the disk, and read as zeros.
"""

from __future__ import annotations

import atexit
import json
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

SAFETENSORS = "*.safetensors"


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
    for file in missing:
        if not (folder / file).resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"a file outside of the model: {file}")
        _write_header(folder / file, name, info.sha, file)
    return folder, sum(missing.values())


def _link(file: str, link: str) -> None:
    Path(link).symlink_to(Path(file).resolve())


def _write_header(target: Path, name: str, commit: str, file: str) -> None:
    from huggingface_hub import HfApi

    stored = HfApi().parse_safetensors_file_metadata(name, file, revision=commit)
    header: dict[str, object] = {"__metadata__": stored.metadata}
    for tensor, info in stored.tensors.items():
        header[tensor] = {"dtype": info.dtype, "shape": info.shape, "data_offsets": info.data_offsets}
    text = json.dumps(header).encode()
    n_bytes = max((info.data_offsets[1] for info in stored.tensors.values()), default=0)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        out.truncate(out.tell() + n_bytes)
