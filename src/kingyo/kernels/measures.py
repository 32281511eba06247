"""What is measured of task vectors before they are blended: sums, products, and the largest entries.

Measures have the same bits wherever they are taken: every sum has a fixed order and is in float64.
``reference`` defines them; here the compiled passes take them where those run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor
from kingyo.kernels import reference
from kingyo.kernels.blend import Term, WeightedSum
from kingyo.kernels.blocks import BLOCK, SIZE_SHIFT, Span, all_finite
from kingyo.kernels.elements import difference
from kingyo.kernels.keep import BernoulliMask, Mask, Threshold
from kingyo.kernels.noise import N_CHANCES
from kingyo.kernels.packed import Passes, arguments
from kingyo.kernels.passes import by_spans, compiled_passes

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Ranks = reference.Ranks
Order = reference.Order

_CHUNK = 1 << 9
_WHAT = {"a": 1, "k": 1, "2": 2, "g": 3}
"""What ``fused.sums`` takes: magnitudes (``k`` rounded ones), squares, products of all pairs."""


def gram(tensors: Sequence[Tensor], base: Tensor | None = None) -> Floats:
    """Inner products of the tensors, or of their differences from a base.

    Returns:
        float64, shape (n, n). A difference is rounded to float32, products are exact.
    """
    n = len(tensors)
    first, second = np.triu_indices(n)
    products = np.zeros((n, n))
    total = _sums(_blend(tensors, base), "g", len(first))
    products[first, second] = products[second, first] = total
    return products


def magnitude(source: Tensor, base: Tensor) -> float:
    """Σ|θ - θ₀|."""
    return float(_sums(_blend([source], base), "a", 1)[0])


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity."""
    if math.isfinite(_sums(_blend([tensor], None), "a", 1)[0]):  # float32 never add up to infinity in float64
        return True
    return all_finite(tensor)  # but float64 may


def kept_magnitude(source: Tensor, base: Tensor, keep: Mask, whole: float) -> float:
    """Σ m|θ - θ₀| of the entries that are kept, each rounded to a grain; see ``reference.rounder``.

    Args:
        source, base: θ and θ₀.
        keep: m.
        whole: their ``magnitude``, which says how fine the grain is.
    """
    blend = _blend([source], base, keep=keep)
    return float(_sums(blend, "k", 1, reference.rounder(whole))[0])


def scaled_back(whole: float, kept: float) -> float:
    """What scales a sum of magnitudes back: 1 where nothing is left to scale, NaN of what is not finite."""
    if kept > 0:
        return whole / kept
    return 1.0 if math.isfinite(whole) else math.nan


def magnitudes_by_chance(source: Tensor, base: Tensor, key: tuple[int, int], whole: float) -> Floats:
    """What ``kept_by_chance`` needs to know of a source and the key of a ``BernoulliMask``.

    Returns:
        float64, 65,537 of them: Σ|θ - θ₀| of the entries whose random number is below 0, 1, … 65,536; of few
        entries shape (2, entries): their random numbers, ascending, and the sum so far.
    """
    n = source.numel()
    passes = _compiled(_blend([source], base), "size") if n > BLOCK else None
    if passes is None:
        return reference.magnitudes_by_chance(source, base, key, whole)
    from kingyo.kernels import fused

    words, rounder = np.array(key, dtype=np.uint32), reference.rounder(whole)

    def add(span: Span) -> Floats:
        found, scratch = np.zeros(N_CHANCES), np.empty(_CHUNK, dtype=np.float32)
        fused.by_chance(*arguments(passes.over(span)), words, rounder, scratch, found)
        return found

    bins = np.sum(by_spans(n, add), axis=0)  # exact, in any order
    return np.concatenate([np.zeros(1), bins]).cumsum()


def kept_by_chance(sums: Floats, keep: BernoulliMask) -> float:
    """``kept_magnitude`` of entries that are kept by chance, where ``magnitudes_by_chance`` are known."""
    if sums.ndim == 1:
        return float(sums[keep.threshold])
    n_kept = int(np.searchsorted(sums[0], keep.threshold))
    return float(sums[1, n_kept - 1]) if n_kept else 0.0


def energies(sources: Sequence[Tensor], base: Tensor, spread: Threshold | None) -> Floats:
    """Σ m(θᵢ - θ₀)² of each source, over the entries that vary most between the sources.

    Returns:
        float64, shape (n,).
    """
    return _sums(_blend(sources, base, spread=spread), "2", len(sources))


def largest(
    source: Tensor, base: Tensor, count: int, counts: Callable[[], Counts] | None = None
) -> Threshold:
    """The ``count`` entries of θ - θ₀ that are largest by magnitude; of equal ones the first.

    Args:
        source, base: θ and θ₀.
        count: from 0 to the number of entries.
        counts: where ``size_counts`` of the same are kept, if they are: they save one of two passes.
    """
    return _limit(_blend([source], base), "", count, counts)


def most_varied(
    sources: Sequence[Tensor], base: Tensor, count: int, counts: Callable[[], Counts] | None = None
) -> Threshold:
    """The ``count`` entries whose variance over θᵢ - θ₀ is largest; of equal ones the first."""
    return _limit(_blend(sources, base), "v", count, counts)


def size_order(source: Tensor, base: Tensor) -> Order:
    """The places of the entries of θ - θ₀, from the largest magnitude down; of equal ones the first is first.

    Returns:
        uint32, as many as there are entries; NaN is the largest.
    """
    blend = _blend([source], base)
    passes = _compiled(blend, "size")
    if passes is None:
        return reference.size_order(source, base)
    from kingyo.kernels import fused
    from kingyo.kernels.ordering import order

    keys = np.empty(blend.n_elements, dtype=np.float32)
    fused.sizes(*arguments(passes.over((0, blend.n_elements))), keys)
    return order(~keys.view(np.uint32))


def limit_of(source: Tensor, base: Tensor, order: Order, count: int) -> Threshold:
    """``largest``, where ``size_order`` is known; ``count`` is from 1 to the number of entries."""
    place = int(order[count - 1])
    least = abs(difference(source, base, place))
    return (
        Threshold(least=float("inf"), before=0)
        if math.isnan(least)
        else Threshold(least=least, before=place + 1)
    )


def size_counts(sources: Sequence[Tensor], base: Tensor) -> Counts:
    """How many entries have each size, by its upper bits, from the first to the last bin that is not empty.

    The size is the magnitude of one source's task vector, or the variance over those of several.

    Returns:
        int64: index of the first bin, then counts.
    """
    blend, what = _blend(sources, base), "v" if len(sources) > 1 else ""
    passes = _compiled(blend, _result(what))
    if passes is not None:
        return _cropped(_counts(passes, blend.n_elements))
    bins = reference.sizes(blend, what).view(np.uint32) >> np.uint32(SIZE_SHIFT)
    return _cropped(np.bincount(bins, minlength=1))


def row_ranks(source: Tensor, base: Tensor) -> Ranks:
    """The rank of each entry's magnitude within its row, from 0 for the smallest; of equal ones the first is
    lower. A vector is one row; further dimensions belong to the row.

    Returns:
        uint16, or int32 where rows are longer than 65,536; flat.
    """
    length = row_length(source.shape)
    passes = _compiled(_blend([source], base), "size")
    if passes is None:
        return reference.row_ranks(source, base, length)
    from kingyo.kernels import fused

    found = reference.empty_ranks(source.numel(), length)
    sorted_into = fused.ranks if found.dtype == np.uint16 else fused.long_ranks

    def sort(span: Span) -> None:
        scratch = np.empty(length, dtype=np.float32)
        sorted_into(*arguments(passes.over(span)), length, scratch, found)

    by_spans(source.numel(), sort, align=length)
    return found


def row_length(shape: Sequence[int]) -> int:
    """How many entries a row has: those of the first axis; a vector, or a single number, is one row."""
    return math.prod(shape[1:]) if len(shape) > 1 else math.prod(shape)


def _compiled(blend: WeightedSum, result: Literal["rows", "size", "variance"]) -> Passes | None:
    return compiled_passes(blend, result=result) if blend.n_elements else None


def _result(what: str) -> Literal["size", "variance"]:
    return "variance" if what == "v" else "size"


def _blend(
    tensors: Sequence[Tensor],
    base: Tensor | None,
    *,
    keep: Mask | None = None,
    spread: Threshold | None = None,
) -> WeightedSum:
    terms = tuple(Term(source=tensor, factor=1.0, keep=keep) for tensor in tensors)
    return WeightedSum(shape=tuple(tensors[0].shape), terms=terms, base=base, spread=spread)


def _sums(blend: WeightedSum, what: str, n_sums: int, rounder: float = 0.0) -> Floats:
    """Sums over a blend's rows; see ``reference.sums``."""
    passes = _compiled(blend, "rows")
    if passes is None:
        return np.zeros(n_sums) + reference.sums(blend, what, rounder)
    from kingyo.kernels import fused

    blocks = np.zeros((-(-blend.n_elements // BLOCK), n_sums))

    def add(span: Span) -> None:
        part = blocks[span[0] // BLOCK : -(-span[1] // BLOCK)]
        fused.sums(*arguments(passes.over(span)), _WHAT[what], rounder, part)

    by_spans(blend.n_elements, add)
    return np.cumsum(blocks, axis=0)[-1]  # which adds one by one


def _counts(passes: Passes, n: int) -> Counts:
    from kingyo.kernels import fused

    def count(span: Span) -> Counts:
        found, scratch = np.zeros(1 << (31 - SIZE_SHIFT), dtype=np.int64), np.empty(_CHUNK, dtype=np.float32)
        fused.histogram(*arguments(passes.over(span)), found, scratch)
        return found

    parts = by_spans(n, count)
    return np.sum(parts, axis=0) if parts else np.zeros(1, dtype=np.int64)


def _cropped(counts: Counts) -> Counts:
    used = np.flatnonzero(counts)
    first, last = (int(used[0]), int(used[-1])) if used.size else (0, 0)
    return np.concatenate([np.array([first]), counts[first : last + 1]])


def _limit(blend: WeightedSum, what: str, count: int, known: Callable[[], Counts] | None) -> Threshold:
    n = blend.n_elements
    if count >= n:
        return Threshold(least=0.0, before=n)
    if count <= 0:
        return Threshold(least=float("inf"), before=0)
    passes = _compiled(blend, _result(what))
    if passes is None:
        return reference.limit(blend, what, count)
    counts = _cropped(_counts(passes, n)) if known is None else known()
    above = np.cumsum(counts[:0:-1])  # from the largest bin down
    place = int(np.searchsorted(above, count))
    wanted = int(counts[0]) + counts.size - 2 - place
    left = count - (int(above[place - 1]) if place else 0)
    bits, places = _collected(passes, n, wanted, int(counts[counts.size - 1 - place]))
    return reference.limit_among(bits.view(np.float32), places, left)


def _collected(
    passes: Passes, n: int, wanted: int, n_wanted: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Bits and places of the sizes of one bin, in order."""
    from kingyo.kernels import fused

    def collect(span: Span) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        scratch = np.empty(_CHUNK, dtype=np.float32)
        most = min(n_wanted, span[1] - span[0])
        bits, places = np.empty(most, dtype=np.uint32), np.empty(most, dtype=np.int64)
        passed = arguments(passes.over(span))
        found: int = fused.collect(*passed, np.uint32(wanted), scratch, bits, places)
        return bits[:found], places[:found]

    parts = by_spans(n, collect)
    return np.concatenate([bits for bits, _ in parts]), np.concatenate([places for _, places in parts])
