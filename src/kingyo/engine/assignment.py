"""Assign every tensor of the output to a module of the recipe, or to the model that it is copied from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kingyo.checkpoints import Checkpoint, Layout, Stack, select
from kingyo.engine.modules import MAIN, ModuleMerge
from kingyo.errors import KingyoError, suggest
from kingyo.recipe import BASE, MERGE, Recipe

_DEFAULT = "default"
"""mergekit's name of the only module of most models."""
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
"""mergekit's names of modules -> names of parts."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The origin of every tensor of a model.

    Attributes:
        copied: name of a copied tensor -> reference of its model.
        modules: name of any other tensor -> name of the module that makes it.
        stacks: name of a sliced module -> the stack of layers that it slices.
    """

    copied: Mapping[str, str]
    modules: Mapping[str, str]
    stacks: Mapping[str, Stack]

    def names(self, module: ModuleMerge) -> list[str]:
        """Return the tensors of a module, in the order of the model."""
        return [name for name, its in self.modules.items() if its == module.name]

    def is_partial(self, module: ModuleMerge) -> bool:
        """Return whether a module makes only some of the tensors."""
        return bool(self.copied) or any(its != module.name for its in self.modules.values())


def assign(recipe: Recipe, modules: Sequence[ModuleMerge], template: Checkpoint) -> Assignment:
    """Assign the tensors of a model.

    Args:
        recipe: the recipe.
        modules: its modules.
        template: the model that gives the output its names.

    Raises:
        KingyoError: the model lacks a part or a module, a tensor is in no module or in two, or a sliced
            module does not have exactly one stack of layers.
    """
    layout = template.layout
    uses = select(layout, recipe.parts) if recipe.parts else {}
    copied = {name: _model(use, recipe) for name, use in uses.items() if use != MERGE}
    by_tensor = _by_tensor([name for name in layout.names if name not in copied], modules, layout)
    assignment = Assignment(copied=copied, modules=by_tensor, stacks={})
    stacks = {
        module.name: _one_stack(module, assignment.names(module), layout)
        for module in modules
        if module.is_sliced
    }
    return Assignment(copied=copied, modules=by_tensor, stacks=stacks)


def _model(use: str, recipe: Recipe) -> str:
    """Return the model that a part is copied from."""
    if use != BASE:
        return use
    if recipe.base_model is None:
        raise KingyoError(
            "base_model",
            expected="the model that parts are copied from",
            received="nothing",
            remedy="Name it, or replace base by its reference below parts:.",
        )
    return recipe.base_model


def _by_tensor(names: Sequence[str], modules: Sequence[ModuleMerge], layout: Layout) -> dict[str, str]:
    if modules[0].name == MAIN or (len(modules) == 1 and modules[0].name == _DEFAULT):
        return dict.fromkeys(names, modules[0].name)
    owners = _by_part(modules, layout)
    for name in names:
        part = layout.part(name)
        if part not in owners:
            raise KingyoError(
                "modules",
                expected=f"a module for every part of this model: {', '.join(layout.parts)}",
                received=f"none for {part}, with {name}",
                remedy=f"Add one, or copy it from the base: parts: {{{part}: base, …}}.",
            )
    return {name: owners[layout.part(name)] for name in names}


def _by_part(modules: Sequence[ModuleMerge], layout: Layout) -> dict[str, str]:
    """Return part -> name of its module."""
    owners: dict[str, str] = {}
    for module in modules:
        part = _ALIASES.get(module.name, module.name) if module.name not in layout.parts else module.name
        if part not in layout.parts:
            raise KingyoError(
                "modules",
                expected=f"parts of this model: {', '.join(layout.parts)}",
                received=f"'{module.name}'",
                remedy=suggest(module.name, layout.parts),
            )
        if part in owners:
            raise KingyoError(
                "modules",
                expected="each part once",
                received=f"{owners[part]} and {module.name}, which are both {part}",
                remedy="Keep one of them.",
            )
        owners[part] = module.name
    return owners


def _one_stack(module: ModuleMerge, names: Sequence[str], layout: Layout) -> Stack:
    """Return the only stack with tensors of a module."""
    inside = {name for name in names if layout.stack(name) is not None}
    stacks = [
        stack for stack in layout.stacks if any(inside.intersection(block) for block in stack.blocks.values())
    ]
    if len(stacks) != 1:
        raise KingyoError(
            "slices" if module.name == MAIN else f"modules.{module.name}",
            expected="slices of a model with one stack of layers",
            received=", ".join(f"{stack.name} ({stack.prefix})" for stack in stacks) or "no layers",
            remedy=f"Name parts below modules: ({', '.join(layout.parts)}), each with slices: or models:.",
        )
    return stacks[0]
