"""Merges as models of other merges: they are computed as they are read, and lie on no disk.

It knows what a plan is, and not how one is made.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from weakref import finalize

from kingyo.checkpoints import TensorInfo
from kingyo.checkpoints.companions import copy_companions
from kingyo.engine.compute import compute
from kingyo.engine.derived import PlannedCheckpoint
from kingyo.engine.sources import Sources
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor
from kingyo.recipe import Recipe
from kingyo.vocabulary import TOKENIZER_FILES

if TYPE_CHECKING:
    from kingyo.engine.plan import Plan

Planner = Callable[[Recipe, Sources], "Plan"]


def with_merges(recipe: Recipe, opened: Sources, plan: Planner) -> Sources:
    """The opened models, and those that the recipe merges itself, by their names.

    Raises:
        KingyoError: one of these merges cannot be planned; it is named.
    """
    if not recipe.merges:
        return opened
    made: dict[str, PlannedCheckpoint] = {}
    for name, inner in recipe.merges.items():
        try:
            made[name] = planned_checkpoint(name, plan(inner, opened))
        except KingyoError as error:
            raise error.placed(f"merges.{name}") from error
    return Sources({**opened, **made}, opened.folder)


def planned_checkpoint(name: str, planned: Plan) -> PlannedCheckpoint:
    """The result of a plan as a model that others can be merged with, under this name."""
    jobs = {job.name: job for job in planned.jobs}

    def make(tensor: str) -> Tensor:
        return compute(jobs[tensor], planned.sources.read)

    path = planned.like.path if planned.tokenizer_files is None else _folder_of(planned)
    if path != planned.like.path:
        finalize(make, shutil.rmtree, path, ignore_errors=True)
    return PlannedCheckpoint(
        reference=name,
        path=path,
        config=planned.like.config,
        tensors={
            job.name: TensorInfo(name=job.name, shape=job.shape, dtype=job.dtype, file=path, start=0)
            for job in planned.jobs
        },
        made_of=tuple(planned.sources[reference] for reference in sorted(planned.weights_of)),
        made_by=planned.recipe.hash,
        jobs=jobs,
        sources=planned.sources,
        make=make,
    )


def _folder_of(planned: Plan) -> Path:
    """A folder with the files beside the weights, where a tokenizer is not that of ``like``."""
    folder = Path(mkdtemp(prefix="kingyo-"))
    copy_companions(folder, planned.like, TOKENIZER_FILES)
    for name, content in (planned.tokenizer_files or {}).items():
        (folder / name).write_bytes(content)
    return folder
