"""What reading a tensor of a source takes: which bytes of which files, and how much memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kingyo.checkpoints import Checkpoint, TensorInfo
from kingyo.engine import Plan, TensorJob


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reading takes.

    Attributes:
        stored: the tensors in files.
        computed: bytes of memory for what is computed from them.
        merged: the sizes of tensors that are merged on the way, of recipes that others need.
    """

    stored: frozenset[TensorInfo]
    computed: int = 0
    merged: tuple[int, ...] = ()


def reading_of(plan: Plan, job: TensorJob) -> Reading:
    """Return what a job reads."""
    each_once = dict.fromkeys((each.reference, each.tensor) for each in job.reads)
    return _together(_reading(plan.sources[reference], tensor) for reference, tensor in each_once)


def _reading(model: Checkpoint, name: str) -> Reading:
    needs = model.needs(name)
    parts = [_reading(*each) for each in needs.others]
    if needs.stored:
        parts.append(Reading(stored=frozenset(needs.stored)))
    if len(parts) == 1 and not needs.is_merge:
        return parts[0]
    whole, result = _together(parts), model.tensors[model.home(name) or name]
    merged = (*whole.merged, result.n_elements) if needs.is_merge else whole.merged
    return Reading(stored=whole.stored, computed=whole.computed + result.n_bytes, merged=merged)


def _together(readings: Iterable[Reading]) -> Reading:
    found = tuple(readings)
    return Reading(
        stored=frozenset[TensorInfo]().union(*(each.stored for each in found)),
        computed=sum(each.computed for each in found),
        merged=tuple(size for each in found for size in each.merged),
    )
