"""Where a plan goes while a search runs: into the weights of a live model, in place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from kingyo.engine.compute import not_finite, result
from kingyo.engine.execute import How, Prepared, fill
from kingyo.engine.plan import Plan, TensorJob
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels import Lazy, RankedBernoulliMask, RescaledSum, WeightedSum
from kingyo.kernels.raw_tensor import as_torch
from kingyo.kernels.writing import PendingWrite, prepare

_LOAD_LIVE = "Load the live model from one of the models of the recipe."


def into(plan: Plan, weights: Mapping[str, Tensor], how: How | None = None) -> None:
    """Write a merge into a live model, in place. After an error its weights are a mixture: fill it again.

    Args:
        plan: what to compute.
        weights: the live tensors by their names in the checkpoint, in the dtype of the plan or a wider one.
            A further name for the same memory (a tied head) is allowed.
        how: threads and the like.

    Raises:
        KingyoError: names, shapes or dtypes differ, or see ``compute``.
        ChangedSourceError: the files of a source are not what they were when it was opened.
    """
    _check_live(plan, weights)
    chosen = how or How()
    if chosen.compiled is None:  # who fills a model will fill it again
        chosen = replace(chosen, compiled=True)
    plan.sources.check_unchanged()
    live = _Live(plan, weights, nonfinite=chosen.nonfinite)
    fill(plan.jobs, live.prepared, live.end, chosen)
    plan.sources.check_unchanged()  # it may have been computed from files of both
    plan.sources.facts.flush()


class _Live:
    """Live tensors: filled in place where they have the dtype of the results."""

    def __init__(self, plan: Plan, weights: Mapping[str, Tensor], *, nonfinite: bool) -> None:
        self._sources = plan.sources
        self._is_mapped = all(map(plan.sources.is_mapped, plan.sources))
        self._weights = weights
        self._nonfinite = nonfinite

    def prepared(self, job: TensorJob) -> Prepared:
        place, sources = self._place(job), self._sources
        merged = result(job, sources.read_again, sources.facts, nonfinite=self._nonfinite)
        n_bytes = self._held(job, merged)
        if not place.is_cpu and isinstance(merged, RescaledSum):
            merged = merged.rescaled
        if not place.is_cpu and isinstance(merged, WeightedSum):
            copied = merged.on_device(lambda tensor: self._sources.copy_on(place.device, tensor))
            merged = copied or merged
        return prepare(merged, (0, place.numel()), place), n_bytes

    def _held(self, job: TensorJob, merged: Tensor | Lazy) -> int:
        """Bytes of memory that a result takes before it is computed; mapped files are the system's."""
        n_bytes = 0 if self._is_mapped else 4 * math.prod(job.shape) * self._count_computed(job)
        weighted = merged.unscaled if isinstance(merged, RescaledSum) else merged
        if isinstance(weighted, WeightedSum):
            for term in weighted.terms:
                if not self._sources.lasts(term.source):  # made by the method; facts may have no room for it
                    n_bytes += term.source.nbytes
                if isinstance(term.mask, RankedBernoulliMask):
                    n_bytes += term.mask.ranks.nbytes
        elif isinstance(merged, torch.Tensor):
            n_bytes += merged.nbytes
        return n_bytes

    def _count_computed(self, job: TensorJob) -> int:
        return sum(not self._sources.is_mapped(each.reference) for each in job.reads)

    def end(self, job: TensorJob, pending: PendingWrite, is_finite: bool) -> None:
        if not is_finite and not self._nonfinite:
            raise not_finite(job, self._sources.read_again)
        live = self._weights[job.name]
        if live.dtype != pending.out.dtype:
            live.detach().view(-1).copy_(as_torch(pending.out))

    def _place(self, job: TensorJob) -> Tensor:
        live, dtype = self._weights[job.name], getattr(torch, job.dtype)
        if live.dtype == dtype:
            return live
        return torch.empty(live.numel(), dtype=dtype, device=live.device)


def _check_live(plan: Plan, weights: Mapping[str, Tensor]) -> None:
    """Refuse a live model with other tensors, or tied where the plan has results of their own."""
    _check_names(plan, weights)
    places: list[tuple[str, int, int, str]] = []
    for job in plan.jobs:
        live = weights[job.name]
        _check_tensor(job, live)
        if live.nbytes:
            start = live.data_ptr()
            places.append((str(live.device), start, start + live.nbytes, job.name))
    places.sort()
    for (device, _, end, owner), (other, start, _, name) in pairwise(places):
        if device == other and start < end:
            raise KingyoError(
                "weights",
                expected=f"memory of its own for {name}, which the merge does not tie",
                received=f"that of {owner}",
                remedy="Load the live model untied (tie_word_embeddings: false).",
            )


def _check_names(plan: Plan, weights: Mapping[str, Tensor]) -> None:
    planned = {job.name for job in plan.jobs}
    odd = planned - weights.keys()
    more = weights.keys() - planned
    if more:
        memory = {weights[name].data_ptr() for name in planned & weights.keys()}
        odd |= {name for name in more if weights[name].data_ptr() not in memory}
    if odd:
        first = min(odd)
        raise KingyoError(
            "weights",
            expected="the tensors of the plan",
            received=f"'{first}', which is not in the {'live model' if first in planned else 'plan'}",
            remedy=_LOAD_LIVE,
        )


def _check_tensor(job: TensorJob, live: Tensor) -> None:
    if live.shape != job.shape:
        raise KingyoError(
            job.name, expected=f"{list(job.shape)}", received=f"{list(live.shape)} live", remedy=_LOAD_LIVE
        )
    if live.is_meta or live.layout != torch.strided or live.is_neg() or not live.is_contiguous():
        raise KingyoError(
            job.name,
            expected="a live tensor in one piece of memory",
            received=_form_of(live),
            remedy="Load the model again, with its weights as they are stored.",
        )
    dtype = getattr(torch, job.dtype)
    if live.dtype != dtype and not _holds(live.dtype, dtype):
        raise KingyoError(
            job.name,
            expected=f"a live model that holds {job.dtype}",
            received=str(live.dtype).removeprefix("torch."),
            remedy="Give the recipe the live model's dtype, or load the model in the recipe's.",
        )


def _form_of(live: Tensor) -> str:
    if live.is_meta:
        return "one without memory (on the device meta)"
    if live.layout != torch.strided:
        return f"one with the layout {str(live.layout).removeprefix('torch.')}"
    return "a negated view" if live.is_neg() else "a view with gaps, or turned"


def _holds(wide: torch.dtype, narrow: torch.dtype) -> bool:
    """Whether a dtype holds every number of another, as floats of eight bits hold none but their own."""
    if wide.is_complex or 1 in {wide.itemsize, narrow.itemsize}:
        return False
    return torch.promote_types(narrow, wide) == wide
