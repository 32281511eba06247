"""Assign every tensor of the output to a module, and fit the models to the template of the output."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.errors import KingyoError, suggest
from kingyo.merging.checkpoints import Checkpoint, Layout, Stack, fit, select
from kingyo.merging.checkpoints.compatibility import Fit, View, fitted, whole
from kingyo.merging.checkpoints.config_comparison import compare
from kingyo.merging.checkpoints.configs import kept_by_layers
from kingyo.merging.engine.modules import MAIN, ModuleMerge
from kingyo.merging.recipe import BASE, MERGE, Recipe

_COPIED = "parts"
"""Stands for a module, for models whose tensors are copied."""
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
        return [name for name, its in self.modules.items() if its == module.name]

    def is_partial(self, module: ModuleMerge) -> bool:
        """Return whether a module makes only some of the tensors."""
        return bool(self.copied) or any(its != module.name for its in self.modules.values())


@dataclass(frozen=True, kw_only=True)
class FittedModels:
    """Models that can be merged tensor by tensor.

    Attributes:
        template: the model that gives the output its names, shapes and config, before layers are sliced.
        models: the fitted models. A model that several modules read in different shapes has several keys.
        keys: (module, reference) -> the key in ``models`` by which the module reads the model.
        assignment: the origin of every tensor of ``template``; ``copied`` has keys of ``models``.
        warnings: differences that do not prevent the merge, as sentences.
        is_changed: whether any model is read in other shapes or under other names than stored.
    """

    template: Checkpoint
    models: Mapping[str, Checkpoint]
    keys: Mapping[tuple[str, str], str]
    assignment: Assignment
    warnings: tuple[str, ...]
    is_changed: bool


def fit_models(
    recipe: Recipe, modules: Sequence[ModuleMerge], models: Mapping[str, Checkpoint]
) -> FittedModels:
    """Fit the models of a recipe to its template: the frame, else the base, else the first model.

    Raises:
        KingyoError: the template lacks a part or a module, a tensor is in no module, a sliced module does not
            have exactly one stack of layers; or see ``checkpoints.fit``.
    """
    return _ModelFitter(recipe, models).run(modules)


class _ModelFitter:
    """Fit models, module by module."""

    def __init__(self, recipe: Recipe, opened: Mapping[str, Checkpoint]) -> None:
        self._recipe = recipe
        self._opened = opened
        self._first = recipe.template
        self._template = opened[self._first]
        self._models: dict[str, Checkpoint] = dict(opened)
        self._keys: dict[tuple[str, str], str] = {}
        self._fits: list[Fit] = []
        self._warnings: list[str] = []

    def run(self, modules: Sequence[ModuleMerge]) -> FittedModels:
        given = _assign(self._recipe, modules, self._template)
        by_tensor, copied = dict(given.modules), dict(given.copied)
        for module in modules:
            result = self._module(module, given)
            by_tensor |= {
                name: module.name for name in result.like.tensors if name not in self._template.tensors
            }
            copied |= dict.fromkeys(result.unmerged, self._first)
        for reference in dict.fromkeys(given.copied.values()):
            names = [name for name, its in given.copied.items() if its == reference]
            self._fit(_COPIED, [reference], names)
            copied |= dict.fromkeys(names, self._keys[_COPIED, reference])
        return FittedModels(
            template=self._joined_template(),
            models=self._models,
            keys=self._keys,
            assignment=replace(given, modules=by_tensor, copied=copied),
            warnings=tuple(dict.fromkeys(self._warnings)),
            is_changed=any(model is not self._opened.get(key) for key, model in self._models.items()),
        )

    def _module(self, module: ModuleMerge, assignment: Assignment) -> Fit:
        """Fit the models of a module; only their tensors outside of layers if these are sliced."""
        names = assignment.names(module)
        if not module.is_sliced:
            references = [each.reference for each in module.pieces[0].entries]
            return self._fit(module.name, references, names if assignment.is_partial(module) else None)
        stack = assignment.stacks[module.name]
        pieces = module.by_position
        for each in (entry for piece in pieces.values() for entry in piece.entries):
            kept = kept_by_layers(self._template.config, stack.part)
            model = self._opened[each.reference]
            self._warnings += compare(self._template, model, [stack.part], kept=kept)
        outer = [name for name in names if self._template.layout.stack(name) is not stack]
        entries = [each for depth in (0.0, 1.0) for each in pieces[module.outside(depth)].entries]
        return self._fit(module.name, [each.reference for each in entries], outer, without=stack)

    def _fit(
        self,
        module: str,
        references: Sequence[str],
        only: Collection[str] | None,
        without: Stack | None = None,
    ) -> Fit:
        others = {
            reference: _without_layers(self._opened[reference], without, self._template)
            for reference in references
        }
        result = fit(self._template, list(others.values()), resize=self._recipe.resize, only=only)
        for reference, model in others.items():
            as_read = result.like if model is self._template else result.models[model.reference]
            if _is_as_stored(as_read, model):
                self._keys[module, reference] = reference
                continue
            key = reference if only is None else f"{reference} ({module or 'outside of slices'})"
            self._keys[module, reference] = key
            self._models[key] = as_read
        self._fits.append(result)
        self._warnings += result.warnings
        return result

    def _joined_template(self) -> Checkpoint:
        changed = [each for each in self._fits if each.like is not self._template]
        if len(self._fits) == 1 or not changed:
            return changed[0].like if changed else self._template
        views: dict[str, View] = {name: whole(self._template, name, name) for name in self._template.tensors}
        config = dict(self._template.config)
        for each in changed:
            views |= {n: v for n, v in each.views.items() if n not in views or v.info != views[n].info}
            pairs = each.like.config.items()
            config |= {key: value for key, value in pairs if self._template.config.get(key) != value}
        return fitted(self._template, views, config)


def _without_layers(model: Checkpoint, stack: Stack | None, template: Checkpoint) -> Checkpoint:
    """Return a model without its layers, whose number may differ; the template is returned unchanged."""
    if stack is None or model is template:
        return model
    layers = [own for own in model.layout.stacks if own.prefix == stack.prefix]
    inside = {name for own in layers for names in own.blocks.values() for name in names}
    return replace(model, tensors={name: each for name, each in model.tensors.items() if name not in inside})


def _is_as_stored(as_read: Checkpoint, model: Checkpoint) -> bool:
    return as_read is model or all(
        info == model.tensors.get(name)
        and [each is model for each, _ in as_read.needs(name).others] == [True]
        for name, info in as_read.tensors.items()
    )


def _assign(recipe: Recipe, modules: Sequence[ModuleMerge], template: Checkpoint) -> Assignment:
    layout = template.layout
    has_parts = bool(recipe.parts) or recipe.frame is not None
    uses = select(layout, recipe.parts, recipe.frame) if has_parts else {}
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
    if use != BASE:
        return use
    if recipe.base_model is None:
        expected = "the model that parts are copied from"
        remedy = "Name it, or replace base by its reference below parts:."
        raise KingyoError("base_model", expected, "nothing", remedy)
    return recipe.base_model


def _by_tensor(names: Sequence[str], modules: Sequence[ModuleMerge], layout: Layout) -> dict[str, str]:
    if modules[0].name == MAIN or (len(modules) == 1 and modules[0].name == _DEFAULT):
        return dict.fromkeys(names, modules[0].name)
    owners = _by_part(modules, layout)
    for name in names:
        part = layout.part(name)
        if part not in owners:
            expected = f"a module for every part of this model: {', '.join(layout.parts)}"
            received = f"none for {part}, with {name}"
            remedy = f"Add one, or copy it from the base: parts: {{{part}: base, …}}."
            raise KingyoError("modules", expected, received, remedy)
    return {name: owners[layout.part(name)] for name in names}


def _by_part(modules: Sequence[ModuleMerge], layout: Layout) -> dict[str, str]:
    owners: dict[str, str] = {}
    for module in modules:
        part = _ALIASES.get(module.name, module.name) if module.name not in layout.parts else module.name
        if part not in layout.parts:
            expected = f"parts of this model: {', '.join(layout.parts)}"
            remedy = suggest(module.name, layout.parts)
            raise KingyoError("modules", expected, f"'{module.name}'", remedy)
        if part in owners:
            expected = "each part once"
            received = f"{owners[part]} and {module.name}, which are both {part}"
            raise KingyoError("modules", expected, received, "Keep one of them.")
        owners[part] = module.name
    return owners


def _one_stack(module: ModuleMerge, names: Sequence[str], layout: Layout) -> Stack:
    inside = {name for name in names if layout.stack(name) is not None}
    stacks = [
        stack for stack in layout.stacks if any(inside.intersection(block) for block in stack.blocks.values())
    ]
    if len(stacks) != 1:
        raise KingyoError(
            "slices" if module.name == MAIN else f"modules.{module.name}",
            "slices of a model with one stack of layers",
            ", ".join(f"{stack.name} ({stack.prefix})" for stack in stacks) or "no layers",
            f"Name parts below modules: ({', '.join(layout.parts)}), each with slices: or models:.",
        )
    return stacks[0]
