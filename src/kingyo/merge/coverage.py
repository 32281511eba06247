"""Which part of a recipe makes which tensor of the output, and whether the models fit together there.

It knows names, parts and shapes; no method and no parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kingyo.checkpoints import Checkpoint, Layout, Stack, check_fit, select
from kingyo.errors import KingyoError, suggest
from kingyo.merge.pieces import MAIN, Region
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
        region: tensor -> the region that makes it, for all others.
        stack: name of a sliced region -> the layers that it slices.

    Args:
        recipe: what is merged.
        found: its regions.
        like: the model that the output is like.
        opened: the models.

    Raises:
        KingyoError: a part or module that the model does not have, a tensor that no module makes or two do,
            slices of a region that has not just one stack of layers, or models that do not fit together.
    """

    def __init__(
        self, recipe: Recipe, found: Sequence[Region], like: Checkpoint, opened: Mapping[str, Checkpoint]
    ) -> None:
        layout = like.layout
        taken = select(layout, recipe.parts) if recipe.parts else {}
        self.taken: Mapping[str, str] = {
            name: _model(use, recipe) for name, use in taken.items() if use != MERGE
        }
        for reference in dict.fromkeys(self.taken.values()):
            _check_fit(
                like, opened[reference], [name for name, its in self.taken.items() if its == reference]
            )
        merged = [name for name in layout.names if name not in self.taken]
        self.region: Mapping[str, Region] = _by_tensor(merged, found, layout)
        self.stack: Mapping[str, Stack] = {
            region.name: _one_stack(region, self.names(region), layout)
            for region in found
            if region.is_sliced
        }
        self._like = like
        for region in found:
            self._check_fit(region, opened)

    def names(self, region: Region) -> list[str]:
        """The tensors that a region makes, in the order of the model."""
        return [name for name, its in self.region.items() if its is region]

    def _check_fit(self, region: Region, opened: Mapping[str, Checkpoint]) -> None:
        """Check that a region's models have its tensors, as far as these are not in slices."""
        names, is_partial = self.names(region), region.name != MAIN or bool(self.taken)
        if not region.is_sliced:
            for entry in region.pieces[0].entries:
                _check_fit(self._like, opened[entry.reference], names if is_partial else None)
            return
        stack = self.stack[region.name]
        outer = [name for name in names if self._like.layout.stack(name) is not stack]
        for piece, is_after in ((region.pieces[0], False), (region.pieces[-1], True)):
            own = [name for name in outer if (self._like.layout.depth(name) > 0) == is_after]
            for entry in piece.entries:
                _check_fit(self._like, opened[entry.reference], own)
        for piece in region.pieces:
            for entry in piece.entries:
                _check_fit(self._like, opened[entry.reference], ())


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


def _check_fit(like: Checkpoint, other: Checkpoint, names: Iterable[str] | None) -> None:
    if other is like:
        return
    if names is None:
        check_fit(like, other)
    else:
        wanted = set(names)
        check_fit(_only(like, wanted), _only(other, wanted))


def _only(checkpoint: Checkpoint, names: set[str]) -> Checkpoint:
    return Checkpoint(
        reference=checkpoint.reference,
        path=checkpoint.path,
        config=checkpoint.config,
        tensors={name: info for name, info in checkpoint.tensors.items() if name in names},
    )


def _by_tensor(names: Sequence[str], found: Sequence[Region], layout: Layout) -> dict[str, Region]:
    if found[0].name == MAIN or (len(found) == 1 and found[0].name == _WHOLE):
        return dict.fromkeys(names, found[0])
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
    return {name: owner[layout.part(name)] for name in names}


def _one_stack(region: Region, names: Sequence[str], layout: Layout) -> Stack:
    own = {id(stack): stack for name in names if (stack := layout.stack(name)) is not None}
    if len(own) != 1:
        where = "slices" if region.name == MAIN else f"modules.{region.name}"
        found = ", ".join(f"{stack.name} ({stack.prefix})" for stack in own.values()) or "no layers"
        raise KingyoError(
            where,
            expected="slices of a model with one stack of layers",
            received=found,
            remedy=f"Name parts below modules: ({', '.join(layout.parts)}), each with slices: or models:.",
        )
    return next(iter(own.values()))
