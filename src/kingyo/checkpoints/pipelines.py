"""Find the files of the diffusers pipeline around a component."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.folder_files import has_weights, parts_of, read_weights
from kingyo.checkpoints.locate import open_checkpoint
from kingyo.errors import KingyoError


def whole_pipeline(
    checkpoint: Checkpoint, folder: Path | None = None, *, fetch: bool = True, allow_pickle: bool = False
) -> Mapping[str, Path]:
    """Return the files of the pipeline around a component, by name; downloaded if it is on the Hub.

    Raises:
        KingyoError: the model is not a component, or the pipeline lacks folders or weights that its index
            lists.
    """
    stored = _stored(checkpoint)
    if stored.pipeline is None:
        expected = "a component of a diffusers pipeline"
        raise KingyoError(stored.reference, expected, "a model without a pipeline", "Remove --pipeline.")
    parts = parts_of(stored.pipeline_index)
    others = {name: is_model for name, is_model in parts.items() if name != stored.path.absolute().name}
    opened = open_checkpoint(
        stored.reference, folder, fetch=fetch, allow_pickle=allow_pickle, around=[*others]
    )
    files = opened.around
    folders = {name.partition("/")[0] for name in files}
    root = opened.path.absolute().parent
    missing = sorted(
        name
        for name, is_model in others.items()
        if name not in folders or (is_model and not (has_weights(root / name) or _has_pickles(files, name)))
    )
    if missing:
        raise KingyoError(
            stored.reference,
            f"a complete pipeline around it: {', '.join(sorted(parts))}",
            f"one without {', '.join(missing)}, or without their weights in safetensors",
            "Complete the pipeline, or write only the component: export with --no-pipeline, merge "
            "without --pipeline.",
        )
    for name, is_model in others.items():
        if is_model and has_weights(root / name):
            read_weights(root / name)  # raises if a shard is missing
    return files


def _stored(checkpoint: Checkpoint) -> Checkpoint:
    """Return the on-disk checkpoint whose folder a virtual checkpoint uses."""
    while checkpoint.made_of:
        parts = checkpoint.made_of
        checkpoint = next((each for each in parts if each.path == checkpoint.path), parts[0])
    return checkpoint.owner


def _has_pickles(files: Mapping[str, Path], name: str) -> bool:
    return any(file.startswith(f"{name}/") and file.endswith(".bin") for file in files)
