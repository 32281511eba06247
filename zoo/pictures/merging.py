"""Merging in process: base + weight by source and group x (source - base)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

State = Mapping[str, torch.Tensor]
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
BLOCKS = ("down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.0", "up_blocks.1")


def two_groups(name: str) -> str:
    """Return the group of a tensor in EvoSDXL-JP's recipe."""
    return "attention" if any(part in name for part in ATTENTION) else "rest"


def blocks(name: str) -> str:
    """Return the block of a tensor."""
    return next((block for block in BLOCKS if name.startswith(block)), "ends")


def kinds(name: str) -> str:
    """Return the block of a tensor, and whether it is of cross-attention, other attention or convolution."""
    part = "cross" if ".attn2." in name else "attention" if ".attentions." in name else "conv"
    return f"{blocks(name)} {part}"


def one_group(_: str) -> str:
    """Return the one group of all tensors."""
    return "all"


class Merger:
    """Writes candidates into one denoiser in place. Weights: [sources, groups]."""

    def __init__(
        self,
        denoiser: UNet2DConditionModel,
        base: State,
        sources: Sequence[State],
        grouping: Callable[[str], str],
    ) -> None:
        self.denoiser = denoiser
        self._weights = dict(denoiser.named_parameters())
        self.groups = list(dict.fromkeys(grouping(name) for name in self._weights))
        self._group = {name: self.groups.index(grouping(name)) for name in self._weights}
        self._base = {name: base[name] for name in self._weights}
        self._deltas = [{name: state[name] - base[name] for name in self._weights} for state in sources]

    @torch.no_grad()
    def write(self, weights: torch.Tensor) -> UNet2DConditionModel:
        """Write a candidate and return the denoiser."""
        for name, weight in self._weights.items():
            weight.copy_(self._base[name])
            for delta, row in zip(self._deltas, weights.tolist(), strict=True):
                if row[self._group[name]]:
                    weight.add_(delta[name], alpha=row[self._group[name]])
        return self.denoiser

    def norms(self) -> list[float]:
        """Return the length of each source's difference from the base."""
        return [sum(float(d.square().sum()) for d in delta.values()) ** 0.5 for delta in self._deltas]
