"""Open a LoRA adapter on disk.

It is in peft's format (``adapter_config.json`` and ``adapter_model.safetensors``), or a single file in the
format of diffusers or kohya's scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kingyo.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS, PICKLE, WEIGHTS, Adapter
from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.file_stamps import file_stamps
from kingyo.checkpoints.folder_files import read_json
from kingyo.checkpoints.header import TensorInfo, read_header, read_header_and_metadata
from kingyo.checkpoints.lora_formats import read_loose
from kingyo.checkpoints.pickled import read_pickle
from kingyo.errors import KingyoError


def read_adapter(reference: str, path: Path, model: Checkpoint, *, allow_pickle: bool = False) -> Adapter:
    """Open an adapter.

    Args:
        reference: what the user wrote to name it.
        path: its folder, or a safetensors file.
        model: the model that it is for, since a file may hold LoRAs of several components of a pipeline.
        allow_pickle: see ``open_checkpoint``.

    Raises:
        KingyoError: the adapter has no config or no safetensors, or it is not a supported variant of LoRA.
    """
    file = _loose_file(path)
    if file is not None:
        return _read_loose(reference, path, file, model)
    pickle = path / PICKLE
    is_pickle = allow_pickle and pickle.is_file() and not (path / WEIGHTS).is_file()
    weights = pickle if is_pickle else path / WEIGHTS
    files = path / CONFIG, weights
    seen = file_stamps(files)
    what = "an adapter in peft's format (for another LoRA, name its file: lora/name.safetensors)"
    written = read_json(path / CONFIG, what)
    from kingyo.checkpoints.lora_config import read_config  # imports pydantic, which is slow

    config = read_config(written, reference)
    if not weights.is_file():
        raise KingyoError(
            reference,
            expected=f"an adapter's weights in {WEIGHTS}",
            received=f"only a pickle ({PICKLE})" if pickle.exists() else "no such file",
            remedy="Pass --allow-pickle (run.yaml: `allow_pickle: true`), or save the adapter as safetensors "
            "with peft's save_pretrained.",
        )
    tensors = read_pickle(weights) if is_pickle else read_header(weights)
    _require_tensors(weights, tensors)
    return Adapter(reference=reference, path=path, config=config, tensors=tensors, files=files, seen=seen)


def _loose_file(path: Path) -> Path | None:
    """Return the file of a LoRA without a config; None for any other folder."""
    if path.is_file() or (path / CONFIG).is_file():
        return path if path.is_file() else None
    if (path / DIFFUSERS_WEIGHTS).is_file():
        return path / DIFFUSERS_WEIGHTS
    files = [file for file in path.glob("*.safetensors") if file.name != WEIGHTS]
    return files[0] if len(files) == 1 and not (path / "config.json").is_file() else None


def _read_loose(reference: str, path: Path, file: Path, model: Checkpoint) -> Adapter:
    seen = file_stamps([file])
    tensors, metadata = read_header_and_metadata(file)
    _require_tensors(file, tensors)
    lora = read_loose(reference, tensors, metadata, model)
    return Adapter(
        reference=reference,
        path=path,
        config=lora.config,
        tensors=lora.tensors,
        files=(file,),
        others=lora.others,
        seen=seen,
    )


def _require_tensors(file: Path, tensors: Mapping[str, TensorInfo]) -> None:
    if not tensors:
        raise KingyoError(
            str(file),
            expected="at least one tensor",
            received="none",
            remedy="Save or fetch the adapter again.",
        )
