"""From what a user writes to an opened checkpoint: a local folder, else a name on the Hub.

From the Hub it takes weights in safetensors, configuration and tokenizer; no code and no pickles.
"""

from __future__ import annotations

import re
from pathlib import Path

from kingyo.checkpoints.checkpoint import Checkpoint, read_checkpoint
from kingyo.errors import KingyoError

_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?$")
_WANTED = (
    "*.safetensors",
    "*.json",
    "*.jinja",
    "*.txt",
    "*.model",
    "*.tiktoken",
    "README.md",
    "LICENSE*",
    "NOTICE*",
)
_DOUBLED = "consolidated*"  # the same weights again, in Mistral's own layout


def whole_path(reference: str, folder: Path | None = None) -> Path | None:
    """The whole path of a local model; None for a name on the Hub. Arguments as for ``open_checkpoint``."""
    path = _path(reference, folder)
    return path.resolve() if path.is_dir() else None


def _path(reference: str, folder: Path | None) -> Path:
    return (folder or Path.cwd()) / Path(reference).expanduser()


def open_checkpoint(reference: str, folder: Path | None = None) -> Checkpoint:
    """Open a checkpoint.

    Args:
        reference: a folder, relative to ``folder``; else ``org/name`` or ``org/name@revision`` on the Hub.
        folder: where relative paths begin; the current one when None.

    Raises:
        KingyoError: it is neither, cannot be fetched, or is not a sound checkpoint.
    """
    if not reference:
        raise KingyoError(
            "model",
            expected="a folder or a Hub name",
            received="an empty text",
            remedy="Fill in the path or the name of a model.",
        )
    path = _path(reference, folder)
    if path.is_dir():
        return read_checkpoint(reference, path)
    if path.exists():
        raise KingyoError(
            reference,
            expected="a folder",
            received="a file",
            remedy="Name the folder that holds config.json.",
        )
    if "+" in reference:
        remedy = "Merge the adapter into its base first (peft: merge_and_unload)."
        raise KingyoError(
            reference, expected="a whole model", received="a LoRA, not supported yet", remedy=remedy
        )
    if not _HUB_NAME.match(reference):
        raise KingyoError(
            reference,
            expected="a folder with a checkpoint, or a name on the Hub (org/name)",
            received="neither",
            remedy=f"Correct the path: there is no folder {path}.",
        )
    return read_checkpoint(reference, _fetch(reference, path))


def _fetch(reference: str, path: Path) -> Path:
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]

    name, _, revision = reference.partition("@")
    try:
        return Path(
            snapshot_download(
                name, revision=revision or None, allow_patterns=list(_WANTED), ignore_patterns=_DOUBLED
            )
        )
    except (
        OSError,
        ValueError,
    ) as error:  # the Hub's errors, and those of the network below it, are OSErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise KingyoError(
            reference,
            expected="a folder, or a model on the Hub that can be fetched",
            received=f"no folder {path}; {type(error).__name__}: {reason[:200]}",
            remedy="Correct the path or the name; log in with `hf auth login` if the model is not public.",
        ) from error
