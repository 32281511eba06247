"""A path: the sequence of layers, from several models, that the tokens pass through, with their scales.

Without scales, a path equals mergekit slices of one source each, and can be converted from and to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import cast

from kingyo.errors import KingyoError, Refuse, attempt
from kingyo.recipe.checks import check_keys, items, mapping, short
from kingyo.recipe.contents import Slice, SliceSource
from kingyo.recipe.parsing import parse_layers, parse_model

PASSTHROUGH = "passthrough"
"""The merge method of recipes that only stack layers."""
MOST_HOPS = 4096
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
            raise KingyoError(
                f"layer of {self.model}",
                expected="a layer's number of at least 0",
                received=str(self.layer),
                remedy="Count layers from 0.",
            )
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise KingyoError(
                f"scale of layer {self.layer} of {self.model}",
                expected="a number above 0",
                received=str(self.scale),
                remedy="Write 1 for no change, or remove the layer to switch it off.",
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
                expected=f"scales with a product between 1/{FARTHEST:g} and {FARTHEST:g} up to here",
                received=f"{product:.4g}, after {hop.scale:g} here",
                remedy="Choose scales closer to 1, or fewer of them.",
            )
        products.append(product)
    return tuple(products)


def check_length(path: Sequence[Hop]) -> None:
    """Check that a path has at most ``MOST_HOPS`` layers.

    Raises:
        KingyoError: the path is longer.
    """
    if len(path) > MOST_HOPS:
        raise _too_long(len(path), "path")


def _too_long(length: int, where: str) -> KingyoError:
    """Return the error for a path that is too long."""
    return KingyoError(
        where,
        expected=f"at most {MOST_HOPS} layers",
        received=str(length),
        remedy="Choose fewer layers; layer_range is [first, last + 1].",
    )


def parse_path(data: object, where: str, refuse: Refuse) -> Path:
    """Parse the list below ``path:``, and call ``refuse`` with every mistake."""
    entries = attempt(lambda: items(data, f"{where}: path", "hops", LIST_HOPS), refuse, ())
    hops = (
        attempt(lambda i=i, entry=entry: _parse_hops(entry, f"{where}: path[{i}]"), refuse, ())
        for i, entry in enumerate(entries)
    )
    return tuple(chain.from_iterable(hops))


def dump_path(path: Sequence[Hop]) -> list[dict[str, object]]:
    """Return the list below ``path:``; consecutive layers without a scale become a range."""
    entries: list[dict[str, object]] = []
    for model, first, end, scale in _runs(path):
        layers = {"layer": first} if end == first + 1 else {"layer_range": [first, end]}
        entries.append({"model": model, **layers, **({} if scale == 1 else {"scale": scale})})
    return entries


def path_as_slices(path: Sequence[Hop]) -> tuple[Slice, ...]:
    """Convert a path to slices of one source each, for mergekit's passthrough.

    Raises:
        KingyoError: a hop has a scale, which slices cannot express.
    """
    for k, hop in enumerate(path):
        if hop.scale != 1:
            raise KingyoError(
                f"path[{k}]",
                expected="scale 1 everywhere, since slices cannot express scales",
                received=f"{hop.scale:g} at layer {hop.layer} of {hop.model}",
                remedy="Write the model with `kingyo merge` or `kingyo export`, which fold scales into "
                "weights. In a run.yaml, set scales: none.",
            )
    return tuple(
        Slice(sources=(SliceSource(model=model, layers=(first, end)),))
        for model, first, end, _ in _runs(path)
    )


def path_of_slices(slices: Sequence[Slice]) -> Path | None:
    """Convert slices to a path; None if a slice merges several sources or has parameters.

    Raises:
        KingyoError: the slices have more than ``MOST_HOPS`` layers.
    """
    hops: list[Hop] = []
    if (length := sum(each.n_layers for each in slices)) > MOST_HOPS:
        raise _too_long(length, "slices")
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


def _parse_hops(entry: object, where: str) -> Path:
    pairs = mapping(entry, where, LIST_HOPS)
    check_keys(pairs, ("model", "layer", "layer_range", "scale"), where)
    if ("layer" in pairs) == ("layer_range" in pairs):
        raise KingyoError(
            where,
            expected="either layer or layer_range",
            received="both" if "layer" in pairs else "neither",
            remedy=LIST_HOPS,
        )
    model = parse_model(pairs, where)
    if "layer" in pairs:
        return (_parse_hop(model, pairs, where),)
    if "scale" in pairs:
        raise KingyoError(
            where,
            expected="a scale only with layer, since each layer has its own",
            received="scale with layer_range",
            remedy="Write each layer with a scale as a separate entry.",
        )
    source = SliceSource(model=model, layers=parse_layers(pairs["layer_range"], f"{where}.layer_range"))
    if not source.n_layers:
        raise KingyoError(
            f"{where}.layer_range",
            expected="the first layer and the one after the last, such as [0, 8]",
            received="[0, 0]",
            remedy="Remove the entry; embeddings and head come from base_model.",
        )
    first, end = source.layers
    if end - first > MOST_HOPS:
        raise _too_long(end - first, f"{where}.layer_range")
    return tuple(Hop(model=model, layer=number) for number in range(*source.layers))


def _parse_hop(model: str, pairs: Mapping[str, object], where: str) -> Hop:
    layer, scale = pairs["layer"], pairs.get("scale", 1.0)
    if type(layer) is not int:
        raise KingyoError(
            f"{where}.layer",
            expected="a whole number",
            received=short(layer),
            remedy="Write it without quotes, such as layer: 3.",
        )
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        raise KingyoError(
            f"{where}.scale",
            expected="a number above 0",
            received=short(scale),
            remedy="Write it without quotes, such as scale: 0.9.",
        )
    try:
        return Hop(model=model, layer=layer, scale=float(cast("float", scale)))
    except KingyoError as error:
        raise error.placed(where) from error
