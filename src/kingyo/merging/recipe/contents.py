"""The contents of a recipe: complete models, slices of their layers, and modules with either.

Whether a model has these layers is checked when it is opened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Annotated, ClassVar, cast

from pydantic import AfterValidator, BeforeValidator, Field, GetPydanticSchema, PlainSerializer

from kingyo.core.io.units import counted
from kingyo.errors import KingyoError
from kingyo.merging.recipe.shape import Shape, Text, Whole, filled, validate, wanted
from kingyo.merging.recipe.values import Parameters, Value, canonical

LIST_MODELS = "List the models below models:, each as `- model: path/to/model`."
LIST_SLICES = "List slices below slices:, each with sources: of `{model: path/to, layer_range: [0, 8]}`."
NAME_MODULES = "Write lines of `name of a part:`, each with models: or slices: below."

Place = Callable[[str], str]
"""From a reference of a model to another."""

Layers = Annotated[
    tuple[Whole, Whole],
    wanted(
        "two whole numbers (the first layer and the one after the last)",
        "Write it as layer_range: [0, 8] for layers 0 to 7.",
    ),
]


def _check_given(name: object) -> object:
    if name is None or name == "":
        remedy = "Add the line `model: path/to/model` to this entry."
        raise KingyoError("", "a folder or a Hub name", "nothing", remedy)
    return name


_Name = Annotated[Text, BeforeValidator(_check_given)]


@dataclass(frozen=True, kw_only=True)
class _Location(Shape):
    path: _Name
    revision: Text | None = None


def _parse_location(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    location = validate(_Location, cast("object", value))
    return f"{location.path}@{location.revision}" if location.revision else location.path


@dataclass(frozen=True, kw_only=True)
class _Parts(Shape):
    model: Annotated[_Name, BeforeValidator(_parse_location)]
    lora: Annotated[Text | None, BeforeValidator(_parse_location)] = None


def _parse_parts(value: object) -> object:
    if not isinstance(value, Mapping):
        return None if value == "" else value
    parts = validate(_Parts, cast("object", value))
    return f"{parts.model}+{parts.lora}" if parts.lora else parts.model


Model = Annotated[_Name, BeforeValidator(_parse_parts)]
Base = Annotated[Text | None, BeforeValidator(_parse_parts)]
"""References of models: a text, or mergekit's mapping of its parts, which is converted to text."""


@dataclass(frozen=True, kw_only=True)
class Source(Shape):
    """A model to merge: its reference as written, and its own parameters."""

    FORM: ClassVar[str] = "Write it as `- model: path/to/model`."
    model: Model
    parameters: Parameters = field(default_factory=dict[str, Value])

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", canonical(self.parameters, self.model))


@dataclass(frozen=True, kw_only=True)
class SliceSource(Shape):
    """Some layers of one model: the first, and the one after the last.

    (0, 0) in the first slice selects only the tensors before the layers, in the last slice those after them.
    """

    FORM: ClassVar[str] = "Write it as `- {model: path/to/model, layer_range: [0, 8]}`."

    model: Model
    layers: Annotated[Layers, Field(alias="layer_range")]
    parameters: Parameters = field(default_factory=dict[str, Value])

    def __post_init__(self) -> None:
        first, end = self.layers
        if first < 0 or end < first or (end == first and first > 0):
            expected = "the first layer and the one after the last, such as [0, 8]"
            remedy = "Count layers from 0, and end after the first; a slice without layers is [0, 0]."
            raise KingyoError(f"layer_range of {self.model}", expected, f"[{first}, {end}]", remedy)
        object.__setattr__(self, "layers", (first, end))
        object.__setattr__(self, "parameters", canonical(self.parameters, self.model))

    @property
    def n_layers(self) -> int:
        return self.layers[1] - self.layers[0]


@dataclass(frozen=True, kw_only=True)
class Slice(Shape):
    """Some layers of the output, merged from the same number of layers of each source.

    Random methods draw by the position of a source. ``base_model`` is one of them; the recipe's base if None.
    """

    FORM: ClassVar[str] = LIST_SLICES
    sources: Annotated[tuple[SliceSource, ...], filled((list, tuple), "a list of sources", LIST_SLICES)]
    base_model: Base = None
    parameters: Parameters = field(default_factory=dict[str, Value])

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        object.__setattr__(self, "parameters", canonical(self.parameters, "slice"))
        if not self.sources:
            raise KingyoError("slices", "at least one source in each", "none", LIST_SLICES)
        for source in self.sources:
            if source.n_layers != self.n_layers:
                expected = (
                    f"{counted(self.n_layers, 'layer')} of every source of a slice, as for "
                    f"{self.sources[0].model}"
                )
                remedy = "Give all sources of one slice ranges of the same length."
                raise KingyoError("layer_range", expected, f"{source.n_layers} of {source.model}", remedy)

    @property
    def n_layers(self) -> int:
        return self.sources[0].n_layers

    def renamed(self, place: Place) -> Slice:
        return replace(
            self,
            sources=tuple(replace(source, model=place(source.model)) for source in self.sources),
            base_model=None if self.base_model is None else place(self.base_model),
        )


Sources = Annotated[tuple[Source, ...], filled((list, tuple), "a list of models", LIST_MODELS)]
Slices = Annotated[tuple[Slice, ...], filled((list, tuple), "a list of slices", LIST_SLICES)]


@dataclass(frozen=True, kw_only=True)
class Module(Shape):
    """One part of models with several stacks of layers: ``sources`` (complete models) or ``slices``."""

    FORM: ClassVar[str] = NAME_MODULES

    sources: Annotated[Sources, Field(alias="models")] = ()
    slices: Slices = ()
    parameters: Parameters = field(default_factory=dict[str, Value])

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        object.__setattr__(self, "slices", tuple(self.slices))
        object.__setattr__(self, "parameters", canonical(self.parameters, "module"))
        check_one_of({"models": self.sources, "slices": self.slices})
        check_empty(self.slices)

    def renamed(self, place: Place) -> Module:
        return replace(
            self,
            sources=tuple(replace(source, model=place(source.model)) for source in self.sources),
            slices=tuple(each.renamed(place) for each in self.slices),
        )


def check_one_of(given: Mapping[str, Sequence[object]]) -> None:
    """Check that exactly one of the possible contents of a recipe or a module, by key, is not empty."""
    present = [key for key, value in given.items() if value]
    if len(present) != 1:
        *others, last = given
        expected = f"exactly one of {', '.join(others)} and {last}"
        received = " and ".join(present) or "none of them"
        remedy = "Keep one of them." if present else LIST_MODELS
        raise KingyoError("models", expected, received, remedy)


def check_empty(slices: Sequence[Slice]) -> None:
    """Check that only the first and the last slice have no layers, and not all."""
    inner = [i for i in range(1, len(slices) - 1) if not slices[i].n_layers]
    if inner or (slices and not any(each.n_layers for each in slices)):
        expected = "layers (only the first and the last slice may have none)"
        remedy = "Remove the slice, or name its layers."
        raise KingyoError(f"slices[{inner[0] if inner else 0}]", expected, "layer_range: [0, 0]", remedy)


def references(
    sources: Sequence[Source], slices: Sequence[Slice], modules: Mapping[str, Module]
) -> Iterator[str]:
    for source in sources:
        yield source.model
    for each in slices:
        yield from (source.model for source in each.sources)
        if each.base_model is not None:
            yield each.base_model
    for module in modules.values():
        yield from references(module.sources, module.slices, {})


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
    """One step of a path: a layer of a model, and the factor above 0 of the hidden states that enter it.

    The factor also multiplies the layer's skip connection.
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
    """Return C_k of every hop k: the product of the scales up to its own, within ``FARTHEST``."""
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
    FORM: ClassVar[str] = LIST_HOPS

    model: Model
    layer: Whole | None = None
    layer_range: Layers | None = None
    scale: Annotated[float, Field(strict=True)] | None = None
    hops: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hops", self._hops())

    def _hops(self) -> Path:
        is_range = self.layer_range is not None
        if (self.layer is None) != is_range or (is_range and self.scale is not None):
            given = {"layer": self.layer, "layer_range": self.layer_range, "scale": self.scale}
            received = ", ".join(key for key, value in given.items() if value is not None) or "neither"
            expected = "either layer, which may have a scale, or layer_range"
            raise KingyoError("", expected, received, LIST_HOPS)
        if self.layer_range is None:
            scale = 1.0 if self.scale is None else self.scale
            return (Hop(model=self.model, layer=self.layer or 0, scale=scale),)
        source = SliceSource(model=self.model, layers=self.layer_range)
        if not 1 <= source.n_layers <= MAX_HOPS:
            remedy = "Choose other layers; layer_range is [first, last + 1]."
            raise KingyoError("layer_range", f"1 to {MAX_HOPS} layers", str(source.n_layers), remedy)
        return tuple(Hop(model=self.model, layer=number) for number in range(*source.layers))


def _hops(entries: Sequence[_PathEntry]) -> Path:
    return tuple(chain.from_iterable(entry.hops for entry in entries))


_Entries = Annotated[
    tuple[_PathEntry, ...], filled((list, tuple), "a list of hops", LIST_HOPS), AfterValidator(_hops)
]
Hops = Annotated[Path, GetPydanticSchema(lambda _, handler: handler(_Entries)), PlainSerializer(dump_path)]
"""The value of ``path:``."""
