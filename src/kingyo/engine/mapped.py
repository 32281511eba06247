"""Read tensors of sources for candidate after candidate, without mapping their files again."""

from __future__ import annotations

from collections.abc import Mapping

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.mapped_tensors import MappedFiles
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.raw_tensor import AnyTensor

_FREE = 0.2  # share of another device's memory to leave free for the model's own use


class MappedTensors:
    """Tensors that stay mapped from their files, and copies of them on other devices.

    Mapping a tensor again takes longer than merging it. ``Sources.check_unchanged`` notices changed files.

    Args:
        models: the models by reference.
    """

    def __init__(self, models: Mapping[str, Checkpoint]) -> None:
        self._models = models
        self._files = MappedFiles()
        self._tensors: dict[tuple[str, str], Tensor] = {}
        self._ids: set[int] = set()
        self._copies: dict[tuple[torch.device, int], Tensor] = {}

    def is_mapped(self, reference: str) -> bool:
        """Return whether large tensors of a model are mapped from files; others are computed when read."""
        return not self._models[reference].made_of

    def read(self, reference: str, tensor: str) -> Tensor:
        """Return a tensor as stored; never write to it."""
        stored = self._tensors.get((reference, tensor))
        if stored is None:
            model = self._models[reference]
            if not self.is_mapped(reference):
                return model.read(tensor)
            stored = self._tensors[reference, tensor] = model.read_from(tensor, self._files)
            self._ids.add(id(stored))
        return stored

    def holds(self, tensor: AnyTensor) -> bool:
        """Return whether a tensor is one that ``read`` returns every time."""
        return id(tensor) in self._ids

    def copy_on(self, device: torch.device, tensor: Tensor) -> Tensor:
        """Return a copy on another device; copies of mapped tensors are kept while there is memory.

        Raises:
            KingyoError: the device has no memory for it.
        """
        key = device, id(tensor)
        if key in self._copies:
            return self._copies[key]
        try:
            copy = tensor.to(device)
        except torch.OutOfMemoryError as error:
            raise KingyoError(
                str(device),
                expected=f"memory for {tensor.nbytes / 1e6:.0f} MB of a source beside the live model",
                received="a device without enough free memory",
                remedy="Merge on the CPU (device: cpu), or free some of the device's memory.",
            ) from error
        if self.holds(tensor) and _has_memory(device):
            self._copies[key] = copy
        return copy


def _has_memory(device: torch.device) -> bool:
    """Return whether a device has memory left to keep copies; True if it does not report its memory."""
    if device.type != "cuda":
        return True
    free, total = torch.cuda.mem_get_info(device)
    return free > _FREE * total
