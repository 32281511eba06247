"""A path as slices that any program can stack: its scales go into the weights.

The stream h that enters hop k is multiplied by its scale, so before hop k it is C_k times what it would be
without scales, C_k being their product so far. A block with norms before its parts answers C h as it answers
h, so the stream h / C_k passes through the same blocks, if what each adds is divided by C_k: the weights and
biases of the two projections with which a block writes to the stream. The norm at the end forgets C. (The
live model scales what norms add to their divisor as well, so that both agree for small streams too.)

It knows names of tensors, and no weight.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kingyo.checkpoints import Checkpoint, Stack, check_passing, check_places
from kingyo.errors import KingyoError
from kingyo.recipe import PASSTHROUGH, Conditional, Hop, Recipe, Slice, SliceSource, cumulative

_WRITES = re.compile(
    r"(self_attn|attn|attention)\.(o_proj|out_proj|dense|c_proj)\.(weight|bias)"
    r"|(mlp|block_sparse_moe)\.(.*\.)?(down_proj|c_proj|dense_4h_to_h|fc2|w2)(\.weight|\.bias)?"
)
"""The tensors of a block with which it writes to the stream."""
FOLDABLE = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gpt2",
    "gpt_neox",
    "phi3",
    "mixtral",
    "qwen2_moe",
    "qwen3_moe",
    "smollm3",
    "granite",
    "cohere",
    "stablelm",
)
"""Architectures (model_type) for which this was tested: norms before the parts of a block, none behind."""


def unrolled(recipe: Recipe, opened: Mapping[str, Checkpoint]) -> Recipe:
    """Write the path of a recipe as slices, one for each hop; another recipe is returned as it is.

    Args:
        recipe: of the method passthrough, if it has a path.
        opened: its models.

    Raises:
        KingyoError: a path beside another method or beside parameters; models whose layers cannot follow one
            another; scales in an architecture for which they cannot be folded into the weights.
    """
    if not recipe.path:
        return recipe
    check_path(recipe, opened)
    slices = tuple(_slices(recipe.path, opened))
    return replace(recipe, path=(), slices=slices, merges={})  # which are among the opened models


def check_foldable(like: Checkpoint) -> None:
    """Refuse an architecture in which scales cannot be folded into the weights.

    Raises:
        KingyoError: it is one, or was never tested.
    """
    kind = like.config.get("model_type")
    if kind not in FOLDABLE:
        raise KingyoError(
            f"path of {like.reference}",
            expected="scale 1 everywhere, or an architecture whose weights can hold scales "
            f"({', '.join(FOLDABLE)})",
            received=f"scales in a model of type {kind}",
            remedy="Leave the scales out; in a run.yaml say scales: none.",
        )


def check_path(recipe: Recipe, opened: Mapping[str, Checkpoint]) -> None:
    """Refuse what has no meaning beside a path, and models whose layers cannot follow one another.

    Raises:
        KingyoError: another method, or parameters; models that are no decoders, or that one config cannot
            speak of.
    """
    _check_words(recipe)
    _check_models(recipe, opened)


def _check_words(recipe: Recipe) -> None:
    if recipe.merge_method != PASSTHROUGH:
        raise KingyoError(
            "merge_method",
            expected=f"{PASSTHROUGH}, as nothing is merged along a path",
            received=f"'{recipe.merge_method}'",
            remedy="Say merge_method: passthrough. What is merged first is a recipe of its own, with a name.",
        )
    if recipe.parameters:
        raise KingyoError(
            "parameters",
            expected="none beside path",
            received=", ".join(f"'{name}'" for name in recipe.parameters),
            remedy="Scales stand in the path, beside the layers.",
        )


def _check_models(recipe: Recipe, opened: Mapping[str, Checkpoint]) -> None:
    """Refuse models that are no decoders, and those that one config cannot speak of."""
    passed = (hop.model for hop in recipe.path)
    named = dict.fromkeys(each for each in (recipe.base_model, *passed) if each is not None)
    for reference in named:
        _check_decoder(opened[reference])
    like = opened[next(iter(named))]
    part = _stack_of(like).part
    for reference in named:
        check_passing(like, opened[reference], part=part, is_framed=recipe.base_model is not None)
    check_places(like, [hop.layer for hop in recipe.path])


def _check_decoder(model: Checkpoint) -> None:
    stacks = model.layout.stacks
    if len(stacks) != 1 or len(model.layout.parts) != 1:
        names = [stack.prefix for stack in stacks] or list(model.layout.parts)
        raise KingyoError(
            f"path of {model.reference}",
            expected="a model with one list of layers, as decoders have",
            received=f"a model of type {model.config.get('model_type')} with {', '.join(names) or 'none'}",
            remedy="Take decoder-only models. Layers of others can be stacked as slices, below modules:.",
        )


def _slices(path: Sequence[Hop], opened: Mapping[str, Checkpoint]) -> Iterator[Slice]:
    if any(hop.scale != 1 for hop in path):
        for hop in path:
            check_foldable(opened[hop.model])
    for hop, scale in zip(path, cumulative(path), strict=True):
        parameters = {} if scale == 1 else {"scale": _divided(opened[hop.model], hop.layer, scale)}
        source = SliceSource(model=hop.model, layers=(hop.layer, hop.layer + 1), parameters=parameters)
        yield Slice(sources=(source,))


def _divided(model: Checkpoint, layer: int, scale: float) -> tuple[Conditional, ...]:
    """1 / scale for what the layer writes to the stream, 1 for all else."""
    stack = _stack_of(model)
    written = [name for name in stack.blocks.get(layer, ()) if _WRITES.fullmatch(stack.rest(name))]
    return (
        *(Conditional(filter=name, value=1 / scale) for name in written),
        Conditional(filter=None, value=1.0),
    )


def _stack_of(model: Checkpoint) -> Stack:
    """The layers of a decoder: of what is foldable there is one stack."""
    return next(iter(model.layout.stacks))
