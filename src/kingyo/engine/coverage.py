"""Which region of a recipe makes which tensor of the output.

It knows names, parts and stacks of one model; no method, no parameter and no other model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kingyo.checkpoints import Checkpoint, Layout, Stack, select
from kingyo.engine.pieces import MAIN, Region
from kingyo.errors import KingyoError, suggest
from kingyo.recipe import BASE, MERGE, Recipe

_WHOLE = "default"
"""mergekit's name of the one module of most models."""
_ALIASES = {
    "text_decoder": "language",
    "text_model": "language",
    "language_model": "language",
    "vision_tower": "vision",
    "vision_model": "vision",
    "visual": "vision",
    "audio_tower": "audio",
    "multi_modal_projector": "projector",
}
"""mergekit's names of modules -> ours of parts."""


class Coverage:
    """Says of each tensor of a model which region of the recipe makes it, or from which model it is taken.

    Attributes:
        taken: tensor -> reference of the model from which it is taken as it is.
        regions: tensor -> the name of the region that makes it, for all others.
        stacks: sliced region -> the layers that it slices.

    Args:
        recipe: what is merged.
        found: its regions.
        like: the model that the output is like.

    Raises:
        KingyoError: a part or module that the model does not have, a tensor that no module makes or two do,
            or slices of a region that has not just one stack of layers.
    """

    def __init__(self, recipe: Recipe, found: Sequence[Region], like: Checkpoint) -> None:
        layout = like.layout
        uses = select(layout, recipe.parts) if recipe.parts else {}
        self.taken: Mapping[str, str] = {
            name: _model(use, recipe) for name, use in uses.items() if use != MERGE
        }
        merged = [name for name in layout.names if name not in self.taken]
        self.regions: Mapping[str, str] = _by_tensor(merged, found, layout)
        self.stacks: Mapping[str, Stack] = {
            region.name: _one_stack(region, self.names(region), layout)
            for region in found
            if region.is_sliced
        }

    def names(self, region: Region) -> list[str]:
        """The tensors that a region makes, in the order of the model."""
        return [name for name, its in self.regions.items() if its == region.name]

    def is_partial(self, region: Region) -> bool:
        """Whether there are tensors that a region does not make."""
        return bool(self.taken) or any(its != region.name for its in self.regions.values())


def _model(use: str, recipe: Recipe) -> str:
    """The model from which a part is taken."""
    if use != BASE:
        return use
    if recipe.base_model is None:
        raise KingyoError(
            "base_model",
            expected="the model from which parts are taken",
            received="nothing",
            remedy="Name it, or write its reference in place of base below parts:.",
        )
    return recipe.base_model


def _by_tensor(names: Sequence[str], found: Sequence[Region], layout: Layout) -> dict[str, str]:
    if found[0].name == MAIN or (len(found) == 1 and found[0].name == _WHOLE):
        return dict.fromkeys(names, found[0].name)
    owner: dict[str, Region] = {}
    for region in found:
        part = _ALIASES.get(region.name, region.name) if region.name not in layout.parts else region.name
        if part not in layout.parts:
            raise KingyoError(
                "modules",
                expected=f"parts of this model: {', '.join(layout.parts)}",
                received=f"'{region.name}'",
                remedy=suggest(region.name, layout.parts),
            )
        if part in owner:
            raise KingyoError(
                "modules",
                expected="each part once",
                received=f"{owner[part].name} and {region.name}, which are both {part}",
                remedy="Keep one of them.",
            )
        owner[part] = region
    for name in names:
        if layout.part(name) not in owner:
            raise KingyoError(
                "modules",
                expected=f"a module for every part of this model: {', '.join(layout.parts)}",
                received=f"none for {layout.part(name)}, with {name}",
                remedy=f"Add one, or take it from the base: parts: {{{layout.part(name)}: base, …}}.",
            )
    return {name: owner[layout.part(name)].name for name in names}


def _one_stack(region: Region, names: Sequence[str], layout: Layout) -> Stack:
    inside = {name for name in names if layout.stack(name) is not None}
    own = [
        stack for stack in layout.stacks if any(inside.intersection(block) for block in stack.blocks.values())
    ]
    if len(own) != 1:
        where = "slices" if region.name == MAIN else f"modules.{region.name}"
        raise KingyoError(
            where,
            expected="slices of a model with one stack of layers",
            received=", ".join(f"{stack.name} ({stack.prefix})" for stack in own) or "no layers",
            remedy=f"Name parts below modules: ({', '.join(layout.parts)}), each with slices: or models:.",
        )
    return own[0]
