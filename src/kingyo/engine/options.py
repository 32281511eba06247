"""Options of merges: of ``kingyo merge``, ``kingyo.merge``, and of the jobs that they run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from kingyo.checkpoints.writer import MAX_SHARD_BYTES
from kingyo.errors import KingyoError
from kingyo.recipe import RecipeBook

MAX_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """Options for running the jobs of a plan.

    Attributes:
        threads: number of threads; None is torch's.
        compiled: use compiled loops; None uses them where they save time, and always for live models.
        nonfinite: whether results may be NaN or infinite.
    """

    threads: int | None = None
    compiled: bool | None = None
    nonfinite: bool = False


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """Options of a merge.

    Attributes:
        seed: seed of random methods; overrides the recipe's.
        max_shard_bytes: the largest size of a weight file.
        threads: number of threads; None: as many as torch uses.
        force: replace the model in the output folder.
        allow_nonfinite: continue if weights are NaN or infinite.
        copy_code: copy the Python files that a config names. They are not run.
        ignore_licences: merge models whose licences forbid it, at the user's responsibility.
        component: the component to merge, if the recipe names complete diffusers pipelines.
        pipeline: also write the pipeline around a component.
        single_file: also write a diffusion model as one file in the community's layout.
        allow_pickle: read weights that exist only as pickles; see ``open_checkpoint``.

    Raises:
        KingyoError: ``seed`` or ``threads`` is out of range.
    """

    seed: int | None = None
    max_shard_bytes: int = MAX_SHARD_BYTES
    threads: int | None = None
    force: bool = False
    allow_nonfinite: bool = False
    copy_code: bool = False
    ignore_licences: bool = False
    component: str | None = None
    pipeline: bool = False
    single_file: bool = False
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        for key, least, most in (("seed", 0, math.inf), ("threads", 1, MAX_THREADS)):
            value = cast(object, getattr(self, key))
            if value is not None and (type(value) is not int or not least <= value <= most):
                at_most = "" if most == math.inf else f" and at most {most}"
                raise KingyoError(
                    key,
                    expected=f"a whole number of at least {least}{at_most}",
                    received=repr(value)[:80],
                    remedy=f"Set {key} to such a number, or leave it out.",
                )


@dataclass(frozen=True, kw_only=True)
class MergeRequest:
    """The arguments of one call of ``kingyo merge``.

    Attributes:
        recipe: the recipe file, or its content.
        out: the folder to make.
        folder: base of the recipe's relative paths; None: the folder of the file, or the working directory.
        options: options of the merge.
    """

    recipe: Path | RecipeBook
    out: Path
    folder: Path | None = None
    options: MergeOptions = field(default_factory=MergeOptions)

    @property
    def name(self) -> str:
        """Name of the recipe in messages."""
        return str(self.recipe) if isinstance(self.recipe, Path) else "recipe"

    @property
    def root(self) -> Path:
        """Base of the recipe's relative paths."""
        if self.folder is not None:
            return self.folder
        return self.recipe.parent if isinstance(self.recipe, Path) else Path()
