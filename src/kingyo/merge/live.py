"""Where a plan goes while a search runs: into the weights of a live model, in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.kernels.blocks import Span
from kingyo.merge.execute import How, execute
from kingyo.merge.plan import Plan, TensorJob

_LOAD_LIVE = "Load the live model from one of the models of the recipe."


def into(plan: Plan, weights: Mapping[str, Tensor], how: How | None = None) -> None:
    """Write a merge into a live model, in place. After an error its weights are a mixture: fill it again.

    Args:
        plan: what to compute.
        weights: the live tensors by their names in the checkpoint, in the dtype of the plan or a wider one.
            A further name for the same memory (a tied head) is allowed.
        how: threads and the like.

    Raises:
        KingyoError: names, shapes or dtypes differ, the files of a source changed since the last time, or see
            ``compute``.
    """
    _check_live(plan, weights)
    chosen = how or How()
    if chosen.compiled is None:  # who fills a model will fill it again
        chosen = replace(chosen, compiled=True)
    plan.sources.check_unchanged()
    execute(plan.jobs, plan.sources.read_again, _Live(weights), plan.sources.facts, chosen)
    plan.sources.facts.flush()


class _Live:
    """Live tensors as a sink: filled in place where their memory allows it."""

    is_in_place = True

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def place(self, job: TensorJob, span: Span) -> Tensor:
        live, dtype = self._weights[job.name], getattr(torch, job.dtype)
        if live.dtype == dtype and live.is_cpu:
            whole = live.view(-1)
            return whole if span == (0, whole.numel()) else whole[span[0] : span[1]]
        return torch.empty(span[1] - span[0], dtype=dtype)

    def take(self, job: TensorJob, span: Span, numbers: Tensor) -> None:
        live = self._weights[job.name]
        if live.dtype != numbers.dtype or live.device != numbers.device:
            live.detach().view(-1)[span[0] : span[1]].copy_(numbers)


def _check_live(plan: Plan, weights: Mapping[str, Tensor]) -> None:
    planned = {job.name for job in plan.jobs}
    memory = {weights[name].data_ptr() for name in planned & weights.keys()}
    extra = [name for name in weights if name not in planned and weights[name].data_ptr() not in memory]
    odd = sorted({*extra, *(planned - weights.keys())})
    if odd:
        side = "not in the live model" if odd[0] in planned else "not in the plan"
        raise KingyoError(
            "weights",
            expected="the tensors of the plan",
            received=f"'{odd[0]}', which is {side}",
            remedy=_LOAD_LIVE,
        )
    for job in plan.jobs:
        live = weights[job.name]
        if tuple(live.shape) != job.shape:
            raise KingyoError(
                job.name,
                expected=f"{list(job.shape)}",
                received=f"{list(live.shape)} live",
                remedy=_LOAD_LIVE,
            )
        if not live.is_contiguous():
            raise KingyoError(
                job.name,
                expected="a live tensor in one piece of memory",
                received="a view with gaps, or turned",
                remedy="Call contiguous() on it, or load the model again.",
            )
        if torch.promote_types(getattr(torch, job.dtype), live.dtype) != live.dtype:
            raise KingyoError(
                job.name,
                expected=f"a live model that holds {job.dtype}",
                received=str(live.dtype).removeprefix("torch."),
                remedy="Give the recipe the live model's dtype, or load the model in the recipe's.",
            )
