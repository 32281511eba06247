"""Expand a recipe into its modules, and each module into merges of models or of slices.

This checks how many models a method takes. Models need not be open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kingyo.errors import KingyoError
from kingyo.methods import MergeMethod, takes_base
from kingyo.recipe import Module, Recipe, Slice, Source, Values

OUTSIDE = -1
"""Position of the merge of all tensors outside of sliced layers."""
MAIN = ""
"""Name of the only module of a recipe without ``modules``."""

SliceKey = tuple[str, int]
"""Name of a module, and position of a merge in it."""


@dataclass(frozen=True, kw_only=True)
class SliceInput:
    """One model of a merge, its first layer (0 for a complete model), and parameters of this model alone."""

    reference: str
    start: int = 0
    own: Values


@dataclass(frozen=True, kw_only=True)
class SliceMerge:
    """The merge of a slice of layers, or of complete models; all its tensors have the same parameters.

    Attributes:
        where: its place in the recipe, for messages.
        merged: the models in order, without the base; random methods draw by position.
        base: the base, if the method takes one.
        levels: parameters for all models, the most specific first.
        n_layers: number of layers; None for complete models.
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
        """Whether all tensors have equal values: no parameter has a gradient or a filter."""
        given = (*self.levels, *(entry.own for entry in self.merged))
        return not any(isinstance(value, tuple) for values in given for value in values.values())


@dataclass(frozen=True, kw_only=True)
class ModuleMerge:
    """The merges that make one module of the output.

    Attributes:
        name: name of the module.
        pieces: one merge of complete models, or one for each slice in order.
        outer: the merge of all tensors outside of sliced layers. None: the first slice also makes the tensors
            before the layers, and the last slice those after them.
    """

    name: str
    pieces: tuple[SliceMerge, ...]
    outer: SliceMerge | None = None

    @property
    def is_sliced(self) -> bool:
        return self.pieces[0].n_layers is not None

    @property
    def by_position(self) -> dict[int, SliceMerge]:
        pieces = dict(enumerate(self.pieces))
        return pieces if self.outer is None else {**pieces, OUTSIDE: self.outer}

    def outside(self, depth: float) -> int:
        """Return the position of the merge of a tensor outside of sliced layers, at a depth from 0 to 1."""
        if self.outer is not None:
            return OUTSIDE
        return len(self.pieces) - 1 if depth > 0 else 0


def expand_modules(recipe: Recipe, method: MergeMethod, outer: str | None = None) -> tuple[ModuleMerge, ...]:
    """Expand a recipe into modules; a recipe without ``modules`` is one module.

    Args:
        recipe: a recipe without a layer path.
        method: its merge method.
        outer: the model whose tensors outside of sliced layers are copied; see ``ModuleMerge.outer``.

    Raises:
        KingyoError: a missing base, or too few or too many models.
    """
    if not recipe.modules:
        module = _module(MAIN, Module(sources=recipe.sources, slices=recipe.slices), recipe, method)
        if outer is None:
            return (module,)
        model = SliceInput(reference=outer, own={})
        copy = SliceMerge(where="base_model", merged=(model,), base=None, levels=())
        return (replace(module, outer=copy),)
    return tuple(_module(name, module, recipe, method) for name, module in recipe.modules.items())


def _module(name: str, module: Module, recipe: Recipe, method: MergeMethod) -> ModuleMerge:
    levels = (module.parameters, recipe.parameters) if module.parameters else (recipe.parameters,)
    label = f"modules.{name}: " if name != MAIN else ""
    if not module.slices:
        return ModuleMerge(name=name, pieces=(_complete(label, module.sources, levels, recipe, method),))
    return ModuleMerge(
        name=name,
        pieces=tuple(
            _slice(f"{label}slices[{i}]", each, levels, recipe, method)
            for i, each in enumerate(module.slices)
        ),
    )


def _complete(
    label: str, sources: Sequence[Source], levels: tuple[Values, ...], recipe: Recipe, method: MergeMethod
) -> SliceMerge:
    base = _base_of(recipe.base_model, method)
    inputs = [SliceInput(reference=source.model, own=source.parameters) for source in sources]
    merged = tuple(each for each in inputs if each.reference != base)
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
    base = _base_of(given.base_model or recipe.base_model, method)
    inputs = [
        SliceInput(reference=source.model, start=source.layers[0], own=source.parameters)
        for source in given.sources
    ]
    merged = tuple(each for each in inputs if each.reference != base)
    bases = [each for each in inputs if each.reference == base]
    if base is not None and len(bases) != 1:
        expected = f"the base {base} once among the sources, with its layer_range"
        received = "no layers of it" if not bases else f"{len(bases)} ranges of it"
        remedy = "List the base once, with the layers that task vectors are computed from."
        raise KingyoError(where, expected, received, remedy)
    _check_count(where, len(merged), base, method)
    return SliceMerge(
        where=where,
        merged=merged,
        base=bases[0] if bases else None,
        levels=(given.parameters, *levels) if given.parameters else levels,
        n_layers=given.n_layers,
    )


def _base_of(reference: str | None, method: MergeMethod) -> str | None:
    if method.needs_base and reference is None:
        remedy = "Name the models' common ancestor, or use the method linear."
        if method.max_sources == 1:
            remedy = "Name one of the two models as base_model."
        expected = f"a base for {method.name}"
        raise KingyoError("base_model", expected, "nothing", remedy)
    return reference if takes_base(method) else None


def _check_count(where: str, count: int, base: str | None, method: MergeMethod) -> None:
    least, most = method.min_sources, method.max_sources
    if count < least or (most is not None and count > most):
        wanted = (
            f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        )
        expected = f"{wanted} for {method.name}{' beside the base' if base is not None else ''}"
        remedy = "Change the number of models, or use another method."
        raise KingyoError(where, expected, f"{count}", remedy)
