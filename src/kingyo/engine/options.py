"""Options of merges, into folders and into live models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from kingyo.checkpoints.writer import MAX_SHARD_BYTES
from kingyo.errors import KingyoError

MAX_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """Options of a merge. A live model needs ``threads``, ``compiled`` and ``allow_nonfinite`` only.

    Attributes:
        seed: seed of random methods; overrides the recipe.
        max_shard_bytes: the largest size of a weight file.
        threads: number of threads. Default: all cores.
        compiled: use compiled loops; None uses them where they save time, and always for live models.
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
    compiled: bool | None = None
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
                expected = f"a whole number of at least {least}"
                expected += "" if most == math.inf else f" and at most {most}"
                remedy = f"Set {key} to such a number, or leave it out."
                raise KingyoError(key, expected=expected, received=repr(value)[:80], remedy=remedy)
