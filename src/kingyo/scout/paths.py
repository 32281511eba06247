"""References of models as the files of a folder write them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from kingyo.core.io.model_names import is_local, local_path
from kingyo.merging.checkpoints.model_reference import parse_reference


def relative_to(reference: str, folder: Path) -> str:
    """Return a reference of a model as a run.yaml in a folder writes it."""
    parsed = parse_reference(reference)
    lora = None if parsed.lora is None else relative_path(parsed.lora, folder)
    return str(replace(parsed, model=relative_path(parsed.model, folder), lora=lora))


def relative_path(name: str, folder: Path) -> str:
    """Return the path of a local file or folder relative to a folder; other names stay."""
    there = folder.resolve()
    return os.path.relpath(os.path.normpath(local_path(name)), there) if is_local(name) else name
