"""One job of a plan: the merge of one tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.kernels import whole
from kingyo.kernels.facts import Facts
from kingyo.merge.plan import TensorJob
from kingyo.methods import TensorContext

Read = Callable[[str, str], Tensor]
"""Model reference, tensor name -> the tensor as stored."""


def compute(job: TensorJob, read: Read, facts: Facts | None = None) -> Tensor:
    """Merge one tensor: in float32, rounded once to the dtype of the job.

    Raises:
        KingyoError: the result is NaN or infinite, or integers differ between the models.
    """
    tensors = [read(each.reference, each.tensor) for each in job.inputs]
    base = read(job.base.reference, job.base.tensor) if job.base is not None else None
    if job.method is None:
        same = _same(job, tensors if base is None else [base, *tensors])
        return same.to(getattr(torch, job.dtype))
    identities = tuple(each.identity(job.name) for each in job.inputs)
    context = TensorContext(job.seed, job.name, facts, identities, job.base and job.base.identity(job.name))
    merged = whole(job.method(tensors, base, job.values, context))
    rounded = merged.to(getattr(torch, job.dtype))
    if rounded.numel() and not _is_finite(rounded):
        raise KingyoError(
            job.name,
            expected="finite merged weights",
            received=f"NaN or infinity in {job.dtype} from {', '.join(job.sources)}",
            remedy="A source is broken, or its weight is too large.",
        )
    return rounded


def _same(job: TensorJob, tensors: Sequence[Tensor]) -> Tensor:
    if any(not torch.equal(tensors[0], tensor) for tensor in tensors[1:]):
        raise KingyoError(
            job.name,
            expected="equal values in all models, since they are not floating point",
            received="values that differ",
            remedy="Merge models of one architecture and vocabulary.",
        )
    return tensors[0]


def _is_finite(tensor: Tensor) -> bool:
    low, high = torch.aminmax(tensor)
    return bool(torch.isfinite(low)) and bool(torch.isfinite(high))
