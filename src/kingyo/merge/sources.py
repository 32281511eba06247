"""The opened models of a recipe, by the references that it uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.checkpoints.reference import whole_model
from kingyo.kernels.facts import Facts
from kingyo.recipe import Recipe
from kingyo.registry import whole_reference


class Sources(Mapping[str, Checkpoint]):
    """Opened checkpoints by reference, and what candidates of one search share: weights and measures of them.

    Args:
        checkpoints: by the references that recipes use.
        folder: where a recipe's ``path/to/file.py:Name`` begins; the working directory when None.
        facts_bytes: how many bytes of measures of their tensors are kept for the next candidate.
    """

    def __init__(
        self, checkpoints: Mapping[str, Checkpoint], folder: Path | None = None, facts_bytes: int = 256 << 20
    ) -> None:
        self._checkpoints = dict(checkpoints)
        self.folder = folder
        self.facts = Facts(facts_bytes)

    def __getitem__(self, reference: str) -> Checkpoint:
        return self._checkpoints[reference]

    def __iter__(self) -> Iterator[str]:
        return iter(self._checkpoints)

    def __len__(self) -> int:
        return len(self._checkpoints)

    def read(self, reference: str, tensor: str) -> Tensor:
        """Return a tensor as stored; never write to it."""
        return self._checkpoints[reference].read(tensor)


def open_sources(recipe: Recipe, folder: Path | None = None) -> Sources:
    """Open all models of a recipe; relative folders begin at ``folder``."""
    opened = {reference: open_checkpoint(reference, folder) for reference in recipe.references}
    return Sources(opened, folder)


def rooted(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with whole paths of local files, so that it can be merged from anywhere on this machine."""

    def place(reference: str) -> str:
        return whole_model(reference, folder)

    return replace(
        recipe,
        merge_method=whole_reference(recipe.merge_method, folder),
        base_model=None if recipe.base_model is None else place(recipe.base_model),
        sources=tuple(replace(source, model=place(source.model)) for source in recipe.sources),
    )
