"""A LoRA adapter on disk: what its config says and which tensors it holds.

It is in peft's format (``adapter_config.json`` and ``adapter_model.safetensors``), or a file as diffusers and
kohya's scripts write it. What it does to a model is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.checkpoints.checkpoint import Checkpoint, read_json
from kingyo.checkpoints.header import TensorInfo, read_header, read_header_and_metadata
from kingyo.checkpoints.pickled import read_pickle
from kingyo.checkpoints.stamps import FileStamp, file_stamps
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.checkpoints.loose_lora import StatedScales
    from kingyo.checkpoints.lora_config import LoraConfig

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
LOOSE = "pytorch_lora_weights.safetensors"
"""The name that diffusers gives to a LoRA, which has no config."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An opened adapter.

    Attributes:
        reference: what the user wrote to name it.
        path: its folder; its file where it has none of its own.
        config: what its config says, or its tensors where it has none.
        tensors: what it holds for the model, by the names that peft gives them.
        files: the files that decide what it does.
        others: components of the pipeline for which it holds LoRAs as well.
        seen: its files as they were when it was opened.
    """

    reference: str
    path: Path
    config: LoraConfig | StatedScales
    tensors: Mapping[str, TensorInfo]
    files: tuple[Path, ...]
    others: tuple[str, ...] = ()
    seen: Mapping[Path, FileStamp] = field(default_factory=dict[Path, FileStamp], repr=False, compare=False)


def read_adapter(reference: str, path: Path, model: Checkpoint, *, allow_pickle: bool = False) -> Adapter:
    """Open an adapter.

    Args:
        reference: what the user wrote to name it.
        path: its folder, or a file of safetensors.
        model: what it is for: a file may hold LoRAs of several components of a pipeline.
        allow_pickle: see ``open_checkpoint``.

    Raises:
        KingyoError: no config, no safetensors, not a LoRA, or a variant of LoRA that is not known here.
    """
    file = _loose_file(path)
    if file is not None:
        return _read_loose(reference, path, file, model)
    pickle = path / PICKLE
    is_pickle = allow_pickle and pickle.is_file() and not (path / WEIGHTS).is_file()
    weights = pickle if is_pickle else path / WEIGHTS
    files = path / CONFIG, weights
    seen = file_stamps(files)
    what = "an adapter in peft's format (another LoRA is named by its file: lora/name.safetensors)"
    written = read_json(path / CONFIG, what)
    from kingyo.checkpoints.lora_config import read_config

    config = read_config(written, reference)
    if not weights.is_file():
        raise KingyoError(
            reference,
            expected=f"an adapter's weights in {WEIGHTS}",
            received=f"only a pickle ({PICKLE})" if pickle.exists() else "no such file",
            remedy="Let a pickle be read by --allow-pickle, in run.yaml `allow_pickle: true`, or save the "
            "adapter with peft's save_pretrained, as safetensors.",
        )
    tensors = read_pickle(weights) if is_pickle else read_header(weights)
    _require_tensors(weights, tensors)
    return Adapter(reference=reference, path=path, config=config, tensors=tensors, files=files, seen=seen)


def _loose_file(path: Path) -> Path | None:
    """The file of a LoRA without a config; None for a folder in peft's format, or of anything else."""
    if path.is_file() or (path / CONFIG).is_file():
        return path if path.is_file() else None
    if (path / LOOSE).is_file():
        return path / LOOSE
    files = [file for file in path.glob("*.safetensors") if file.name != WEIGHTS]
    return files[0] if len(files) == 1 and not (path / "config.json").is_file() else None


def _read_loose(reference: str, path: Path, file: Path, model: Checkpoint) -> Adapter:
    from kingyo.checkpoints.loose_lora import read_loose

    seen = file_stamps([file])
    tensors, metadata = read_header_and_metadata(file)
    _require_tensors(file, tensors)
    found = read_loose(reference, tensors, metadata, model)
    return Adapter(
        reference=reference,
        path=path,
        config=found.config,
        tensors=found.tensors,
        files=(file,),
        others=found.others,
        seen=seen,
    )


def _require_tensors(file: Path, tensors: Mapping[str, TensorInfo]) -> None:
    if not tensors:
        raise KingyoError(
            str(file),
            expected="an adapter's tensors",
            received="none",
            remedy="Save or fetch the adapter again.",
        )
