"""The grader ``aesthetic``: how good an image looks, by a head on the features of CLIP."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.io.schema import Real
from kingyo.core.types import Item, Media
from kingyo.errors import KingyoError
from kingyo.models.vision.frozen import kept_until_files_change, load_two_towers
from kingyo.tasks.graders.grader import FilePath, register_grader


@register_grader("aesthetic")
@dataclass(frozen=True, kw_only=True)
class AestheticGrader:
    """How good an image looks: linear layers on its CLIP vector of length 1, as LAION rates images.

    Attributes:
        model: folder or Hub name of the CLIPModel whose vectors the head was trained on.
        head: safetensors file of the layers, in the order of the numbers in their names.
        low: rating that scores 0.
        high: rating that scores 1.
    """

    grades = "images"

    model: FilePath
    head: FilePath
    low: Real = 1.0
    high: Real = 10.0

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError("low below high")

    def check(self, _items: Sequence[Item]) -> None:
        towers = load_two_towers(self.model)
        layers, widths = _read_layers(self.head), [towers.width]
        for weight, _ in layers:
            fits = weight.ndim == 2 and weight.shape[1] == widths[-1]
            widths.append(weight.shape[0] if fits else -1)
        if widths[-1] != 1 or -1 in widths:
            received = ", ".join("×".join(map(str, weight.shape)) for weight, _ in layers) or "none"
            expected = f"linear layers from the {towers.width} features of {self.model} to one number"
            raise KingyoError(self.head, expected, received, "Name the model that the head was trained with.")

    def __call__(self, images: Sequence[Media], _items: Sequence[Item]) -> list[float]:
        values = load_two_towers(self.model).image_vectors(images)
        for weight, bias in _read_layers(self.head):
            values = values @ weight.T + bias
        shares = (values[:, 0] - self.low) / (self.high - self.low)
        return list(map(float, shares.clamp(0, 1)))


@kept_until_files_change
def _read_layers(file: str) -> list[tuple[Tensor, Tensor]]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

    try:
        tensors = {name: each.float() for name, each in load_file(file).items()}
    except (SafetensorError, OSError) as error:
        remedy = "Convert a .pth file: save_file(torch.load(FILE, weights_only=True), 'head.safetensors')."
        raise KingyoError(file, "a safetensors file of linear layers", str(error), remedy) from error
    weights = [name for name in tensors if re.fullmatch(r"(.*\.)?weight", name)]
    weights.sort(key=lambda name: [int(each) for each in re.findall(r"\d+", name)])
    pairs = [(tensors[name], tensors.get(f"{name.removesuffix('weight')}bias")) for name in weights]
    layers = [(weight, torch.zeros(len(weight)) if bias is None else bias) for weight, bias in pairs]
    if not all(bool(torch.isfinite(each).all()) for layer in layers for each in layer):
        raise KingyoError(file, "finite numbers", "NaN or infinity", "Get the head again.")
    return layers
