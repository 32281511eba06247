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
        seed: seed of random methods; overrides the recipe's.
        max_shard_bytes: the largest size of a weight file.
        threads: number of threads; None: as many as torch uses.
        compiled: use compiled loops; None uses them where they save time, and always for live models.
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
                raise KingyoError(key, expected, repr(value)[:80], remedy)
