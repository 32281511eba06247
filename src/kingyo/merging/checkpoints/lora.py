"""Merge an adapter into a model while it is read: one tensor in memory, nothing on disk.

The adapter's tensors are matched with the model's by names and shapes. A leftover is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.adapter import Adapter, Change, LoraModule, Update, wide
from kingyo.merging.checkpoints.checkpoint import Checkpoint, TensorInputs
from kingyo.merging.checkpoints.header import TensorInfo, map_tensor
from kingyo.merging.checkpoints.layout import Layout
from kingyo.merging.checkpoints.lora_keys import EMBEDDING_A, EMBEDDING_B, MAGNITUDE, A, B, find_tensor

_OTHER_MODEL = "Name the model that the adapter was trained on (base_model_name_or_path in its config)."
_AGAIN = "Save or fetch the adapter again: its tensors do not match its config."


@dataclass(frozen=True, kw_only=True)
class AdaptedCheckpoint(Checkpoint):
    """A checkpoint with an adapter, and with the model's own config, tokenizer and folder.

    Tensors that the adapter changes are float32, and ``read`` computes them every time. Their
    ``stored_dtype`` is still the model's.
    """

    has_same_bits: ClassVar[bool] = False  # the rounding of matrix products depends on the library

    model: Checkpoint = field(repr=False)
    adapter: Adapter = field(repr=False)
    changes: Mapping[str, Change] = field(repr=False)

    def read(self, name: str) -> Tensor:
        stored = self.model.read(name)
        change = self.changes.get(self.home(name) or name)
        return stored if change is None else change.apply(stored)

    def read_rows(self, name: str, start: int, end: int) -> Tensor:
        change = self.changes.get(self.home(name) or name)
        if change is None:
            return self.model.read_rows(name, start, end)
        if not change.has_rows:
            return self.read(name)[start:end]
        return change.rows(start, end).apply(self.model.read_rows(name, start, end))

    def needs(self, name: str) -> TensorInputs:
        change = self.changes.get(self.home(name) or name)
        return TensorInputs(stored=() if change is None else change.tensors, others=((self.model, name),))

    @property
    def owner(self) -> Checkpoint:
        return self.model.owner

    @property
    def card_folder(self) -> Path:
        return self.model.card_folder

    def on_disk(self) -> tuple[Adapter]:
        return (self.adapter,)

    def stored_tensors(self) -> tuple[TensorInfo, ...]:
        return *self.model.stored_tensors(), *self.adapter.tensors

    def deciding_files(self) -> dict[str, Path]:
        return self.model.deciding_files() | {f"+{file.name}": file for file in self.adapter.files}

    def load_into(self, weights: Mapping[str, Tensor]) -> None:
        self.model.load_into(weights)
        with torch.no_grad():
            for name in self.changes:
                weights[name].copy_(self.read(name))


def adapt(model: Checkpoint, adapter: Adapter, reference: str) -> AdaptedCheckpoint:
    """Merge an adapter into a model, tensor by tensor as they are read."""
    changes = _Matching(model, adapter).run()
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
        notes=tuple(_notes(model, adapter)),
    )


def _computed(info: TensorInfo, model: Checkpoint) -> TensorInfo:
    """Describe a computed tensor; its ``file`` is a folder, so that mapping it by mistake fails."""
    dtype = str(wide(getattr(torch, info.dtype))).removeprefix("torch.")
    return replace(info, dtype=dtype, stored_as=info.dtype, file=model.path, start=0)


def _notes(model: Checkpoint, adapter: Adapter) -> Iterator[str]:
    base, own = adapter.trained_on, model.reference.partition("@")[0]
    if base and Path(base).name.lower() != Path(own).name.lower():
        yield f"{adapter.reference} was trained on {base}, and is merged into {model.reference}."
    if adapter.others:
        yield f"{adapter.reference} also holds LoRAs of {', '.join(adapter.others)}, which are not merged."


class _Matching:
    """Find the change that an adapter makes to each tensor, by the names of the model's tensors."""

    def __init__(self, model: Checkpoint, adapter: Adapter) -> None:
        self._model = model
        self._adapter = adapter
        self._changes: dict[str, Change] = {}

    def run(self) -> dict[str, Change]:
        replaced = self._adapter.replaced.items()
        for name, info in [pair for pair in replaced if not self._replace(*pair)]:
            self._check_tied(name, info)
        for name, module in self._adapter.modules.items():
            self._update(name, module)
        return self._changes

    def _replace(self, name: str, info: TensorInfo) -> bool:
        target = find_tensor(self._model, name)
        if target is None and self._is_tied_head(name):
            return False
        shape = self._shape(target, name, info)
        if info.shape != shape or not info.is_floating:
            raise self._error(info.name, f"a tensor {list(shape)}", f"{info.dtype} {list(info.shape)}")
        self._put(target or "", info, Change(replacement=info))
        return True

    def _update(self, name: str, module: LoraModule) -> None:
        a, b = self._pair(name, module.parts)
        target = find_tensor(self._model, f"{name}.weight")
        if target is None and self._is_tied_head(f"{name}.weight"):
            raise self._tied_error(a, "a LoRA of the head alone")
        magnitude = module.parts.get(MAGNITUDE)
        is_turned = self._is_turned(self._shape(target, f"{name}.weight", a), a, b, module.rank)
        if magnitude is not None and magnitude.n_elements != b.shape[0]:
            raise self._error(magnitude.name, f"{b.shape[0]} magnitudes", f"{magnitude.n_elements}")
        update = Update(a=a, b=b, scale=module.scale, is_turned=is_turned, magnitude=magnitude)
        self._put(target or "", a, Change(update=update))

    def _shape(self, target: str | None, wanted: str, info: TensorInfo) -> tuple[int, ...]:
        if target is None:
            expected = f"a tensor of {self._model.reference}"
            raise self._error(info.name, expected, f"'{wanted}', which the model lacks")
        return self._model.tensors[target].shape

    def _pair(self, module: str, parts: Mapping[str, TensorInfo]) -> tuple[TensorInfo, TensorInfo]:
        names = (EMBEDDING_A, EMBEDDING_B) if {EMBEDDING_A, EMBEDDING_B} & parts.keys() else (A, B)
        needed = (*names, MAGNITUDE) if self._adapter.use_dora else names
        if set(parts) != set(needed):
            raise self._error(module, " and ".join(needed), ", ".join(parts), _AGAIN)
        for info in parts.values():
            if not info.is_floating:
                raise self._error(info.name, "floating-point numbers", info.dtype, _AGAIN)
        return parts[names[0]], parts[names[1]]

    def _put(self, target: str, info: TensorInfo, change: Change) -> None:
        before = self._changes.get(target, Change())
        if (before.replacement and change.replacement) or (before.update and change.update):
            expected = "one tensor for each part of a change"
            raise self._error(info.name, expected, f"a second one for {target}", _AGAIN)
        self._changes[target] = Change(
            replacement=before.replacement or change.replacement, update=before.update or change.update
        )

    def _is_turned(self, shape: tuple[int, ...], a: TensorInfo, b: TensorInfo, rank: int) -> bool:
        """Check the shapes of A and B, and return whether the model stores inputs × outputs."""
        received = f"A {list(a.shape)} and B {list(b.shape)}"
        if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[0] != rank or math.prod(b.shape[1:]) != rank:
            raise self._error(a.name, f"A and B of rank {rank}", received)
        outputs, inputs = b.shape[0], a.shape[1:]
        straight = shape == (outputs, *inputs) and not a.name.endswith(EMBEDDING_A)
        turned = len(inputs) == 1 and shape == (inputs[0], outputs)
        if not straight and not turned:
            raise self._error(a.name, f"A and B for a weight {list(shape)}", received)
        return self._stores_inputs_first if straight and turned else turned

    @cached_property
    def _stores_inputs_first(self) -> bool:
        """The order of square matrices: that of the model's other matrices with biases, else the config's."""
        tensors = self._model.tensors
        matrices = [(name, info) for name, info in tensors.items() if len(set(info.shape)) == 2]
        with_bias = [
            (info.shape, tensors[bias].n_elements)
            for name, info in matrices
            if len(info.shape) == 2 and (bias := f"{name.removesuffix('weight')}bias") in tensors
        ]
        orders = {n == shape[1] for shape, n in with_bias if n in shape}
        return orders.pop() if len(orders) == 1 else self._adapter.fan_in_fan_out

    def _is_tied_head(self, name: str) -> bool:
        layout = self._model.layout
        has_head = any(layout.kind(each) == "head" for each in self._model.tensors)
        return not has_head and Layout([*self._model.tensors, name]).kind(name) == "head"

    def _check_tied(self, name: str, info: TensorInfo) -> None:
        for each, own in self._model.tensors.items():
            if self._model.layout.kind(each) == "embedding" and own.shape == info.shape:
                replacement = self._changes.get(each, Change()).replacement
                weights = self._model.read(each) if replacement is None else map_tensor(replacement)
                if torch.equal(weights.float(), map_tensor(info).float()):
                    return
        raise self._tied_error(info, f"other weights for {name}")

    def _tied_error(self, info: TensorInfo, received: str) -> KingyoError:
        expected = f"the embedding's weights, since {self._model.reference} ties its head to it"
        remedy = "Untie the model first: store its head, and set tie_word_embeddings to false."
        return self._error(info.name, expected, received, remedy)

    def _error(self, name: str, expected: str, received: str, remedy: str = _OTHER_MODEL) -> KingyoError:
        return KingyoError(f"{self._adapter.reference}: {name}", expected, received, remedy)
