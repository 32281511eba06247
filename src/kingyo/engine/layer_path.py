"""Turn a layer path with scales into slices that other programs can merge.

The stream h that enters hop k is multiplied by its scale, so it is C_k times the stream without scales, where
C_k is the product of all scales up to hop k. A pre-norm block returns the same for C h as for h. So h / C_k
passes through the same blocks if the output of each block is divided by C_k: the weights and biases of the
two projections with which a block writes to the stream. The final norm cancels C. (The live model also
scales the epsilon of its norms, so both agree for small streams too.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kingyo.checkpoints import Checkpoint, Stack, check_passing, check_places
from kingyo.checkpoints.config_comparison import layers_config
from kingyo.errors import KingyoError
from kingyo.recipe import PASSTHROUGH, Conditional, Hop, Recipe, Slice, SliceSource, cumulative

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
        KingyoError: the recipe has another method than passthrough, or parameters; the layers of its models
            cannot follow one another; or scales cannot be folded into the weights.
    """
    if not recipe.path:
        return recipe
    _check_keys(recipe)
    _check_models(recipe, opened)
    base = recipe.base_model
    frame = base if base is not None and len(opened[base].layout.parts) > 1 else None
    return replace(recipe, path=(), slices=tuple(_slices(recipe.path, opened)), merges={}, frame=frame)


def _check_keys(recipe: Recipe) -> None:
    if recipe.merge_method != PASSTHROUGH:
        expected = f"{PASSTHROUGH}, since a path merges no tensors"
        received = f"'{recipe.merge_method}'"
        remedy = "Set merge_method: passthrough, and write other merges below merges:, each with a name."
        raise KingyoError("merge_method", expected, received, remedy)
    if recipe.frame is not None:
        expected = "no frame in a recipe with a path: base_model gives everything but the layers"
        remedy = "Write base_model: instead of frame:."
        raise KingyoError("frame", expected, f"'{recipe.frame}'", remedy)
    if recipe.parameters:
        received = ", ".join(f"'{name}'" for name in recipe.parameters)
        remedy = "Write scales in the path, beside the layers."
        raise KingyoError("parameters", "none beside path", received, remedy)


def _check_foldable(model: Checkpoint) -> None:
    kind = layers_config(model).get("model_type")
    if kind not in FOLDABLE:
        expected = (
            f"scale 1 everywhere, or an architecture whose weights can hold scales ({', '.join(FOLDABLE)})"
        )
        remedy = "Remove the scales; in a run.yaml set scales: none."
        raise KingyoError(f"path of {model.reference}", expected, f"scales in a model of type {kind}", remedy)


def _check_models(recipe: Recipe, opened: Mapping[str, Checkpoint]) -> None:
    """Check that all models have one list of language layers, and that one config can describe these."""
    passed = (hop.model for hop in recipe.path)
    references = dict.fromkeys(each for each in (recipe.base_model, *passed) if each is not None)
    for reference in references:
        _check_decoder(opened[reference])
    first = opened[next(iter(references))]
    _check_frame(recipe.base_model, first, [opened[reference] for reference in references])
    part = _layers_of(first).part
    for reference in references:
        check_passing(first, opened[reference], part=part, is_framed=recipe.base_model is not None)
    check_places(first, [hop.layer for hop in recipe.path])


def _check_frame(base: str | None, first: Checkpoint, models: Sequence[Checkpoint]) -> None:
    """Check that the base has the parts of a vision-language model if one gives layers."""
    sees = next((model for model in models if len(model.layout.parts) > 1), None)
    if sees is not None and (base is None or len(first.layout.parts) == 1):
        expected = f"a model with the parts {', '.join(sees.layout.parts)}, as {sees.reference} has"
        remedy = "Name a model that gives everything but the layers, such as the image encoder."
        raise KingyoError("base_model", expected, base or "none", remedy)


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


def _slices(path: Sequence[Hop], opened: Mapping[str, Checkpoint]) -> Iterator[Slice]:
    if any(hop.scale != 1 for hop in path):
        for hop in path:
            _check_foldable(opened[hop.model])
    for hop, scale in zip(path, cumulative(path), strict=True):
        parameters = {} if scale == 1 else {"scale": _inverse(opened[hop.model], hop.layer, scale)}
        source = SliceSource(model=hop.model, layers=(hop.layer, hop.layer + 1), parameters=parameters)
        yield Slice(sources=(source,))


def _inverse(model: Checkpoint, layer: int, scale: float) -> tuple[Conditional, ...]:
    """Return 1 / scale for the tensors that write to the stream, and 1 for all others."""
    stack = _layers_of(model)
    names = [name for name in stack.blocks.get(layer, ()) if _WRITES.fullmatch(stack.rest(name))]
    return (
        *(Conditional(filter=name, value=1 / scale) for name in names),
        Conditional(filter=None, value=1.0),
    )


def _layers_of(model: Checkpoint) -> Stack:
    """Return the layers of a decoder, or of the language part of a vision-language model."""
    assert model.layout.main is not None, "a checked model"
    return model.layout.main
