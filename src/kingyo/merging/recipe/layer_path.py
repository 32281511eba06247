"""A path: the sequence of layers, from several models, that the tokens pass through, with their scales.

Without scales, a path equals mergekit slices of one source each, and can be converted from and to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, GetPydanticSchema, PlainSerializer

from kingyo.errors import KingyoError
from kingyo.merging.recipe.contents import Layers, Model, Slice, SliceSource
from kingyo.merging.recipe.shape import Shape, Whole, filled

PASSTHROUGH = "passthrough"
"""The merge method of recipes that only stack layers."""
MAX_HOPS = 4096
"""Limit of layers in a path, so that a typing error does not fill the memory."""
MERGED = "merged"
"""Default name of a merge that is one of the models of a path."""
FARTHEST = 1024.0
"""Products of scales are between 1 / FARTHEST and FARTHEST. Outside, half precision overflows, or the eps of
norms is no longer small compared to the hidden states."""
LIST_HOPS = "List the layers below path:, each as `- {model: path/to, layer: 3}` or with layer_range: [0, 8]."


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One step of a path: a layer of a model.

    Attributes:
        model: reference of the model, as written.
        layer: number of the layer in that model, from 0.
        scale: factor above 0 of the hidden states that enter the layer, including its skip connection.
    """

    model: str
    layer: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.layer < 0:
            expected = "a layer's number of at least 0"
            received = str(self.layer)
            remedy = "Count layers from 0."
            raise KingyoError(f"layer of {self.model}", expected, received, remedy)
        if not (math.isfinite(self.scale) and self.scale > 0):
            remedy = "Write 1 for no change, or remove the layer to switch it off."
            raise KingyoError(
                f"scale of layer {self.layer} of {self.model}", "a number above 0", str(self.scale), remedy
            )
        object.__setattr__(self, "scale", float(self.scale))


Path = tuple[Hop, ...]


def cumulative(path: Sequence[Hop]) -> tuple[float, ...]:
    """Return C_k of every hop k: the product of the scales up to its own.

    Raises:
        KingyoError: a product is too large or too small; see ``FARTHEST``.
    """
    products: list[float] = []
    for k, hop in enumerate(path):
        product = hop.scale * (products[-1] if products else 1.0)
        if not 1 / FARTHEST <= product <= FARTHEST:
            raise KingyoError(
                f"path[{k}]: scale of layer {hop.layer} of {hop.model}",
                f"scales with a product between 1/{FARTHEST:g} and {FARTHEST:g} up to here",
                f"{product:.4g}, after {hop.scale:g} here",
                "Choose scales closer to 1, or fewer of them.",
            )
        products.append(product)
    return tuple(products)


def dump_path(path: Sequence[Hop]) -> list[dict[str, object]]:
    """Return the list below ``path:``; consecutive layers without a scale become a range."""
    entries: list[dict[str, object]] = []
    for model, first, end, scale in _runs(path):
        layers = {"layer": first} if end == first + 1 else {"layer_range": [first, end]}
        entries.append({"model": model, **layers, **({} if scale == 1 else {"scale": scale})})
    return entries


def path_as_slices(path: Sequence[Hop]) -> tuple[Slice, ...]:
    """Convert a path to slices of one source each, for mergekit's passthrough."""
    for k, hop in enumerate(path):
        if hop.scale != 1:
            raise KingyoError(
                f"path[{k}]",
                "scale 1 everywhere, since slices cannot express scales",
                f"{hop.scale:g} at layer {hop.layer} of {hop.model}",
                "Write the model with `kingyo merge` or `kingyo export`, which fold scales into "
                "weights. In a run.yaml, set scales: none.",
            )
    return tuple(
        Slice(sources=(SliceSource(model=model, layers=(first, end)),))
        for model, first, end, _ in _runs(path)
    )


def path_of_slices(slices: Sequence[Slice]) -> Path | None:
    """Convert slices to a path; None if a slice merges several sources or has parameters."""
    hops: list[Hop] = []
    for each in slices:
        (source, *others) = each.sources
        if others or each.parameters or source.parameters or each.base_model is not None:
            return None
        hops += [Hop(model=source.model, layer=number) for number in range(*source.layers)]
    return tuple(hops)


def _runs(path: Sequence[Hop]) -> list[tuple[str, int, int, float]]:
    """Return runs of layers as (model, first, last + 1, scale); hops with a scale are not joined."""
    runs: list[tuple[str, int, int, float]] = []
    for hop in path:
        if runs and hop.scale == 1:
            model, first, end, scale = runs[-1]
            if scale == 1 and (model, end) == (hop.model, hop.layer):
                runs[-1] = model, first, end + 1, 1.0
                continue
        runs.append((hop.model, hop.layer, hop.layer + 1, hop.scale))
    return runs


@dataclass(frozen=True, kw_only=True)
class _PathEntry(Shape):
    """An entry below ``path:``: one layer, or a range of layers without scales."""

    FORM: ClassVar[str] = LIST_HOPS

    model: Model
    layer: Whole | None = None
    layer_range: Layers | None = None
    scale: Annotated[float, Field(strict=True)] | None = None
    hops: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hops", self._hops())

    def _hops(self) -> Path:
        if (self.layer is None) == (self.layer_range is None):
            received = "neither" if self.layer is None else "both"
            raise KingyoError("", "either layer or layer_range", received, LIST_HOPS)
        if self.layer_range is None:
            scale = 1.0 if self.scale is None else self.scale
            return (Hop(model=self.model, layer=self.layer or 0, scale=scale),)
        if self.scale is not None:
            expected = "a scale only with layer, since each layer has its own"
            remedy = "Write each layer with a scale as a separate entry."
            raise KingyoError("", expected, "scale with layer_range", remedy)
        source = SliceSource(model=self.model, layers=self.layer_range)
        if not 1 <= source.n_layers <= MAX_HOPS:
            expected = f"1 to {MAX_HOPS} layers"
            remedy = "Choose other layers; layer_range is [first, last + 1]."
            raise KingyoError("layer_range", expected, str(source.n_layers), remedy)
        return tuple(Hop(model=self.model, layer=number) for number in range(*source.layers))


def _hops(entries: Sequence[_PathEntry]) -> Path:
    return tuple(chain.from_iterable(entry.hops for entry in entries))


_Entries = Annotated[
    tuple[_PathEntry, ...], filled((list, tuple), "a list of hops", LIST_HOPS), AfterValidator(_hops)
]
Hops = Annotated[Path, GetPydanticSchema(lambda _, handler: handler(_Entries)), PlainSerializer(dump_path)]
"""The value of ``path:``."""
