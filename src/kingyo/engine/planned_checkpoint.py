"""The result of a merge as a checkpoint that other merges can read; it is never written to disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

from kingyo.checkpoints import Checkpoint, TensorInfo
from kingyo.checkpoints.checkpoint import Needs
from kingyo.checkpoints.writer import copy_companions
from kingyo.engine.compute import compute
from kingyo.engine.plan import Plan
from kingyo.errors import KingyoError, suggest
from kingyo.io.lazy_torch import Tensor
from kingyo.vocabulary import TOKENIZER_FILES


@dataclass(frozen=True, kw_only=True)
class PlannedCheckpoint(Checkpoint):
    """The result of a plan, computed tensor by tensor when it is read.

    Each tensor is rounded to the dtype that it would be stored in, so a merge of it is bit-identical to two
    merges one after the other.

    Attributes:
        plan: the plan.
    """

    plan: Plan = field(repr=False)

    def read(self, name: str) -> Tensor:
        """Compute a tensor.

        Raises:
            KingyoError: there is no such tensor, or see ``compute``.
        """
        if name not in self.tensors:
            remedy = suggest(name, self.tensors)
            raise KingyoError(self.reference, expected="one of its tensors", received=name, remedy=remedy)
        return compute(self.plan.jobs_by_name[name], self.plan.sources.read)

    def needs(self, name: str) -> Needs:
        """Return the inputs of the job of a tensor, each once."""
        inputs = dict.fromkeys((each.reference, each.tensor) for each in self.plan.jobs_by_name[name].reads)
        return Needs(others=tuple((self.plan.sources[reference], tensor) for reference, tensor in inputs))


def planned_checkpoint(name: str, plan: Plan) -> PlannedCheckpoint:
    """Return the result of a plan as a checkpoint.

    Args:
        name: its reference in the recipes that merge it.
        plan: the plan.
    """
    folder = plan.like.path
    if plan.tokenizer_files is not None:
        folder = _folder_of(plan)
        finalize(plan, shutil.rmtree, folder, ignore_errors=True)
    return PlannedCheckpoint(
        reference=name,
        path=folder,
        config=plan.like.config,
        tensors={
            job.name: TensorInfo(name=job.name, shape=job.shape, dtype=job.dtype, file=folder, start=0)
            for job in plan.jobs
        },
        made_of=tuple(plan.sources[reference] for reference in sorted(plan.weights_of)),
        made_by=plan.recipe.hash,
        plan=plan,
    )


def _folder_of(plan: Plan) -> Path:
    """Make a folder with the plan's tokenizer and all other files beside the weights."""
    folder = Path(mkdtemp(prefix="kingyo-"))
    copy_companions(folder, plan.like, TOKENIZER_FILES)
    for name, content in (plan.tokenizer_files or {}).items():
        (folder / name).write_bytes(content)
    return folder
