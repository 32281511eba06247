"""What a recipe is made of: models as wholes, slices of their layers, and modules that hold either.

It knows no file and no tensor: whether a model has these layers shows when it is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kingyo.errors import KingyoError
from kingyo.recipe.values import Value, canonical, dump_values
from kingyo.sizes import counted

LIST_MODELS = "List the models below models:, each as `- model: path/to/model`."
LIST_SLICES = "List slices below slices:, each with sources: of `{model: path/to, layer_range: [0, 8]}`."


@dataclass(frozen=True, kw_only=True)
class Source:
    """One model that is merged: its reference as written, and the parameters that are its own."""

    model: str
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", canonical(self.parameters, self.model))

    def to_dict(self) -> dict[str, object]:
        """The entry of the YAML."""
        found: dict[str, object] = {"model": self.model}
        return found | _dump_parameters(self.parameters)


@dataclass(frozen=True, kw_only=True)
class SliceSource:
    """Some layers of one model.

    Attributes:
        model: its reference as written.
        layers: the first layer, and the one behind the last; (0, 0): none, but what lies before all layers
            where it is of the first slice, and behind them of the last.
        parameters: those that are its own.
    """

    model: str
    layers: tuple[int, int]
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])

    def __post_init__(self) -> None:
        first, end = self.layers
        if first < 0 or end < first or (end == first and first > 0):
            raise KingyoError(
                f"layer_range of {self.model}",
                expected="the first layer and the one behind the last, such as [0, 8]",
                received=f"[{first}, {end}]",
                remedy="Count layers from 0, and end behind the first; a slice without layers is [0, 0].",
            )
        object.__setattr__(self, "layers", (first, end))
        object.__setattr__(self, "parameters", canonical(self.parameters, self.model))

    @property
    def n_layers(self) -> int:
        """How many layers it takes."""
        return self.layers[1] - self.layers[0]

    def to_dict(self) -> dict[str, object]:
        """The entry of the YAML."""
        found: dict[str, object] = {"model": self.model, "layer_range": list(self.layers)}
        return found | _dump_parameters(self.parameters)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Some layers of the output: merged from as many layers of each source.

    Attributes:
        sources: in order; random methods draw by position.
        base_model: one of the sources; the recipe's base when None.
        parameters: for all sources; those of a source come first.
    """

    sources: tuple[SliceSource, ...]
    base_model: str | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        object.__setattr__(self, "parameters", canonical(self.parameters, "slice"))
        if not self.sources:
            raise KingyoError(
                "slices", expected="at least one source in each", received="none", remedy=LIST_SLICES
            )
        for source in self.sources:
            if source.n_layers != self.n_layers:
                raise KingyoError(
                    "layer_range",
                    expected=f"{counted(self.n_layers, 'layer')} of every source of a slice, as of "
                    f"{self.sources[0].model}",
                    received=f"{source.n_layers} of {source.model}",
                    remedy="Give all sources of one slice ranges of the same length.",
                )

    @property
    def n_layers(self) -> int:
        """How many layers it adds to the output."""
        return self.sources[0].n_layers

    def to_dict(self) -> dict[str, object]:
        """The entry of the YAML."""
        found: dict[str, object] = {"sources": [source.to_dict() for source in self.sources]}
        if self.base_model is not None:
            found["base_model"] = self.base_model
        return found | _dump_parameters(self.parameters)


@dataclass(frozen=True, kw_only=True)
class Module:
    """One part of models that have several stacks of layers: merged from whole models, or in slices.

    Attributes:
        sources, slices: one of them; the other is empty.
        parameters: for all of them; those of a slice or a source come first.
    """

    sources: tuple[Source, ...] = ()
    slices: tuple[Slice, ...] = ()
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        object.__setattr__(self, "slices", tuple(self.slices))
        object.__setattr__(self, "parameters", canonical(self.parameters, "module"))
        check_one_of({"models": self.sources, "slices": self.slices})
        check_empty(self.slices)

    def to_dict(self) -> dict[str, object]:
        """The entry of the YAML."""
        return dump_contents(self.sources, self.slices) | _dump_parameters(self.parameters)


def check_one_of(given: Mapping[str, Sequence[object]]) -> None:
    """Refuse a recipe or a module that says twice, or not at all, what it is made of.

    Args:
        given: what it may be made of, by key; exactly one should not be empty.

    Raises:
        KingyoError: all are empty, or several are not.
    """
    present = [key for key, value in given.items() if value]
    if len(present) != 1:
        *others, last = given
        raise KingyoError(
            "models",
            expected=f"exactly one of {', '.join(others)} and {last}",
            received=" and ".join(present) or "none of them",
            remedy="Keep one of them." if present else LIST_MODELS,
        )


def check_empty(slices: Sequence[Slice]) -> None:
    """Refuse slices without layers where they mean nothing.

    Raises:
        KingyoError: one stands between others, or no slice has layers.
    """
    inner = [i for i in range(1, len(slices) - 1) if not slices[i].n_layers]
    if inner or (slices and not any(each.n_layers for each in slices)):
        raise KingyoError(
            f"slices[{inner[0] if inner else 0}]",
            expected="layers; the first slice and the last may have none, and give what lies around them",
            received="layer_range: [0, 0]",
            remedy="Leave it out, or name its layers.",
        )


def references(
    sources: Sequence[Source], slices: Sequence[Slice], modules: Mapping[str, Module]
) -> Iterator[str]:
    """The models that are named, as often as they are."""
    for source in sources:
        yield source.model
    for each in slices:
        yield from (source.model for source in each.sources)
        if each.base_model is not None:
            yield each.base_model
    for module in modules.values():
        yield from references(module.sources, module.slices, {})


def dump_contents(sources: Sequence[Source], slices: Sequence[Slice]) -> dict[str, object]:
    """The part of the YAML that lists models or slices."""
    if sources:
        return {"models": [source.to_dict() for source in sources]}
    return {"slices": [each.to_dict() for each in slices]} if slices else {}


def _dump_parameters(parameters: Mapping[str, Value]) -> dict[str, object]:
    return {"parameters": dump_values(parameters)} if parameters else {}
