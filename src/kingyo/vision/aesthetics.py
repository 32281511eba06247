"""Heads that rate pictures by their CLIP features, such as LAION's aesthetic predictors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, torch
from kingyo.vision.frozen import stamps

_NAME = re.compile(r"(?:(.*\D)?(\d+)\.)?(weight|bias)")


class AestheticHead:
    """A multi-layer perceptron on CLIP features of length 1, with one output."""

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], activation: str) -> None:
        self._layers = layers
        self._activation = activation

    def ratings(self, vectors: Tensor) -> list[float]:
        """Return the rating of each picture from the vectors of pictures: [pictures, width]."""
        values = vectors
        for number, (weight, bias) in enumerate(self._layers):
            values = torch.relu(values) if number and self._activation == "relu" else values
            values = values @ weight.T + bias
        return cast("list[float]", values[:, 0].tolist())  # pyright: ignore[reportUnknownMemberType]


def load_head(file: Path, activation: str, width: int) -> AestheticHead:
    """Load a head from a safetensors file; equal arguments give one object until the file changes.

    Its tensors are called ``layers.0.weight``, ``layers.0.bias`` and so on, or ``weight`` and ``bias``.
    Layers follow one another by number; numbers may be missing.

    Args:
        file: the safetensors file.
        activation: ``none`` or ``relu``, between the layers.
        width: number of features that the head must read.

    Raises:
        KingyoError: the file is no such head, or reads another number of features.
    """
    return _loaded(file, activation, width, stamps(str(file)))


@lru_cache(maxsize=4)
def _loaded(file: Path, activation: str, width: int, _stamps: object) -> AestheticHead:
    try:
        from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

        layers = _layers(load_file(file))
    except Exception as error:  # a broken file may raise anything
        raise KingyoError(
            str(file),
            expected="a safetensors file of linear layers that end in one number",
            received=f"{type(error).__name__}: {error}"[:300],
            remedy="Convert a .pth file: save_file(torch.load(FILE, weights_only=True), 'head.safetensors').",
        ) from error
    own = layers[0][0].shape[1]
    if own != width:
        raise KingyoError(
            str(file),
            expected=f"a head on {width} features, as the model has",
            received=f"one on {own}",
            remedy="Name the CLIP model that the head was trained with, such as ViT-L/14 for LAION's.",
        )
    return AestheticHead(layers, activation)


def _layers(tensors: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    by_number: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parts = _NAME.fullmatch(name)
        if parts is None:
            raise ValueError(f"the tensor {name}")
        by_number.setdefault(int(parts[2] or 0), {})[parts[3]] = tensor.float()
    layers = [(own["weight"], own["bias"]) for _, own in sorted(by_number.items())]
    if not all(bool(torch.isfinite(part).all()) for layer in layers for part in layer):
        raise ValueError("NaN or infinity")
    widths = [layers[0][0].shape[1], *(weight.shape[0] for weight, _ in layers)]
    fits = all(weight.shape[1] == width for (weight, _), width in zip(layers, widths[:-1], strict=True))
    if not fits or widths[-1] != 1:
        raise ValueError(f"layers of widths {' -> '.join(map(str, widths))}")
    return layers
