"""Tensors of LoRAs in files without a config."""

from __future__ import annotations

import torch
from torch import Tensor

RANK = 2
Tensors = dict[str, Tensor]


def pair(shape: tuple[int, ...], seed: int, rank: int = RANK) -> tuple[Tensor, Tensor]:
    """Return random down and up weights; for a convolution, k × k down and 1 × 1 up."""
    generator = torch.Generator().manual_seed(seed)
    outputs, *inputs = shape
    ones = [1] * (len(shape) - 2)
    return torch.randn(rank, *inputs, generator=generator), torch.randn(
        outputs, rank, *ones, generator=generator
    )
