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
        seed: seed of random methods; overrides the recipe.
        max_shard_bytes: the largest size of a weight file.
        threads: number of threads. Default: all cores.
        force: replace the output folder and everything in it.
        allow_nonfinite: merge even if weights are NaN or infinite.
        copy_code: copy the Python files of the models. They are not run.
        ignore_licences: merge even if the licences of the models forbid it.
        component: if the recipe names diffusers pipelines: merge this component of them, such as unet.
        pipeline: write the full diffusers pipeline around the merged component, not only the component.
        single_file: also write a diffusion model as one .safetensors in the layout of its original code.
        allow_pickle: read weights that exist only as pickles. Code in a pickle is never run.

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
