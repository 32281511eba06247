"""A model with an adapter merged into it while it is read: one tensor in memory, nothing on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, cast

from kingyo.checkpoints.adapter import Adapter
from kingyo.checkpoints.checkpoint import Checkpoint, Needs
from kingyo.checkpoints.header import TensorInfo
from kingyo.checkpoints.matching import match
from kingyo.checkpoints.update import Change, wide
from kingyo.late import Tensor, torch


@dataclass(frozen=True, kw_only=True)
class AdaptedCheckpoint(Checkpoint):
    """A checkpoint with an adapter. Config, tokenizer and folder are the model's own.

    Tensors that the adapter changes are float32 (their ``stored_dtype`` is still the model's); they are in no
    file: ``read`` computes them every time.

    Attributes:
        model: the checkpoint without the adapter.
        adapter: what is merged into it.
        changes: what that does, by tensor.
    """

    has_same_bits: ClassVar[bool] = False  # libraries round matrix products as they do

    model: Checkpoint = field(repr=False)
    adapter: Adapter = field(repr=False)
    changes: Mapping[str, Change] = field(repr=False)

    def read(self, name: str) -> Tensor:
        """Return a tensor with the adapter merged into it; never write to it.

        Raises:
            KingyoError: it has no such tensor, and none that is tied to it.
        """
        stored = self.model.read(name)
        change = self.changes.get(self.home(name) or name)
        return stored if change is None else change.apply(stored)

    def needs(self, name: str) -> Needs:
        """Return the model's tensor, and what of the adapter changes it."""
        change = self.changes.get(self.home(name) or name)
        return Needs(stored=() if change is None else change.tensors, others=((self.model, name),))

    def on_disk(self) -> tuple[Adapter]:
        """Return the adapter."""
        return (self.adapter,)

    def stored_tensors(self) -> tuple[TensorInfo, ...]:
        """The tensors of the model, and those of the adapter."""
        return *self.model.stored_tensors(), *self.adapter.tensors.values()

    def deciding_files(self) -> dict[str, Path]:
        """The files of the model, and those of the adapter behind a plus sign."""
        return self.model.deciding_files() | {f"+{file.name}": file for file in self.adapter.files}

    def load_into(self, weights: Mapping[str, Tensor]) -> None:
        """Write what the adapter changes."""
        with torch.no_grad():
            for name in self.changes:
                weights[name].copy_(self.read(name))


def adapt(model: Checkpoint, adapter: Adapter, reference: str) -> AdaptedCheckpoint:
    """Merge an adapter into a model, tensor by tensor as they are read.

    Args:
        model: what the adapter was trained on.
        adapter: the opened adapter.
        reference: what the user wrote to name both.

    Raises:
        KingyoError: a tensor of the adapter belongs to none of the model's, or its shape does not fit.
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
    """A tensor that is in no file: to map it by hand is an error, and does not give the model's own bytes."""
    dtype = str(wide(getattr(torch, info.dtype))).removeprefix("torch.")
    return replace(info, dtype=dtype, stored_as=info.dtype, file=model.path, start=0)


def _notes(model: Checkpoint, adapter: Adapter, changes: Mapping[str, Change]) -> Iterator[str]:
    named = adapter.config.base_model_name_or_path
    if named and _last(named) != _last(model.reference.partition("@")[0]):
        yield f"{adapter.reference} was trained on {named}, and is merged into {model.reference}."
    if adapter.others:
        yield f"{adapter.reference} holds LoRAs of {', '.join(adapter.others)} too, which are left out."
    kinds = {model.layout.kind(name) for name in changes}
    if "embedding" in kinds and _is_tied(model):
        yield f"{adapter.reference} changes the embedding; the head, tied to it, follows."


def _last(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name.lower()


def _is_tied(model: Checkpoint) -> bool:
    inner = model.config.get("text_config")
    levels = (
        [model.config, cast("Mapping[str, object]", inner)] if isinstance(inner, dict) else [model.config]
    )
    return any(level.get("tie_word_embeddings") is True for level in levels)
