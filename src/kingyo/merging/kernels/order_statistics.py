"""Largest entries, ranks and quantiles of tensors and task vectors.

They are exact, so they are bit-identical for any number of threads. Compiled loops take them where possible;
the definitions in torch and numpy are beside them.
"""

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kingyo.merging.kernels import machine_code
from kingyo.merging.kernels.blocks import Span, differences, spans
from kingyo.merging.kernels.loops import SIZE_SHIFT, SumLoop, call_arguments
from kingyo.merging.kernels.masks import Ranks, Threshold
from kingyo.merging.kernels.raw_tensor import AnyTensor, as_torch, bytes_of
from kingyo.merging.kernels.statistics import SCRATCH, loop_over, plain_sum
from kingyo.merging.kernels.threads import map_spans
from kingyo.merging.kernels.weighted_sum import WeightedSum, variance

Counts = NDArray[np.int64]
Order = NDArray[np.uint32]
Measure = Literal["size", "variance"]
"""Magnitude of one task vector, or variance over several."""

_NOTHING = Threshold(least=float("inf"), before=0)


def largest(
    source: AnyTensor, base: AnyTensor, count: int, counts: Callable[[], Counts] | None = None
) -> Threshold:
    """Return the threshold of the ``count`` largest magnitudes of θ - θ₀; of equal ones the first.

    ``counts`` returns their ``size_counts``, if these are cached; it saves one of two passes.
    """
    return _threshold(plain_sum([source], base), "size", count, counts)


def most_varied(sources: Sequence[AnyTensor], base: AnyTensor, count: int) -> Threshold:
    """Return the threshold of the ``count`` largest variances over θᵢ - θ₀; of equal ones the first."""
    return _threshold(plain_sum(sources, base), "variance", count)


def _threshold(
    plain: WeightedSum, measure: Measure, count: int, known: Callable[[], Counts] | None = None
) -> Threshold:
    n = plain.n_elements
    if count >= n:
        return Threshold(least=0.0, before=n)
    if count <= 0:
        return _NOTHING
    loop = loop_over(plain, measure)
    if loop is None:
        numbers = _sizes(plain, measure)
        return _threshold_among(numbers, np.arange(numbers.size), count)
    counts = _cropped(_counts(loop, n)) if known is None else known()
    above = np.cumsum(counts[:0:-1])  # from the largest bin down
    place = int(np.searchsorted(above, count))
    left = count - (int(above[place - 1]) if place else 0)
    index = counts.size - 1 - place
    wanted = int(counts[0]) + index - 1
    equals, bits, places = _entries_of_bin(loop, n, int(counts[index]), wanted)
    if left <= bits.size:
        return _threshold_among(bits.view(np.float32), places, left)
    return _threshold_at(loop, n, np.uint32(wanted << SIZE_SHIFT), equals, left - bits.size)


def _threshold_among(numbers: NDArray[np.float32], places: NDArray[np.int64], count: int) -> Threshold:
    """Return the threshold of the ``count`` largest numbers; places ascend, NaN is the largest."""
    upper = np.partition(numbers, numbers.size - count)[numbers.size - count :]
    least = upper[0]
    if np.isnan(least):
        return _NOTHING
    equals = places[numbers == least]
    above = int(np.count_nonzero(~(upper <= least)))
    return Threshold(least=float(least), before=int(equals[count - above - 1]) + 1)


def _entries_of_bin(
    loop: SumLoop, n: int, most: int, wanted: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.int64]]:
    """Return the entries of one bin of the ``size_counts``, of which there are at most ``most``.

    First the number of entries with its least size, per ``SCRATCH`` entries of the tensor; then bits and
    indices of the others, ascending by index.
    """

    def collect(span: Span) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.int64]]:
        width = span[1] - span[0]
        scratch, equals = np.empty(SCRATCH, dtype=np.float32), np.empty(-(-width // SCRATCH), np.uint32)
        room, n_here = min(most, width), np.empty(1, np.int64)
        bits, places = np.empty(room, dtype=np.uint32), np.empty(room, dtype=np.int64)
        arguments = call_arguments(loop.calls(span))
        machine_code.collect(*arguments, wanted, scratch, equals, bits, places, n_here)
        return equals, bits[: n_here[0]], places[: n_here[0]]

    equals, bits, places = zip(*map_spans(n, collect), strict=True)
    return np.concatenate(equals), np.concatenate(bits), np.concatenate(places)


def _threshold_at(
    loop: SumLoop, n: int, least: np.uint32, equals: NDArray[np.uint32], count: int
) -> Threshold:
    """Return the threshold that keeps the first ``count`` entries with a size, given as bits."""
    if np.isnan(least.view(np.float32)):
        return _NOTHING
    totals = np.cumsum(equals, dtype=np.int64)
    part = int(np.searchsorted(totals, count))
    first, left = part * SCRATCH, count - (int(totals[part - 1]) if part else 0)
    sizes = np.empty(min(SCRATCH, n - first), dtype=np.float32)
    machine_code.sizes(*call_arguments(loop.calls((first, first + sizes.size))), sizes)
    places = np.flatnonzero(sizes.view(np.uint32) == least)
    return Threshold(least=float(least.view(np.float32)), before=first + int(places[left - 1]) + 1)


def size_counts(source: AnyTensor, base: AnyTensor) -> Counts:
    """Return the histogram of the magnitudes of θ - θ₀ by their upper bits: first bin, counts."""
    plain = plain_sum([source], base)
    loop = loop_over(plain, "size")
    if loop is not None:
        return _cropped(_counts(loop, plain.n_elements))
    bins = _sizes(plain, "size").view(np.uint32) >> np.uint32(SIZE_SHIFT)
    return _cropped(np.bincount(bins, minlength=1))


def _counts(loop: SumLoop, n: int) -> Counts:
    def count(span: Span) -> Counts:
        bins, scratch = np.zeros(1 << (31 - SIZE_SHIFT), dtype=np.int64), np.empty(SCRATCH, dtype=np.float32)
        machine_code.histogram(*call_arguments(loop.calls(span)), bins, scratch)
        return bins

    parts = map_spans(n, count)
    return np.sum(parts, axis=0) if parts else np.zeros(1, dtype=np.int64)


def _cropped(counts: Counts) -> Counts:
    used = np.flatnonzero(counts)
    first, last = (int(used[0]), int(used[-1])) if used.size else (0, 0)
    return np.concatenate([np.array([first]), counts[first : last + 1]])


def _sizes(plain: WeightedSum, measure: Measure) -> NDArray[np.float32]:
    def sizes(span: Span) -> NDArray[np.float32]:
        deltas = plain.rows(span)
        return (variance(deltas) if measure == "variance" else deltas[0].abs_()).numpy()

    parts = [sizes(span) for span in spans(plain.n_elements)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)


def size_order(source: AnyTensor, base: AnyTensor) -> Order:
    """Return the places of the entries of θ - θ₀ by descending magnitude, NaN first; equal ones in order."""
    plain = plain_sum([source], base)
    loop = loop_over(plain, "size")
    if loop is None:
        return np.argsort(~_sizes(plain, "size").view(np.uint32), kind="stable").astype(np.uint32)
    sizes = np.empty(plain.n_elements, dtype=np.float32)
    machine_code.sizes(*call_arguments(loop.calls((0, plain.n_elements))), sizes)
    return machine_code.order(~sizes.view(np.uint32))


def threshold_of(source: AnyTensor, base: AnyTensor, order: Order, count: int) -> Threshold:
    """Return ``largest`` from the ``size_order``; ``count`` is from 1 to the number of entries."""
    place = int(order[count - 1])
    theta, start = (float(as_torch(each).reshape(-1)[place].item()) for each in (source, base))
    least = abs(ctypes.c_float(theta - start).value)  # float64 is so wide that it rounds once
    return _NOTHING if math.isnan(least) else Threshold(least=least, before=place + 1)


def row_length(shape: Sequence[int]) -> int:
    """Return the entries per row: per index of the first axis; a vector or a number is one row."""
    return math.prod(shape[1:]) if len(shape) > 1 else math.prod(shape)


def row_ranks(source: AnyTensor, base: AnyTensor) -> Ranks:
    """Return the rank of each entry's magnitude in its row, from 0 for the smallest; of equal ones in order.

    It is flat; a vector is one row, and dimensions after the second belong to the row.
    """
    length, n = row_length(source.shape), source.numel()
    ranks = np.empty(n, dtype=np.uint16) if length <= 1 << 16 else np.empty(n, dtype=np.int32)
    loop = loop_over(plain_sum([source], base), "size")
    if loop is None or ranks.dtype != np.uint16:
        _rank_rows(source, base, length, ranks)
        return ranks

    def sort(span: Span) -> None:
        scratch = np.empty(length, dtype=np.float32)
        arguments = call_arguments(loop.calls(span))
        machine_code.ranks(*arguments, length, scratch, *machine_code.sort_memory(length), ranks)

    map_spans(n, sort, align=length)
    return ranks


def _rank_rows(source: AnyTensor, base: AnyTensor, length: int, ranks: Ranks) -> None:
    read = differences([source], base)
    for start, stop in spans(source.numel(), max(1, (1 << 18) // max(1, length)) * max(1, length)):
        sizes = read((start, stop))[0].abs_().numpy().reshape(-1, length)
        table = ranks[start:stop].reshape(-1, length)
        order = np.argsort(sizes, axis=1, kind="stable")
        np.put_along_axis(table, order, np.arange(length, dtype=ranks.dtype)[None, :], axis=1)


def count_varied(sources: Sequence[AnyTensor]) -> int:
    """Return the number of entries that are not equal in all sources."""
    read = _bits_of_all(sources)

    def count_of(part: Span) -> int:
        first, *others = read(part)
        differ, union = np.zeros_like(first), first.copy()
        for other in others:
            differ |= other ^ first
            union |= other
        return int(np.count_nonzero((differ != 0) & (union << 1 != 0)))  # 0 equals -0

    def count(span: Span) -> int:
        return sum(count_of((span[0] + a, span[0] + b)) for a, b in spans(span[1] - span[0]))

    return sum(map_spans(sources[0].numel(), count))


def _bits_of_all(sources: Sequence[AnyTensor]) -> Callable[[Span], Sequence[NDArray[np.integer[Any]]]]:
    """Return a function that reads a span of each source as integers, in a common dtype."""
    if len({each.dtype for each in sources}) > 1:
        read = differences(sources, None)
        return lambda span: list(read(span).numpy().view(np.int32))
    kind = np.dtype(f"i{sources[0].element_size()}")
    vectors = [bytes_of(each.contiguous()).view(kind) for each in sources]
    return lambda span: [vector[span[0] : span[1]] for vector in vectors]
