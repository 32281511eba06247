"""Expand a recipe into its modules, and each module into merges of models or of slices.

This checks how many models a method takes. Models need not be open, except for a layer path with scales,
which becomes slices: the stream h that enters hop k is multiplied by its scale, so it is C_k times the stream
without scales, where C_k is the product of all scales up to hop k. A pre-norm block returns the same for C h
as for h. So h / C_k passes through the same blocks if the output of each block is divided by C_k: the weights
and biases of the two projections with which a block writes to the stream. The final norm cancels C. (The live
model also scales the epsilon of its norms, so both agree for small streams too.)
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, Stack, check_passing, check_places
from kingyo.merging.checkpoints.config_comparison import layers_config
from kingyo.merging.methods import MergeMethod, takes_base
from kingyo.merging.recipe import (
    PASSTHROUGH,
    Conditional,
    Hop,
    Module,
    Recipe,
    Slice,
    SliceSource,
    Values,
    cumulative,
)

_WRITES = re.compile(
    r"(self_attn|attn|attention)\.(o_proj|out_proj|dense|c_proj)\.(weight|bias)"
    r"|(mlp|block_sparse_moe)\.(.*\.)?(down_proj|c_proj|dense_4h_to_h|fc2|w2)(\.weight|\.bias)?"
)
"""The tensors with which a block writes to the stream."""
_LANGUAGE = "language"
FOLDABLE = (
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gpt2", "gpt_neox", "phi3", "mixtral", "qwen2_moe"),
    *("qwen3_moe", "smollm3", "granite", "cohere", "stablelm"),
)
"""Tested architectures (``model_type``): their blocks have norms before attention and MLP, and none after."""


def path_to_slices(recipe: Recipe, opened: Mapping[str, Checkpoint]) -> Recipe:
    """Return a recipe with one slice for each hop of its layer path; a recipe without a path is unchanged.

    A base with several parts, such as a vision-language model, becomes the frame of the slices.

    Raises:
        KingyoError: the layers cannot follow one another, or scales cannot be folded into the weights.
    """
    if not recipe.path:
        return recipe
    _check_keys(recipe)
    _check_models(recipe, opened)
    base = recipe.base_model
    frame = base if base is not None and len(opened[base].layout.parts) > 1 else None
    return replace(recipe, path=(), slices=tuple(_hop_slices(recipe.path, opened)), merges={}, frame=frame)


def _check_keys(recipe: Recipe) -> None:
    given = {"frame": recipe.frame, "parameters": recipe.parameters}
    present = [key for key, value in given.items() if value]
    if recipe.merge_method != PASSTHROUGH or present:
        expected = f"{PASSTHROUGH} with base_model and a path alone, since a path merges no tensors"
        received = ", ".join([f"'{recipe.merge_method}'", *present])
        remedy = "Write other merges below merges:, scales in the path, and base_model: instead of frame:."
        raise KingyoError("merge_method", expected, received, remedy)


def _check_models(recipe: Recipe, opened: Mapping[str, Checkpoint]) -> None:
    passed = (hop.model for hop in recipe.path)
    references = dict.fromkeys(each for each in (recipe.base_model, *passed) if each is not None)
    for reference in references:
        _check_decoder(opened[reference])
    first = opened[next(iter(references))]
    sees = next((opened[each] for each in references if len(opened[each].layout.parts) > 1), None)
    if sees is not None and (recipe.base_model is None or len(first.layout.parts) == 1):
        expected = f"a model with the parts {', '.join(sees.layout.parts)}, as {sees.reference} has"
        remedy = "Name a model that gives everything but the layers, such as the image encoder."
        raise KingyoError("base_model", expected, recipe.base_model or "none", remedy)
    part = _layers_of(first).part
    for reference in references:
        check_passing(first, opened[reference], part=part, is_framed=recipe.base_model is not None)
    check_places(first, [hop.layer for hop in recipe.path])


def _check_decoder(model: Checkpoint) -> None:
    main = model.layout.main
    stacks = [stack for stack in model.layout.stacks if main is not None and stack.part == main.part]
    if len(stacks) != 1 or (len(model.layout.parts) != 1 and stacks[0].part != _LANGUAGE):
        stacks = model.layout.stacks
        names = [stack.prefix for stack in stacks] or list(model.layout.parts)
        expected = "a model with one list of layers, as decoders and vision-language models have"
        received = f"a model of type {model.config.get('model_type')} with {', '.join(names) or 'none'}"
        remedy = "Use such models; stack layers of other models as slices, below modules:."
        raise KingyoError(f"path of {model.reference}", expected, received, remedy)


def _hop_slices(path: Sequence[Hop], opened: Mapping[str, Checkpoint]) -> Iterator[Slice]:
    for hop in path if any(hop.scale != 1 for hop in path) else ():
        kind = layers_config(opened[hop.model]).get("model_type")
        if kind not in FOLDABLE:
            known, remedy = ", ".join(FOLDABLE), "Remove the scales; in a run.yaml set scales: none."
            expected = f"scale 1 everywhere, or an architecture whose weights can hold scales ({known})"
            received = f"scales in a model of type {kind}"
            raise KingyoError(f"path of {hop.model}", expected, received, remedy)
    for hop, scale in zip(path, cumulative(path), strict=True):
        parameters = {} if scale == 1 else {"scale": _inverse(opened[hop.model], hop.layer, scale)}
        source = SliceSource(model=hop.model, layers=(hop.layer, hop.layer + 1), parameters=parameters)
        yield Slice(sources=(source,))


def _inverse(model: Checkpoint, layer: int, scale: float) -> tuple[Conditional, ...]:
    stack = _layers_of(model)
    names = [name for name in stack.blocks.get(layer, ()) if _WRITES.fullmatch(stack.rest(name))]
    folded = [Conditional(filter=name, value=1 / scale) for name in names]
    return (*folded, Conditional(filter=None, value=1.0))


def _layers_of(model: Checkpoint) -> Stack:
    assert model.layout.main is not None, "a checked model"
    return model.layout.main


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
    """The merge of a slice of layers, or of complete models; all its tensors have the same parameters."""

    where: str  # its place in the recipe, for messages
    merged: tuple[SliceInput, ...]  # the models in order, without the base; random methods draw by position
    base: SliceInput | None  # None if the method takes none
    levels: tuple[Values, ...]  # parameters for all models, the most specific first
    n_layers: int | None = None  # None for complete models

    @property
    def entries(self) -> tuple[SliceInput, ...]:
        return self.merged if self.base is None else (self.base, *self.merged)

    @cached_property
    def is_constant(self) -> bool:
        """Whether all tensors have equal values: no parameter has a gradient or a filter."""
        given = (*self.levels, *(entry.own for entry in self.merged))
        return not any(isinstance(value, tuple) for values in given for value in values.values())


@dataclass(frozen=True, kw_only=True)
class ModuleMerge:
    """The merges that make one module of the output.

    ``outer`` is the merge of all tensors outside of sliced layers. None: the first slice also makes the
    tensors before the layers, and the last slice those after them.
    """

    name: str
    pieces: tuple[SliceMerge, ...]  # one merge of complete models, or one for each slice in order
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
    """Expand a recipe without a layer path into modules; one without ``modules`` is one module.

    Tensors outside of sliced layers are copied from ``outer``; see ``ModuleMerge``.
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
        models = [SliceInput(reference=source.model, own=source.parameters) for source in module.sources]
        base = _base_of(recipe.base_model, method)
        return ModuleMerge(name=name, pieces=(_piece(f"{label}models", models, base, levels, method),))
    pieces: list[SliceMerge] = []
    for i, each in enumerate(module.slices):
        layers = [
            SliceInput(reference=source.model, start=source.layers[0], own=source.parameters)
            for source in each.sources
        ]
        base = _base_of(each.base_model or recipe.base_model, method)
        own = (each.parameters, *levels) if each.parameters else levels
        pieces.append(_piece(f"{label}slices[{i}]", layers, base, own, method, each.n_layers))
    return ModuleMerge(name=name, pieces=tuple(pieces))


def _piece(
    where: str,
    inputs: Sequence[SliceInput],
    base: str | None,
    levels: tuple[Values, ...],
    method: MergeMethod,
    n_layers: int | None = None,
) -> SliceMerge:
    merged = tuple(each for each in inputs if each.reference != base)
    bases = [each for each in inputs if each.reference == base]
    if base is not None and n_layers is None:  # a complete model need not be listed
        bases = [SliceInput(reference=base, own={})]
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
        levels=levels,
        n_layers=n_layers,
    )


def _base_of(reference: str | None, method: MergeMethod) -> str | None:
    if method.needs_base and reference is None:
        ancestor = "Name the models' common ancestor, or use the method linear."
        remedy = "Name one of the two models as base_model." if method.max_sources == 1 else ancestor
        raise KingyoError("base_model", f"a base for {method.name}", "nothing", remedy)
    return reference if takes_base(method) else None


def _check_count(where: str, count: int, base: str | None, method: MergeMethod) -> None:
    least, most = method.min_sources, method.max_sources
    if count < least or (most is not None and count > most):
        wanted = f"at least {least}" if most is None else f"{least} to {most}" if most > least else f"{least}"
        expected = f"{wanted} for {method.name}{' beside the base' if base is not None else ''}"
        remedy = "Change the number of models, or use another method."
        raise KingyoError(where, expected, f"{count}", remedy)
