"""A LoRA adapter on disk, in peft's format: what its config says and which tensors it holds.

It reads ``adapter_config.json`` and the header of ``adapter_model.safetensors``; what they do to a model is
not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.checkpoints.checkpoint import read_json
from kingyo.checkpoints.header import TensorInfo, read_header
from kingyo.checkpoints.stamps import FileStamp, file_stamps
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.checkpoints.lora_config import LoraConfig

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An opened adapter.

    Attributes:
        reference: what the user wrote to name it.
        path: its folder.
        config: what its config says.
        tensors: what it holds, by the names in its file.
        seen: its files as they were when it was opened.
    """

    reference: str
    path: Path
    config: LoraConfig
    tensors: Mapping[str, TensorInfo]
    seen: Mapping[Path, FileStamp] = field(default_factory=dict[Path, FileStamp], repr=False, compare=False)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that decide what it does."""
        return self.path / CONFIG, self.path / WEIGHTS


def read_adapter(reference: str, path: Path) -> Adapter:
    """Open the adapter in a folder.

    Raises:
        KingyoError: no config, no safetensors, not a LoRA, or a variant of LoRA that is not known here.
    """
    weights = path / WEIGHTS
    seen = file_stamps((path / CONFIG, weights))
    written = read_json(path / CONFIG, "an adapter in peft's format")
    from kingyo.checkpoints.lora_config import read_config

    config = read_config(written, reference)
    if not weights.is_file():
        pickle = path / "adapter_model.bin"
        raise KingyoError(
            reference,
            expected=f"an adapter's weights in {WEIGHTS}",
            received="only a pickle (adapter_model.bin)" if pickle.exists() else "no such file",
            remedy="Pickles can run code: save the adapter with peft's save_pretrained, as safetensors.",
        )
    tensors = read_header(weights)
    if not tensors:
        raise KingyoError(
            str(weights),
            expected="an adapter's tensors",
            received="none",
            remedy="Save or fetch the adapter again.",
        )
    return Adapter(reference=reference, path=path, config=config, tensors=tensors, seen=seen)
