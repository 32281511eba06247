"""A path: which layers of which models the tokens pass through, in which order, with which scales.

It knows no file and no tensor. Without scales a path is what mergekit calls slices of one source each, and is
read from them and written as them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import cast

from kingyo.errors import KingyoError, Refuse, attempt
from kingyo.recipe.checks import check_keys, items, mapping, short
from kingyo.recipe.pieces import Slice, SliceSource
from kingyo.recipe.reading import parse_layers, parse_model

PASSTHROUGH = "passthrough"
"""The method of a recipe that merges nothing along its layers."""
MOST_HOPS = 4096
"""Layers of a path: far more than any model has, and few enough that a slip of the pen fills no memory."""
MERGED = "merged"
"""What a merge is called that is itself one of the models of a path, where nobody named it."""
FARTHEST = 1024.0
"""Products of scales lie between 1 / FARTHEST and FARTHEST: beyond, half precision overflows, and the numbers
that keep norms from dividing by nothing are no longer small beside the stream."""
LIST_HOPS = "List the layers below path:, each as `- {model: path/to, layer: 3}` or with layer_range: [0, 8]."


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One step of a path: a layer of a model.

    Attributes:
        model: its reference as written.
        layer: its number in that model; the first is 0.
        scale: what the stream that enters the layer is multiplied by, above 0. Whatever follows sees the
            product, the layer's own skip connection too.
    """

    model: str
    layer: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.layer < 0:
            raise KingyoError(
                f"layer of {self.model}",
                expected="the number of a layer, of which the first is 0",
                received=str(self.layer),
                remedy="Count from the first layer.",
            )
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise KingyoError(
                f"scale of layer {self.layer} of {self.model}",
                expected="a number above 0",
                received=str(self.scale),
                remedy="Leave the layer out to switch it off; 1 changes nothing.",
            )
        object.__setattr__(self, "scale", float(self.scale))


Path = tuple[Hop, ...]


def cumulative(path: Sequence[Hop]) -> tuple[float, ...]:
    """Return C_k of every hop: the product of the scales up to its own.

    Raises:
        KingyoError: one is too large or too small to compute with.
    """
    found: list[float] = []
    for k, hop in enumerate(path):
        product = hop.scale * (found[-1] if found else 1.0)
        if not 1 / FARTHEST <= product <= FARTHEST:
            raise KingyoError(
                f"path[{k}]: scale of layer {hop.layer} of {hop.model}",
                expected=f"scales whose product so far is between 1/{FARTHEST:g} and {FARTHEST:g}",
                received=f"{product:.4g}, by {hop.scale:g} here",
                remedy="Take scales nearer to 1, or fewer of them.",
            )
        found.append(product)
    return tuple(found)


def check_length(path: Sequence[Hop]) -> None:
    """Refuse a path of more than ``MOST_HOPS``.

    Raises:
        KingyoError: it has more.
    """
    if len(path) > MOST_HOPS:
        raise _too_long(len(path), "path")


def _too_long(length: int, where: str) -> KingyoError:
    """What is wrong with a path of so many layers."""
    return KingyoError(
        where,
        expected=f"at most {MOST_HOPS} layers",
        received=str(length),
        remedy="Pass through fewer layers: layer_range is [first, the one behind the last].",
    )


def parse_path(data: object, where: str, refuse: Refuse) -> Path:
    """Read the list below ``path:``; ``refuse`` is told of all that is wrong with it."""
    entries = attempt(lambda: items(data, f"{where}: path", "hops", LIST_HOPS), refuse, ())
    hops = (
        attempt(lambda i=i, entry=entry: _parse_hops(entry, f"{where}: path[{i}]"), refuse, ())
        for i, entry in enumerate(entries)
    )
    return tuple(chain.from_iterable(hops))


def dump_path(path: Sequence[Hop]) -> list[dict[str, object]]:
    """The list below ``path:``; layers without a scale that follow one another are written as a range."""
    found: list[dict[str, object]] = []
    for model, first, end, scale in _runs(path):
        where = {"layer": first} if end == first + 1 else {"layer_range": [first, end]}
        found.append({"model": model, **where, **({} if scale == 1 else {"scale": scale})})
    return found


def path_as_slices(path: Sequence[Hop]) -> tuple[Slice, ...]:
    """Write a path as slices of one source each, which mergekit's passthrough stacks.

    Raises:
        KingyoError: a hop has a scale, which slices cannot say.
    """
    for k, hop in enumerate(path):
        if hop.scale != 1:
            raise KingyoError(
                f"path[{k}]",
                expected="scale 1 everywhere, as slices know no scale of what enters a layer",
                received=f"{hop.scale:g} at layer {hop.layer} of {hop.model}",
                remedy="Write the model itself: `kingyo merge` and `kingyo export` fold scales into weights. "
                "In a run.yaml say scales: none.",
            )
    return tuple(
        Slice(sources=(SliceSource(model=model, layers=(first, end)),))
        for model, first, end, _ in _runs(path)
    )


def path_of_slices(slices: Sequence[Slice]) -> Path | None:
    """Read slices as a path; None where one merges several sources or has parameters.

    Raises:
        KingyoError: they have more layers than a path may have.
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
    """Model, first layer, the one behind the last, scale; hops with a scale stand alone."""
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
            expected="a scale beside layer, since each layer has one of its own",
            received="scale beside layer_range",
            remedy="Write each layer that has a scale as an entry of its own.",
        )
    source = SliceSource(model=model, layers=parse_layers(pairs["layer_range"], f"{where}.layer_range"))
    if not source.n_layers:
        raise KingyoError(
            f"{where}.layer_range",
            expected="the first layer and the one behind the last, such as [0, 8]",
            received="[0, 0]",
            remedy="Leave the entry out; embeddings and head are those of base_model.",
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
