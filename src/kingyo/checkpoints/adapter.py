"""An opened LoRA adapter, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kingyo.checkpoints.file_stamps import FileStamp
from kingyo.checkpoints.header import TensorInfo

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
DIFFUSERS_WEIGHTS = "pytorch_lora_weights.safetensors"
"""diffusers' file name of a LoRA without a config."""


class AdapterConfig(Protocol):
    """The settings of a LoRA that affect a merge, from peft's config or from its tensors."""

    @property
    def use_dora(self) -> bool:
        """Whether it has magnitudes (DoRA)."""
        ...

    @property
    def fan_in_fan_out(self) -> bool:
        """Whether the model stores its square matrices as inputs × outputs."""
        ...

    @property
    def base_model_name_or_path(self) -> str:
        """The model that it was trained on; empty if unknown."""
        ...

    def rank(self, module: str) -> int:
        """Return the rank of a module's update."""
        ...

    def scale(self, module: str) -> float:
        """Return the factor of B @ A."""
        ...


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An opened adapter.

    Attributes:
        reference: its name, as written by the user.
        path: its folder, or its file if it has no config.
        config: its settings.
        tensors: its tensors for the model, under peft's names.
        files: the files that it was read from.
        others: other components of the pipeline that it holds LoRAs for.
        seen: stamps of its files at the time of opening.
    """

    reference: str
    path: Path
    config: AdapterConfig
    tensors: Mapping[str, TensorInfo]
    files: tuple[Path, ...]
    others: tuple[str, ...] = ()
    seen: Mapping[Path, FileStamp] = field(default_factory=dict[Path, FileStamp], repr=False, compare=False)
