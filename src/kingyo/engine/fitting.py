"""Fit the models of a recipe to the template of the output, module by module."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.checkpoints import Checkpoint, Stack, fit
from kingyo.checkpoints.compatibility import Fit
from kingyo.checkpoints.config_comparison import compare
from kingyo.checkpoints.configs import kept_by_layers
from kingyo.checkpoints.views import View, fitted, whole
from kingyo.engine.assignment import Assignment, assign
from kingyo.engine.modules import ModuleMerge
from kingyo.recipe import Recipe

_COPIED = "parts"
"""Stands for a module, for models whose tensors are copied."""


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
    """Fit the models of a recipe to its base, or to the first model if there is no base.

    Raises:
        KingyoError: see ``assign`` and ``checkpoints.fit``.
    """
    return _ModelFitter(recipe, models).run(modules)


def template_of(recipe: Recipe) -> str:
    """Return the reference of the model that gives the output its names: the base, else the first."""
    return recipe.base_model or recipe.references[0]


class _ModelFitter:
    """Fit models, module by module."""

    def __init__(self, recipe: Recipe, opened: Mapping[str, Checkpoint]) -> None:
        self._recipe = recipe
        self._opened = opened
        self._template = opened[template_of(recipe)]
        self._models: dict[str, Checkpoint] = dict(opened)
        self._keys: dict[tuple[str, str], str] = {}
        self._fits: list[Fit] = []
        self._warnings: list[str] = []

    def run(self, modules: Sequence[ModuleMerge]) -> FittedModels:
        given = assign(self._recipe, modules, self._template)
        by_tensor, copied = dict(given.modules), dict(given.copied)
        for module in modules:
            result = self._module(module, given)
            by_tensor |= {
                name: module.name for name in result.like.tensors if name not in self._template.tensors
            }
            copied |= dict.fromkeys(result.unmerged, template_of(self._recipe))
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
            self._warnings += compare(self._template, self._opened[each.reference], kept=kept)
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
        """Fit some models, and record the keys by which the module reads them."""
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
        """Return the template with the changes of all modules."""
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
    inside = {
        name
        for own in model.layout.stacks
        if own.prefix == stack.prefix
        for names in own.blocks.values()
        for name in names
    }
    return replace(model, tensors={name: each for name, each in model.tensors.items() if name not in inside})


def _is_as_stored(as_read: Checkpoint, model: Checkpoint) -> bool:
    """Return whether a fitted model is read under the names and in the shapes that are stored."""
    return as_read is model or all(
        info == model.tensors.get(name)
        and [each is model for each, _ in as_read.needs(name).others] == [True]
        for name, info in as_read.tensors.items()
    )
