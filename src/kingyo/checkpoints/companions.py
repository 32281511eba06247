"""Copy config, tokenizer and licence from one checkpoint to a new one. Code is copied only on request."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path, PurePath
from typing import cast

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.folder_files import SEEING, SPEAKING

COPIED = (
    *SPEAKING,
    *SEEING,
    "LICENSE*",
    "NOTICE*",
)
"""Patterns of the files that are copied besides the config."""

CODE = ("*.py",)
"""Patterns of the code that a config may refer to (``auto_map``)."""

_DTYPE_KEYS = ("dtype", "torch_dtype")


def copy_companions(
    folder: Path, like: Checkpoint, without: Collection[str] = (), more: Collection[str] = ()
) -> None:
    """Copy tokenizer, licence and similar files to a new checkpoint.

    Args:
        folder: folder of the new checkpoint.
        like: the checkpoint to copy from.
        without: patterns of names to leave out.
        more: patterns of further files.

    Raises:
        OSError: a file cannot be read or written.
    """
    for pattern in (*COPIED, *more):
        for file in sorted(like.path.glob(pattern)):
            name = file.relative_to(like.path)
            if file.is_file() and not any(PurePath(name).match(each) for each in without):
                (folder / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(file, folder / name)


def config_of(like: Checkpoint, dtype: str | None) -> dict[str, object]:
    """Return the ``config.json`` of a checkpoint, changed to weights of a dtype."""
    config = dict(like.config)
    if dtype is None:
        return config
    if "_class_name" not in config and not any(key in config for key in _DTYPE_KEYS):  # not a diffusers model
        config["torch_dtype"] = dtype
    return _with_dtype(config, dtype)


def write_json(file: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file in the format of transformers."""
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _with_dtype(config: Mapping[str, object], dtype: str) -> dict[str, object]:
    """Replace the dtype wherever a config or a nested config states one."""
    return {
        key: dtype
        if key in _DTYPE_KEYS and isinstance(value, str)
        else _with_dtype(cast("Mapping[str, object]", value), dtype)
        if key.endswith("_config") and isinstance(value, dict)
        else value
        for key, value in config.items()
    }
