"""Linear layers on a CPU: what torch computes slowly there.

With AVX2 but not AVX-512, torch multiplies 16-bit matrices in loops of its own, which take four to eight
times as long as its library takes for float32. There the layers of a 16-bit model multiply in float32 and
round once, as the loops do, but sum in another order. Weights stay in 16 bits; a block of them at a time is
widened, into memory that all layers share, since fresh memory costs page faults. Where gradients are enabled,
layers compute as before: autograd would keep all widened weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

_BLOCK = 1 << 21
"""Weights that are widened at a time: 8 MiB."""


def hasten(model: PreTrainedModel) -> None:
    """Prepare the linear layers of a model for its device and dtype.

    On any device, the head gets a contiguous input.
    """
    head = cast("nn.Module | None", model.get_output_embeddings())
    if head is not None:
        head.register_forward_pre_hook(_contiguous)
    is_narrow = model.dtype in (torch.bfloat16, torch.float16)
    if is_narrow and model.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        widen(model)


def widen(model: nn.Module) -> None:
    """Let the linear layers of a model multiply in float32."""
    layers = [layer for layer in model.modules() if type(layer) is nn.Linear]
    wide = torch.empty(max([_BLOCK, *(layer.in_features for layer in layers)]))
    for layer in layers:
        cast("Any", layer).forward = partial(_in_float32, layer, wide)


def _in_float32(layer: nn.Linear, wide: Tensor, given: Tensor) -> Tensor:
    """Return what a layer returns, computed in float32 and rounded once, unless gradients are needed."""
    if torch.is_grad_enabled():
        return nn.Linear.forward(layer, given)
    weight, bias, numbers = layer.weight, cast("Tensor | None", layer.bias), given.float()
    rows = len(wide) // layer.in_features
    parts: list[Tensor] = []
    for first in range(0, len(weight), rows):
        block = weight[first : first + rows]
        parts.append(linear(numbers, wide[: block.numel()].view(block.shape).copy_(block)))
    out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
    return (out if bias is None else out + bias).to(given.dtype)


def _contiguous(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Copy the input of a head if it is a slice: torch would copy the head's weights for each row instead."""
    return tuple(each.contiguous() for each in given)
