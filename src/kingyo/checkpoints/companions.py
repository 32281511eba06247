"""What a checkpoint has beside its weights: config, tokenizer, licence. Which of it a new one takes over.

Code is never among it unless it is asked for, and never run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path, PurePath
from typing import cast

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.files import SEEING, SPEAKING

COPIED = (
    *SPEAKING,
    *SEEING,
    "LICENSE*",
    "NOTICE*",
)
"""What a new checkpoint takes over from the one that it is like, beside its config. No code."""

CODE = ("*.py",)
"""What its config may name as code (``auto_map``)."""

_DTYPE_KEYS = ("dtype", "torch_dtype")


def copy_companions(
    folder: Path, like: Checkpoint, without: Collection[str] = (), more: Collection[str] = ()
) -> None:
    """Copy the files that a new checkpoint takes over.

    Args:
        folder: of the new one.
        like: the one that it is like.
        without: patterns of names that are left out.
        more: patterns of further files.

    Raises:
        OSError: one cannot be read or written.
    """
    for pattern in (*COPIED, *more):
        for file in sorted(like.path.glob(pattern)):
            name = file.relative_to(like.path)
            if file.is_file() and not any(PurePath(name).match(left_out) for left_out in without):
                (folder / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(file, folder / name)


def config_of(like: Checkpoint, dtype: str | None) -> dict[str, object]:
    """The ``config.json`` of a checkpoint that is like another, with weights of this dtype."""
    config = dict(like.config)
    if dtype is None:
        return config
    if "_class_name" not in config and not any(key in config for key in _DTYPE_KEYS):  # not diffusers'
        config["torch_dtype"] = dtype
    return _with_dtype(config, dtype)


def write_json(file: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file as transformers does."""
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _with_dtype(config: Mapping[str, object], dtype: str) -> dict[str, object]:
    """The config, and those of parts in it, with another dtype where they state one."""
    return {
        key: dtype
        if key in _DTYPE_KEYS and isinstance(value, str)
        else _with_dtype(cast("Mapping[str, object]", value), dtype)
        if key.endswith("_config") and isinstance(value, dict)
        else value
        for key, value in config.items()
    }
