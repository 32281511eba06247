"""Merge into the weights of a live model, in place, for one candidate of a search after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError
from kingyo.merging.engine.execute import MergeOptions, Prepared, fill
from kingyo.merging.engine.jobs import TensorJob, not_finite, result
from kingyo.merging.engine.plan import Plan
from kingyo.merging.kernels import Lazy, RankedBernoulliMask, WeightedSum
from kingyo.merging.kernels.raw_tensor import as_torch
from kingyo.merging.kernels.writing import PendingWrite, prepare

_LOAD_LIVE = "Load the live model from one of the models of the recipe."


def into(plan: Plan, weights: Mapping[str, Tensor], options: MergeOptions | None = None) -> None:
    """Write a merge into a live model, in place. After an error, fill the model again before using it.

    Args:
        plan: the plan.
        weights: the live tensors by their names in the checkpoint, in the dtype of the plan or a wider one.
            Several names may share memory (a tied head).
        options: number of threads and the like.

    Raises:
        KingyoError: names, shapes or dtypes differ from the plan's, or see ``compute``.
        ChangedSourceError: a file of a source has changed since it was opened.
    """
    _check_live(plan, weights)
    chosen = options or MergeOptions()
    if chosen.compiled is None:  # further candidates are likely
        chosen = replace(chosen, compiled=True)
    plan.sources.check_unchanged()
    live = _LiveSink(plan, weights, nonfinite=chosen.allow_nonfinite)
    fill(plan.jobs, live.prepared, live.end, chosen)
    plan.sources.check_unchanged()  # a file may have changed meanwhile


class _LiveSink:
    """Fill live tensors; directly, if they have the dtype of the results."""

    def __init__(self, plan: Plan, weights: Mapping[str, Tensor], *, nonfinite: bool) -> None:
        self._tensors = plan.sources.mapped
        self._facts = plan.sources.facts
        self._is_mapped = all(map(self._tensors.is_mapped, plan.sources))
        self._weights = weights
        self._nonfinite = nonfinite

    def prepared(self, job: TensorJob) -> Prepared:
        place = self._place(job)
        merged = result(job, self._tensors.read, self._facts, nonfinite=self._nonfinite)
        n_bytes = self._memory(job, merged)
        if not place.is_cpu and isinstance(merged, WeightedSum):
            copied = merged.on_device(lambda tensor: self._tensors.copy_on(place.device, tensor))
            merged = copied or merged
        return prepare(merged, (0, place.numel()), place), n_bytes

    def _memory(self, job: TensorJob, merged: Tensor | Lazy) -> int:
        """Return the bytes that a result needs before it is computed, without mapped files."""
        n_bytes = 0
        if not self._is_mapped:
            n_computed = sum(not self._tensors.is_mapped(each.reference) for each in job.reads)
            n_bytes = 4 * math.prod(job.shape) * n_computed
        if isinstance(merged, WeightedSum):
            for term in merged.terms:
                if not self._tensors.holds(term.source):  # computed by the method; may be in no cache
                    n_bytes += term.source.nbytes
                if term.mask is not None and isinstance(term.mask, RankedBernoulliMask):  # a protocol: slow
                    n_bytes += term.mask.ranks.nbytes
        elif isinstance(merged, torch.Tensor):
            n_bytes += merged.nbytes
        return n_bytes

    def end(self, job: TensorJob, pending: PendingWrite, is_finite: bool) -> None:
        if not is_finite and not self._nonfinite:
            raise not_finite(job, self._tensors.read)
        live = self._weights[job.name]
        if live.dtype != pending.out.dtype:
            live.detach().view(-1).copy_(as_torch(pending.out))

    def _place(self, job: TensorJob) -> Tensor:
        live, dtype = self._weights[job.name], getattr(torch, job.dtype)
        if live.dtype == dtype:
            return live
        return torch.empty(live.numel(), dtype=dtype, device=live.device)


def _check_live(plan: Plan, weights: Mapping[str, Tensor]) -> None:
    _check_names(plan, weights)
    owners: dict[int, str] = {}
    for job in plan.jobs:
        live = weights[job.name]
        _check_tensor(job, live)
        owner = owners.setdefault(live.data_ptr(), job.name) if live.nbytes else job.name
        if owner != job.name:
            expected = f"separate memory for {job.name}, which the merge does not tie"
            remedy = "Load the live model untied (tie_word_embeddings: false)."
            raise KingyoError("weights", expected, f"the memory of {owner}", remedy)


def _check_names(plan: Plan, weights: Mapping[str, Tensor]) -> None:
    planned = {job.name for job in plan.jobs}
    odd = planned - weights.keys()
    more = weights.keys() - planned
    if more:
        memory = {weights[name].data_ptr() for name in planned & weights.keys()}
        odd |= {name for name in more if weights[name].data_ptr() not in memory}
    if odd:
        first = min(odd)
        received = f"'{first}', which is not in the {'live model' if first in planned else 'plan'}"
        raise KingyoError("weights", "the tensors of the plan", received, _LOAD_LIVE)


def _check_tensor(job: TensorJob, live: Tensor) -> None:
    if live.shape != job.shape:
        raise KingyoError(job.name, f"{list(job.shape)}", f"{list(live.shape)} live", _LOAD_LIVE)
    if live.is_meta or not live.is_contiguous():
        expected = "a live tensor in one piece of memory"
        received = "one without memory (on the device meta)" if live.is_meta else "a view"
        remedy = "Load the model again, with its weights as stored."
        raise KingyoError(job.name, expected, received, remedy)
    dtype = getattr(torch, job.dtype)
    if live.dtype != dtype and not _holds(live.dtype, dtype):
        expected = f"a live model that holds {job.dtype}"
        received = str(live.dtype).removeprefix("torch.")
        remedy = "Give the recipe the live model's dtype, or load the model in the recipe's."
        raise KingyoError(job.name, expected, received, remedy)


def _holds(wide: torch.dtype, narrow: torch.dtype) -> bool:
    """Return whether a dtype holds every number of another; float8 types hold only their own numbers."""
    if wide.is_complex or 1 in {wide.itemsize, narrow.itemsize}:
        return False
    return torch.promote_types(narrow, wide) == wide
