"""What a user asks for: recipes, where their result goes, and with which options."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kingyo.engine import MergeOptions
from kingyo.recipe import RecipeBook


@dataclass(frozen=True, kw_only=True)
class MergeRequest:
    """One call of ``kingyo merge``.

    Attributes:
        recipe: the file, or what such a file holds.
        out: the folder to make.
        folder: where relative paths of the recipe begin; the file's folder, or the current one, when None.
        options: of the merge.
    """

    recipe: Path | RecipeBook
    out: Path
    folder: Path | None = None
    options: MergeOptions = field(default_factory=MergeOptions)

    @property
    def name(self) -> str:
        """What messages call the recipe."""
        return str(self.recipe) if isinstance(self.recipe, Path) else "recipe"

    @property
    def root(self) -> Path:
        """Where relative paths of the recipe begin."""
        if self.folder is not None:
            return self.folder
        return self.recipe.parent if isinstance(self.recipe, Path) else Path()
