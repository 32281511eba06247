"""What a recipe says of one part of a model: pieces, each the same merge of many tensors.

Models, slices and modules all become pieces here. It knows the method, and where in a recipe a parameter
may stand; it knows no tensor and no weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kingyo.errors import KingyoError, suggest
from kingyo.methods import MergeMethod, takes_base
from kingyo.recipe import Module, Recipe, Slice, Source, Values

ENDS = -1
"""The place of the piece that makes the ends of a model."""
MAIN = ""
"""The name of the one region of recipes without modules."""


@dataclass(frozen=True, kw_only=True)
class SliceInput:
    """One model of a piece.

    Attributes:
        reference: of the model.
        start: the first of its layers; 0 for whole models.
        own: the parameters that are its own.
    """

    reference: str
    start: int = 0
    own: Values


@dataclass(frozen=True, kw_only=True)
class SliceMerge:
    """The same merge of many tensors.

    Attributes:
        where: in the recipe, for messages.
        merged: the models, without the base of a method that takes one; random methods draw by position.
        base: the base, for methods that take one.
        levels: parameters for all of them, the most specific first.
        n_layers: how many layers it makes; None for whole models.
    """

    where: str
    merged: tuple[SliceInput, ...]
    base: SliceInput | None
    levels: tuple[Values, ...]
    n_layers: int | None = None

    @property
    def entries(self) -> tuple[SliceInput, ...]:
        """All its models, the base first."""
        return self.merged if self.base is None else (self.base, *self.merged)

    @cached_property
    def is_constant(self) -> bool:
        """Whether every tensor has the same values: there are no gradients and no filters."""
        levels = (*self.levels, *(entry.own for entry in self.merged))
        return not any(isinstance(value, tuple) for level in levels for value in level.values())


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of the model and the pieces that make it: one of whole models, or one for each slice.

    Attributes:
        name: of the part.
        pieces: in their order.
        ends: makes what lies outside of sliced layers; None where the first slice makes what comes before the
            layers, and the last what comes behind them.
    """

    name: str
    pieces: tuple[SliceMerge, ...]
    ends: SliceMerge | None = None

    @property
    def is_sliced(self) -> bool:
        """Whether it is made of slices of layers."""
        return self.pieces[0].n_layers is not None

    @property
    def placed(self) -> dict[int, SliceMerge]:
        """All pieces by their places, that of the ends if there is one."""
        found = dict(enumerate(self.pieces))
        return found if self.ends is None else {**found, ENDS: self.ends}

    def outside(self, depth: float) -> int:
        """The place of the piece that makes what lies outside of sliced layers, at a depth of 0 to 1."""
        if self.ends is not None:
            return ENDS
        return len(self.pieces) - 1 if depth > 0 else 0


def regions(recipe: Recipe, method: MergeMethod, ends: str | None = None) -> tuple[Region, ...]:
    """Turn a recipe into regions, with all parameters where they may stand.

    Args:
        recipe: of models, slices or modules.
        method: its own.
        ends: the model that gives all that lies outside of slices, as it is; None: see ``Region``.

    Raises:
        KingyoError: a parameter that the method does not know or that has no meaning where it stands, no base
            for a method that needs one, or too few or too many models.
    """
    if not recipe.modules:
        region = _region(MAIN, Module(sources=recipe.sources, slices=recipe.slices), recipe, method)
        return (replace(region, ends=None if ends is None else _as_it_is(ends)),)
    return tuple(_region(name, module, recipe, method) for name, module in recipe.modules.items())


def _region(name: str, module: Module, recipe: Recipe, method: MergeMethod) -> Region:
    _check_shared((("parameters", recipe.parameters), (f"modules.{name}", module.parameters)), method)
    levels = (module.parameters, recipe.parameters) if module.parameters else (recipe.parameters,)
    label = f"modules.{name}: " if name != MAIN else ""
    if not module.slices:
        return Region(name=name, pieces=(_whole(label, module.sources, levels, recipe, method),))
    return Region(
        name=name,
        pieces=tuple(
            _slice(f"{label}slices[{i}]", each, levels, recipe, method)
            for i, each in enumerate(module.slices)
        ),
    )


def _as_it_is(reference: str) -> SliceMerge:
    return SliceMerge(
        where="base_model", merged=(SliceInput(reference=reference, own={}),), base=None, levels=()
    )


def _whole(
    label: str, sources: Sequence[Source], levels: tuple[Values, ...], recipe: Recipe, method: MergeMethod
) -> SliceMerge:
    base = base_of(recipe.base_model, method)
    listed = [SliceInput(reference=source.model, own=source.parameters) for source in sources]
    merged = tuple(entry for entry in listed if entry.reference != base)
    _check_own(listed, base, method)
    _check_count(f"{label}models", len(merged), base, method)
    return SliceMerge(
        where=f"{label}models",
        merged=merged,
        base=None if base is None else SliceInput(reference=base, own={}),
        levels=levels,
    )


def _slice(
    where: str, given: Slice, levels: tuple[Values, ...], recipe: Recipe, method: MergeMethod
) -> SliceMerge:
    base = base_of(given.base_model or recipe.base_model, method)
    listed = [
        SliceInput(reference=source.model, start=source.layers[0], own=source.parameters)
        for source in given.sources
    ]
    merged = tuple(entry for entry in listed if entry.reference != base)
    bases = [entry for entry in listed if entry.reference == base]
    if base is not None and len(bases) != 1:
        raise KingyoError(
            where,
            expected=f"the base {base} once among the sources, with its layer_range",
            received="no layers of it" if not bases else f"{len(bases)} ranges of it",
            remedy="Say which of the base's layers these are: task vectors are differences from them.",
        )
    _check_shared(((where, given.parameters),), method)
    _check_own(listed, base, method)
    _check_count(where, len(merged), base, method)
    return SliceMerge(
        where=where,
        merged=merged,
        base=bases[0] if bases else None,
        levels=(given.parameters, *levels) if given.parameters else levels,
        n_layers=given.n_layers,
    )


def base_of(reference: str | None, method: MergeMethod) -> str | None:
    """Return the base, where the method takes one.

    Raises:
        KingyoError: the method needs one, and there is none.
    """
    if method.needs_base and reference is None:
        raise KingyoError(
            "base_model",
            expected=f"a base for {method.name}",
            received="nothing",
            remedy="Name one of the two models as base_model."
            if method.max_sources == 1
            else "Name the models' common ancestor, or take the method linear.",
        )
    return reference if takes_base(method) else None


def _check_shared(levels: Sequence[tuple[str, Values]], method: MergeMethod) -> None:
    for where, values in levels:
        for name in values:
            _check_known(name, where, method)


def _check_own(entries: Sequence[SliceInput], base: str | None, method: MergeMethod) -> None:
    known = {parameter.name: parameter for parameter in method.params}
    for entry in entries:
        for name in entry.own:
            _check_known(name, entry.reference, method)
            if not known[name].per_source:
                raise KingyoError(
                    entry.reference,
                    expected="its own values",
                    received=f"'{name}'",
                    remedy="Give it under parameters: of the recipe.",
                )
            if entry.reference == base:
                raise KingyoError(
                    entry.reference,
                    expected="no parameters for the base, which has no task vector",
                    received=f"'{name}'",
                    remedy="Leave it out; in a run.yaml, take the base out of `sources`.",
                )


def _check_known(name: str, where: str, method: MergeMethod) -> None:
    known = [parameter.name for parameter in method.params]
    if name not in known:
        raise KingyoError(
            where, expected=f"parameters of {method.name}", received=f"'{name}'", remedy=suggest(name, known)
        )


def _check_count(where: str, count: int, base: str | None, method: MergeMethod) -> None:
    least, most = method.min_sources, method.max_sources
    if count < least or (most is not None and count > most):
        wanted = (
            f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        )
        without = " beside the base" if base is not None else ""
        raise KingyoError(
            where,
            expected=f"{wanted} for {method.name}{without}",
            received=f"{count}",
            remedy="Name another number of models, or take another method.",
        )
