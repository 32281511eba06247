"""Which models a plan reads, and as what: all fitted to the model that the output is like.

It knows regions, names and shapes; no method, no parameter and no weight.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.checkpoints import Checkpoint, Stack, fit
from kingyo.checkpoints.compatibility import Fit
from kingyo.checkpoints.config_comparison import compare
from kingyo.checkpoints.layer_config import kept_by_layers
from kingyo.checkpoints.views import View, fitted, whole
from kingyo.engine.coverage import Coverage
from kingyo.engine.pieces import Region
from kingyo.engine.sources import Sources
from kingyo.recipe import Recipe

_PARTS = "parts"
"""Where models are named from which parts are taken as they are."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Models that fit together as a recipe wants them.

    Attributes:
        key: what tells it from all others of the same opened models.
        like: what the output is like, before layers are sliced.
        sources: the models, fitted; one that regions see differently is there several times.
        names: (region, reference) -> the reference among ``sources`` by which the region reads that model,
            sliced layers aside.
        regions: tensor -> the region that makes it.
        taken: tensor -> the reference among ``sources`` of the model from which it is taken as it is.
        stacks: sliced region -> its layers.
        warnings: what bends the merge and does not break it, as sentences.
    """

    key: str
    like: Checkpoint
    sources: Sources
    names: Mapping[tuple[str, str], str]
    regions: Mapping[str, str]
    taken: Mapping[str, str]
    stacks: Mapping[str, Stack]
    warnings: tuple[str, ...]


def agree(recipe: Recipe, found: Sequence[Region], opened: Sources) -> Agreement:
    """Fit the models of a recipe to one another; only once for recipes that differ in nothing but values.

    Raises:
        KingyoError: see ``Coverage`` and ``fit`` of checkpoints.
    """
    outlines = [
        [
            region.name,
            [
                [piece.n_layers, [entry.reference for entry in piece.entries]]
                for piece in region.placed.values()
            ],
        ]
        for region in found
    ]
    key = json.dumps([_like(recipe), dict(recipe.parts), recipe.resize, outlines])
    return opened.once(("agreement", key), lambda: _Agreeing(recipe, opened, key).run(found))


def _like(recipe: Recipe) -> str:
    """The model that the output is like: the base, else the first."""
    return recipe.base_model or recipe.references[0]


class _Agreeing:
    """One agreement in the making, region by region."""

    def __init__(self, recipe: Recipe, opened: Sources, key: str) -> None:
        self._recipe = recipe
        self._key = key
        self._opened = opened
        self._like = opened[_like(recipe)]
        self._models: dict[str, Checkpoint] = dict(opened)
        self._names: dict[tuple[str, str], str] = {}
        self._fits: list[Fit] = []
        self._warnings: list[str] = []

    def run(self, found: Sequence[Region]) -> Agreement:
        coverage = Coverage(self._recipe, found, self._like)
        regions, taken = dict(coverage.regions), dict(coverage.taken)
        for region in found:
            made = self._region(region, coverage)
            regions |= {name: region.name for name in made.like.tensors if name not in self._like.tensors}
            taken |= dict.fromkeys(made.unmerged, _like(self._recipe))
        for reference in dict.fromkeys(coverage.taken.values()):
            names = [name for name, its in coverage.taken.items() if its == reference]
            self._fit(_PARTS, [reference], names)
            as_read = self._names[_PARTS, reference]
            taken |= dict.fromkeys(names, as_read)
        is_changed = any(model is not self._opened.get(key) for key, model in self._models.items())
        return Agreement(
            key=self._key,
            like=self._joined(),
            sources=self._opened.as_seen(self._models, self._key) if is_changed else self._opened,
            names=self._names,
            regions=regions,
            taken=taken,
            stacks=coverage.stacks,
            warnings=tuple(dict.fromkeys(self._warnings)),
        )

    def _region(self, region: Region, coverage: Coverage) -> Fit:
        """Fit the models of a region as wholes, or what is outside of its layers if these are sliced."""
        names = coverage.names(region)
        if not region.is_sliced:
            references = [entry.reference for entry in region.pieces[0].entries]
            return self._fit(region.name, references, names if coverage.is_partial(region) else None)
        stack = coverage.stacks[region.name]
        ends = [entry for depth in (0.0, 1.0) for entry in region.placed[region.outside(depth)].entries]
        for entry in (each for piece in region.placed.values() for each in piece.entries):
            kept = kept_by_layers(self._like.config, stack.part)
            self._warnings += compare(self._like, self._opened[entry.reference], kept=kept)
        outer = [name for name in names if self._like.layout.stack(name) is not stack]
        return self._fit(region.name, [entry.reference for entry in ends], outer, without=stack)

    def _fit(
        self,
        region: str,
        references: Sequence[str],
        only: Collection[str] | None,
        without: Stack | None = None,
    ) -> Fit:
        others = {
            reference: _outside(self._opened[reference], without, self._like) for reference in references
        }
        made = fit(self._like, list(others.values()), resize=self._recipe.resize, only=only)
        for reference, model in others.items():
            seen = made.like if model is self._like else made.models[model.reference]
            if _is_as_stored(seen, model):
                self._names[region, reference] = reference
                continue
            key = reference if only is None else f"{reference} ({region or 'outside of slices'})"
            self._names[region, reference] = key
            self._models[key] = seen
        self._fits.append(made)
        self._warnings += made.warnings
        return made

    def _joined(self) -> Checkpoint:
        """Return the model that the output is like, as all regions agreed on it."""
        changed = [made for made in self._fits if made.like is not self._like]
        if len(self._fits) == 1 or not changed:
            return changed[0].like if changed else self._like
        views: dict[str, View] = {name: whole(self._like, name, name) for name in self._like.tensors}
        config = dict(self._like.config)
        for made in changed:
            views |= {n: v for n, v in made.views.items() if n not in views or v.info != views[n].info}
            said = made.like.config.items()
            config |= {key: value for key, value in said if self._like.config.get(key) != value}
        return fitted(self._like, views, config)


def _outside(model: Checkpoint, stack: Stack | None, like: Checkpoint) -> Checkpoint:
    """A model without its layers, of which it may have another number; ``like`` stays as it is."""
    if stack is None or model is like:
        return model
    inside = {
        name
        for own in model.layout.stacks
        if own.prefix == stack.prefix
        for names in own.blocks.values()
        for name in names
    }
    outer = {name: info for name, info in model.tensors.items() if name not in inside}
    return replace(model, tensors=outer)


def _is_as_stored(seen: Checkpoint, model: Checkpoint) -> bool:
    """Whether a fitted model is read by the names and in the shapes that the model has them."""
    return seen is model or all(
        info == model.tensors.get(name) and [each is model for each, _ in seen.needs(name).others] == [True]
        for name, info in seen.tensors.items()
    )
