"""Match the tensors of an adapter with those of a model, by names and shapes. A leftover is an error."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cached_property

from kingyo.checkpoints.adapter import Adapter
from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.header import TensorInfo
from kingyo.checkpoints.layout import Layout
from kingyo.checkpoints.lora_update import Change, Update
from kingyo.checkpoints.mapped_tensors import map_tensor
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import torch

_PREFIX = "base_model.model."
_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_B\.bias|lora_embedding_A|lora_embedding_B"
    r"|lora_magnitude_vector)(?:\.weight)?"
)
_OTHER_MODEL = "Name the model that the adapter was trained on (base_model_name_or_path in its config)."


def match(model: Checkpoint, adapter: Adapter) -> dict[str, Change]:
    """Return the change that an adapter makes to each tensor, by the names of the model's tensors.

    Raises:
        KingyoError: a tensor of the adapter matches none of the model's, lacks its partner, or has the wrong
            shape.
    """
    return _Matching(model, adapter).run()


def find_tensor(model: Checkpoint, name: str) -> str | None:
    """Return the model's tensor of this name; either side may have one more prefix (``model.``)."""
    tensors = model.tensors
    if name in tensors:
        return name
    without = name.partition(".")[2]
    if without in tensors:
        return without
    longer = [each for each in tensors if each.partition(".")[2] == name]
    return longer[0] if len(longer) == 1 else None


class _Matching:
    def __init__(self, model: Checkpoint, adapter: Adapter) -> None:
        self._model = model
        self._adapter = adapter
        self._changes: dict[str, Change] = {}

    def run(self) -> dict[str, Change]:
        modules: dict[str, dict[str, TensorInfo]] = {}
        heads: list[tuple[str, TensorInfo]] = []
        for name, info in self._adapter.tensors.items():
            plain = name.removeprefix(_PREFIX)
            matched = _PART.fullmatch(plain)
            if matched is None:
                if not self._replace(plain.replace(".base_layer.", "."), info):
                    heads.append((plain, info))
            elif modules.setdefault(matched["module"], {}).setdefault(matched["part"], info) is not info:
                raise self._twice(info.name, plain)
        for name, info in heads:
            self._check_tied(name, info)
        for module, parts in modules.items():
            self._update(module, parts)
        return self._changes

    def _replace(self, name: str, info: TensorInfo) -> bool:
        """Replace a tensor of the model; return False for a tied head."""
        target = self._find(name)
        if target is None:
            if self._is_tied_head(name):
                return False
            raise self._unmatched(info.name, name)
        wanted = self._floating(target)
        if info.shape != wanted.shape or not info.is_floating:
            raise self._misfit(info, wanted, f"{info.dtype} {list(info.shape)}")
        self._put(target, info, Change(replacement=info))
        return True

    def _update(self, module: str, parts: Mapping[str, TensorInfo]) -> None:
        a, b = self._pair(module, parts)
        target = self._find(f"{module}.weight")
        if target is None:
            if self._is_tied_head(f"{module}.weight"):
                raise self._tied(a.name, "a LoRA of the head alone")
            raise self._unmatched(a.name, f"{module}.weight")
        magnitude = parts.get("lora_magnitude_vector")
        is_turned = self._check_shapes(target, (a, b), magnitude, module)
        scale = self._adapter.config.scale(module)
        update = Update(a=a, b=b, scale=scale, is_turned=is_turned, magnitude=magnitude)
        self._put(target, a, Change(update=update))
        if "lora_B.bias" in parts:
            self._shift(module, parts["lora_B.bias"], scale)

    def _pair(self, module: str, parts: Mapping[str, TensorInfo]) -> tuple[TensorInfo, TensorInfo]:
        """Return A and B of a module, after checking that no part is missing or left over."""
        names = [f"lora_embedding_{side}" for side in "AB"]
        if not any(name in parts for name in names):
            names = [f"lora_{side}.weight" for side in "AB"]
        needed = [*names, "lora_magnitude_vector"] if self._adapter.config.use_dora else names
        if any(name not in parts for name in needed) or any(
            part not in (*needed, "lora_B.bias") for part in parts
        ):
            raise KingyoError(
                f"{self._adapter.reference}: {module}",
                expected=" and ".join(needed),
                received=", ".join(parts),
                remedy="Save or fetch the adapter again: its tensors do not match its config.",
            )
        return parts[names[0]], parts[names[1]]

    def _shift(self, module: str, info: TensorInfo, scale: float) -> None:
        target = self._find(f"{module}.bias")
        if target is None:
            raise self._unmatched(info.name, f"{module}.bias")
        wanted = self._floating(target)
        if info.shape != wanted.shape:
            raise self._misfit(info, wanted, f"{list(info.shape)}")
        self._put(target, info, Change(shift=info, shift_scale=scale))

    def _put(self, target: str, info: TensorInfo, change: Change) -> None:
        before = self._changes.get(target, Change())
        if (
            (before.replacement and change.replacement)
            or (before.update and change.update)
            or (before.shift and change.shift)
        ):
            raise self._twice(info.name, target)
        self._changes[target] = Change(
            replacement=before.replacement or change.replacement,
            update=before.update or change.update,
            shift=before.shift or change.shift,
            shift_scale=change.shift_scale if change.shift else before.shift_scale,
        )

    def _check_shapes(
        self, target: str, pair: tuple[TensorInfo, TensorInfo], magnitude: TensorInfo | None, module: str
    ) -> bool:
        """Check all shapes, and return whether the model stores inputs × outputs."""
        wanted, (a, b) = self._floating(target), pair
        rank = self._adapter.config.rank(module)
        if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[0] != rank or math.prod(b.shape[1:]) != rank:
            raise self._misfit(a, wanted, _shapes(a, b), f"A and B of rank {rank}, as in its config")
        outputs, inputs = b.shape[0], a.shape[1:]
        is_embedding = a.name.endswith("lora_embedding_A")
        straight = wanted.shape == (outputs, *inputs) and not is_embedding
        turned = len(inputs) == 1 and wanted.shape == (inputs[0], outputs)
        if not straight and not turned:
            raise self._misfit(a, wanted, _shapes(a, b))
        if magnitude is not None and magnitude.n_elements != outputs:
            raise self._misfit(magnitude, wanted, f"{list(magnitude.shape)}", f"{outputs} magnitudes")
        return self._stores_inputs_first(target) if straight and turned else turned

    def _stores_inputs_first(self, square: str) -> bool:
        """Return the order of a square matrix: that of the other matrices of its block, else the config's."""
        votes = self._votes.get(self._model.layout.block(square), set[bool]())
        return next(iter(votes)) if len(votes) == 1 else self._adapter.config.fan_in_fan_out

    @cached_property
    def _votes(self) -> dict[int | None, set[bool]]:
        """Orders of the matrices by block: True if the bias has the length of the second axis (outputs)."""
        tensors = self._model.tensors
        votes: dict[int | None, set[bool]] = {}
        for name, info in tensors.items():
            bias = tensors.get(f"{name.removesuffix('weight')}bias")
            if bias is None or len(info.shape) != 2 or info.shape[0] == info.shape[1]:
                continue
            if bias.n_elements in info.shape:
                votes.setdefault(self._model.layout.block(name), set()).add(bias.n_elements == info.shape[1])
        return votes

    def _find(self, name: str) -> str | None:
        return find_tensor(self._model, name)

    def _is_tied_head(self, name: str) -> bool:
        """Return whether a name is a head that the model does not store, since it is tied."""
        layout = self._model.layout
        has_head = any(layout.kind(each) == "head" for each in self._model.tensors)
        return not has_head and Layout([*self._model.tensors, name]).kind(name) == "head"

    def _check_tied(self, name: str, info: TensorInfo) -> None:
        """Check that a stored copy of a tied head equals the embedding."""
        for each, own in self._model.tensors.items():
            if self._model.layout.kind(each) == "embedding" and own.shape == info.shape:
                replacement = self._changes.get(each, Change()).replacement
                weights = self._model.read(each) if replacement is None else map_tensor(replacement)
                if torch.equal(weights.float(), map_tensor(info).float()):
                    return
        raise self._tied(info.name, f"other weights for {name}")

    def _floating(self, target: str) -> TensorInfo:
        info = self._model.tensors[target]
        if not info.is_floating:
            raise KingyoError(
                f"{self._model.reference}: {target}",
                expected="floating-point weights, which an adapter can be added to",
                received=info.dtype,
                remedy="Name the original, unquantised model.",
            )
        return info

    def _unmatched(self, name: str, wanted: str) -> KingyoError:
        return KingyoError(
            f"{self._adapter.reference}: {name}",
            expected=f"a tensor of {self._model.reference}",
            received=f"'{wanted}', which the model lacks",
            remedy=_OTHER_MODEL,
        )

    def _misfit(
        self, info: TensorInfo, wanted: TensorInfo, received: str, expected: str | None = None
    ) -> KingyoError:
        fit = expected or f"a shape that fits {wanted.name} {list(wanted.shape)}"
        return KingyoError(
            f"{self._adapter.reference}: {info.name}", expected=fit, received=received, remedy=_OTHER_MODEL
        )

    def _twice(self, name: str, target: str) -> KingyoError:
        return KingyoError(
            f"{self._adapter.reference}: {name}",
            expected="one tensor for each part of a change",
            received=f"a second one for {target}",
            remedy="Save or fetch the adapter again: two of its names mean the same tensor.",
        )

    def _tied(self, name: str, received: str) -> KingyoError:
        return KingyoError(
            f"{self._adapter.reference}: {name}",
            expected=f"the embedding's weights, since {self._model.reference} ties its head to it",
            received=received,
            remedy="Untie the model first: store its head, and set tie_word_embeddings to false.",
        )


def _shapes(a: TensorInfo, b: TensorInfo) -> str:
    return f"A {list(a.shape)} and B {list(b.shape)}"
