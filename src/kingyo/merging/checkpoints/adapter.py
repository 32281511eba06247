"""An opened LoRA adapter, and its change to one tensor: W + scale · B A, in float32 and unrounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.checkpoints.header import FileStamp, TensorInfo, map_tensor

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
DIFFUSERS_WEIGHTS = "pytorch_lora_weights.safetensors"
"""diffusers' file name of a LoRA without a config."""


@dataclass(frozen=True, kw_only=True)
class LoraModule:
    """The LoRA of one module: tensors by peft's names (``lora_A.weight``), rank, and factor of B A."""

    parts: Mapping[str, TensorInfo]
    rank: int
    scale: float


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An opened adapter."""

    reference: str
    path: Path  # its folder, or its file if it has no config
    modules: Mapping[str, LoraModule]  # the LoRA of each module, by the module's name
    # tensors that replace the model's, by their names (``modules_to_save``, trained biases)
    replaced: Mapping[str, TensorInfo] = field(default_factory=dict[str, TensorInfo])
    use_dora: bool = False  # whether it has magnitudes (DoRA)
    fan_in_fan_out: bool = False  # whether the model stores its square matrices as inputs × outputs
    trained_on: str = ""  # the model that it was trained on; empty if unknown
    others: tuple[str, ...] = ()  # other components of the pipeline that it holds LoRAs for
    files: tuple[Path, ...]
    seen: Mapping[Path, FileStamp] = field(default_factory=dict[Path, FileStamp], repr=False, compare=False)

    @property
    def tensors(self) -> tuple[TensorInfo, ...]:
        parts = (info for module in self.modules.values() for info in module.parts.values())
        return *self.replaced.values(), *parts


@dataclass(frozen=True, kw_only=True)
class Update:
    """The low-rank update of a matrix, or of a convolution as a matrix: scale · B A, and DoRA's magnitudes.

    ``a`` is rank × inputs, ``b`` is outputs × rank. If ``is_turned``, the model stores inputs × outputs
    (GPT-2's Conv1D, embeddings). ``magnitude`` is the length of each row of outputs × inputs.
    """

    a: TensorInfo
    b: TensorInfo
    scale: float
    is_turned: bool
    magnitude: TensorInfo | None = None

    def apply_(self, weight: Tensor) -> None:
        matrix = weight.T if self.is_turned else weight.flatten(1)
        low, high = (map_tensor(info).to(weight.dtype).flatten(1) for info in (self.a, self.b))
        matrix.addmm_(high, low, alpha=self.scale)
        if self.magnitude is not None:  # m (W + ΔW) / ‖W + ΔW‖ by row: eq. 5 of DoRA, arXiv:2402.09353
            wanted = map_tensor(self.magnitude).to(weight.dtype).flatten()
            lengths = cast("Tensor", torch.linalg.vector_norm(matrix, dim=1))  # pyright: ignore[reportUnknownMemberType]
            matrix.mul_((wanted / lengths)[:, None])


@dataclass(frozen=True, kw_only=True)
class Change:
    """The changes to one tensor: first replace it, then update it."""

    replacement: TensorInfo | None = None
    update: Update | None = None

    @property
    def tensors(self) -> tuple[TensorInfo, ...]:
        low = self.update
        tensors = (self.replacement, *(() if low is None else (low.a, low.b, low.magnitude)))
        return tuple(info for info in tensors if info is not None)

    @property
    def has_rows(self) -> bool:
        """Whether the update can be computed for some rows alone."""
        low = self.update
        turns = low is not None and (low.is_turned or low.magnitude is not None)
        return not turns and not any(info.first_row for info in self.tensors)

    def rows(self, start: int, end: int) -> Change:
        low = None if self.update is None else replace(self.update, b=self.update.b.rows(start, end))
        whole = self.replacement
        return Change(replacement=None if whole is None else whole.rows(start, end), update=low)

    def apply(self, stored: Tensor) -> Tensor:
        """Return the changed tensor in float32 (float64 if stored as that); ``stored`` is not modified."""
        start = stored if self.replacement is None else map_tensor(self.replacement)
        dtype = wide(stored.dtype)
        if self.update is None:
            return start.to(dtype)
        result = start.to(dtype, copy=True)
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the last bits of matrix products depend on the number of threads
        try:
            self.update.apply_(result)
        finally:
            torch.set_num_threads(n_threads)
        return result


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
