"""Merge an adapter into a model while it is read: one tensor in memory, nothing on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import ClassVar

from kingyo.checkpoints.adapter import Adapter
from kingyo.checkpoints.checkpoint import Checkpoint, Needs
from kingyo.checkpoints.header import TensorInfo
from kingyo.checkpoints.lora_matching import match
from kingyo.checkpoints.lora_update import Change, wide
from kingyo.checkpoints.tied_weights import is_tied
from kingyo.io.lazy_torch import Tensor, torch


@dataclass(frozen=True, kw_only=True)
class AdaptedCheckpoint(Checkpoint):
    """A checkpoint with an adapter, and with the model's own config, tokenizer and folder.

    Tensors that the adapter changes are float32, and ``read`` computes them every time. Their
    ``stored_dtype`` is still the model's.

    Attributes:
        model: the checkpoint without the adapter.
        adapter: the adapter.
        changes: changes by the adapter, by tensor.
    """

    has_same_bits: ClassVar[bool] = False  # the rounding of matrix products depends on the library

    model: Checkpoint = field(repr=False)
    adapter: Adapter = field(repr=False)
    changes: Mapping[str, Change] = field(repr=False)

    def read(self, name: str) -> Tensor:
        """Return a tensor with the adapter merged into it; never write to it.

        Raises:
            KingyoError: the model has no such tensor, nor one that it is tied to.
        """
        stored = self.model.read(name)
        change = self.changes.get(self.home(name) or name)
        return stored if change is None else change.apply(stored)

    def needs(self, name: str) -> Needs:
        """Return the model's tensor and the adapter's tensors that change it."""
        change = self.changes.get(self.home(name) or name)
        return Needs(stored=() if change is None else change.tensors, others=((self.model, name),))

    def on_disk(self) -> tuple[Adapter]:
        """Return the adapter."""
        return (self.adapter,)

    def stored_tensors(self) -> tuple[TensorInfo, ...]:
        """Return the tensors of the model and of the adapter."""
        return *self.model.stored_tensors(), *self.adapter.tensors.values()

    def deciding_files(self) -> dict[str, Path]:
        """Return the files of the model, and those of the adapter with a plus sign before their names."""
        return self.model.deciding_files() | {f"+{file.name}": file for file in self.adapter.files}

    def load_into(self, weights: Mapping[str, Tensor]) -> None:
        """Write the tensors that the adapter changes."""
        with torch.no_grad():
            for name in self.changes:
                weights[name].copy_(self.read(name))


def adapt(model: Checkpoint, adapter: Adapter, reference: str) -> AdaptedCheckpoint:
    """Merge an adapter into a model, tensor by tensor as they are read.

    Args:
        model: the model that the adapter was trained on.
        adapter: the opened adapter.
        reference: what the user wrote to name both.

    Raises:
        KingyoError: a tensor of the adapter matches none of the model's, or has the wrong shape.
    """
    changes = match(model, adapter)
    return AdaptedCheckpoint(
        reference=reference,
        path=model.path,
        config=model.config,
        tensors={
            name: _computed(info, model) if name in changes else info for name, info in model.tensors.items()
        },
        copies=model.copies,
        stem=model.stem,
        n_missing=model.n_missing,
        around=model.around,
        made_of=(model,),
        model=model,
        adapter=adapter,
        changes=changes,
        notes=tuple(_notes(model, adapter, changes)),
    )


def _computed(info: TensorInfo, model: Checkpoint) -> TensorInfo:
    """Describe a computed tensor; its ``file`` is a folder, so that mapping it by mistake fails."""
    dtype = str(wide(getattr(torch, info.dtype))).removeprefix("torch.")
    return replace(info, dtype=dtype, stored_as=info.dtype, file=model.path, start=0)


def _notes(model: Checkpoint, adapter: Adapter, changes: Mapping[str, Change]) -> Iterator[str]:
    base = adapter.config.base_model_name_or_path
    if base and _last(base) != _last(model.reference.partition("@")[0]):
        yield f"{adapter.reference} was trained on {base}, and is merged into {model.reference}."
    if adapter.others:
        yield f"{adapter.reference} also holds LoRAs of {', '.join(adapter.others)}, which are not merged."
    kinds = {model.layout.kind(name) for name in changes}
    if "embedding" in kinds and is_tied(model.config):
        yield f"{adapter.reference} changes the embedding, and the head that is tied to it."


def _last(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name.lower()
