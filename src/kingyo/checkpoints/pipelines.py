"""The whole pipeline of diffusers around a component: what must be written for others to load it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.files import has_weights, parts_of, read_weights
from kingyo.checkpoints.locate import open_checkpoint
from kingyo.errors import KingyoError


def whole_pipeline(
    checkpoint: Checkpoint, folder: Path | None = None, *, fetch: bool = True, allow_pickle: bool = False
) -> Mapping[str, Path]:
    """Return the files of the pipeline around a component, by their names in it; of the Hub they are fetched.

    Args:
        checkpoint: the component, or what is computed from it.
        folder: where relative paths begin.
        fetch, allow_pickle: see ``open_checkpoint``.

    Raises:
        KingyoError: it is no component, or the pipeline lacks folders or weights that its index
            names.
    """
    stored = _stored(checkpoint)
    if stored.pipeline is None:
        raise KingyoError(
            stored.reference,
            expected="a component of a pipeline of diffusers",
            received="a model by itself",
            remedy="Leave --pipeline out: there is nothing around it.",
        )
    parts = parts_of(stored.pipeline_index)
    others = {name: is_model for name, is_model in parts.items() if name != stored.path.absolute().name}
    opened = open_checkpoint(
        stored.reference, folder, fetch=fetch, allow_pickle=allow_pickle, around=[*others]
    )
    files = opened.around
    found = {name.partition("/")[0] for name in files}
    root = opened.path.absolute().parent
    missing = sorted(
        name
        for name, is_model in others.items()
        if name not in found or (is_model and not (has_weights(root / name) or _has_pickles(files, name)))
    )
    if missing:
        raise KingyoError(
            stored.reference,
            expected=f"a whole pipeline around it: {', '.join(sorted(parts))}",
            received=f"one without {', '.join(missing)}, or without their weights in safetensors",
            remedy="Complete the pipeline, or write the component alone: export with --no-pipeline, merge "
            "without --pipeline.",
        )
    for name, is_model in others.items():
        if is_model and has_weights(root / name):
            read_weights(root / name)  # whether all shards are there
    return files


def _stored(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint on disk that gives a computed one its folder."""
    while checkpoint.made_of:
        parts = checkpoint.made_of
        checkpoint = next((each for each in parts if each.path == checkpoint.path), parts[0])
    return checkpoint


def _has_pickles(files: Mapping[str, Path], name: str) -> bool:
    return any(file.startswith(f"{name}/") and file.endswith(".bin") for file in files)
