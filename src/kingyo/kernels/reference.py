"""The measures of ``measures``, in torch and numpy: what the compiled ones must equal, bit for bit.

Every sum has a fixed order (``blocks.block_sums``) and is in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor
from kingyo.kernels.blend import Term, WeightedSum, variance
from kingyo.kernels.blocks import BLOCK, Span, block_sums, rows, spans
from kingyo.kernels.keep import Threshold
from kingyo.kernels.noise import N_CHANCES, uniform

Floats = NDArray[np.float64]
Ranks = NDArray[np.uint16] | NDArray[np.int32]
Order = NDArray[np.uint32]


def sums(blend: WeightedSum, what: str, rounder: float = 0.0) -> Floats:
    """Sums over a blend's rows: products of all pairs (``g``), squares (``2``) or magnitudes (``a``).

    ``k`` is magnitudes, each rounded by a ``rounder``.
    """
    total = np.zeros(1)
    for span in spans(blend.n_elements):
        total = total + sums_of_block(blend, span, what, rounder)
    return total


def sums_of_block(blend: WeightedSum, span: Span, what: str, rounder: float = 0.0) -> Floats:
    """The same of one block; the sums of blocks are added in order."""
    wide = blend.rows(span).double().numpy()
    if what == "g":
        first, second = np.triu_indices(len(wide))
        return block_sums(wide[first] * wide[second])
    if what == "2":
        return block_sums(wide * wide)
    sizes = np.abs(wide)
    return block_sums((sizes + rounder) - rounder if what == "k" else sizes)


def rounder(whole: float) -> float:
    """What rounds a magnitude to a grain when it is added in float64 and taken away again.

    A grain is a power of two, at least ``whole`` / 2^51: a sum of a part of the magnitudes whose sum is
    ``whole`` is then exact, in any order. 1.5 · 2^52 grains are a float64 that has no room for less than one.
    """
    if not math.isfinite(whole):
        return 0.0
    _, exponent = math.frexp(whole)  # whole < 2^exponent
    return 1.5 * 2.0 ** (exponent + 1)


def magnitudes_by_chance(source: Tensor, base: Tensor, key: tuple[int, int], whole: float) -> Floats:
    """See ``measures``."""
    blend = WeightedSum(shape=tuple(source.shape), terms=(Term(source=source, factor=1.0),), base=base)
    bins, rounds = np.zeros(N_CHANCES + 1), rounder(whole)
    for span in spans(blend.n_elements):
        sizes = (np.abs(blend.rows(span)[0].double().numpy()) + rounds) - rounds
        chances = (uniform(key, *span).numpy() * N_CHANCES).astype(np.intp)
        if blend.n_elements <= BLOCK:
            order = np.argsort(chances)
            return np.stack([chances[order].astype(np.float64), np.cumsum(sizes[order])])
        bins[1:] += np.bincount(chances, weights=sizes, minlength=N_CHANCES)
    return bins.cumsum()


def sizes(blend: WeightedSum, what: str) -> NDArray[np.float32]:
    """Magnitudes of a blend's one row, or the variance over its rows (``v``), of all entries."""
    parts = [_sizes(blend.rows(span), what).numpy() for span in spans(blend.n_elements)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)


def _sizes(deltas: Tensor, what: str) -> Tensor:
    return variance(deltas) if what == "v" else deltas[0].abs_()


def limit(blend: WeightedSum, what: str, count: int) -> Threshold:
    """The ``count`` largest entries, from 1 to one less than all."""
    numbers = sizes(blend, what)
    return limit_among(numbers, np.arange(numbers.size), count)


def limit_among(numbers: NDArray[np.float32], places: NDArray[np.int64], count: int) -> Threshold:
    """The limit of the ``count`` largest of some numbers, of which the places ascend; NaN is the largest."""
    upper = np.partition(numbers, numbers.size - count)[numbers.size - count :]
    least = upper[0]
    if np.isnan(least):
        return Threshold(least=float("inf"), before=0)
    equals = places[numbers == least]
    above = int(np.count_nonzero(~(upper <= least)))
    return Threshold(least=float(least), before=int(equals[count - above - 1]) + 1)


def size_order(source: Tensor, base: Tensor) -> Order:
    """See ``measures``."""
    blend = WeightedSum(shape=tuple(source.shape), terms=(Term(source=source, factor=1.0),), base=base)
    bits = ~sizes(blend, "").view(np.uint32)
    return np.argsort(bits, kind="stable").astype(np.uint32)


def row_ranks(source: Tensor, base: Tensor, length: int) -> Ranks:
    """The rank of each entry's magnitude within its row of ``length``, equal ones in order."""
    ranks = empty_ranks(source.numel(), length)
    for (start, stop), deltas in _blocks_of_rows(source, base, length):
        order = np.argsort(deltas.numpy().reshape(-1, length), axis=1, kind="stable")
        table = ranks[start:stop].reshape(-1, length)
        np.put_along_axis(table, order, np.arange(length, dtype=ranks.dtype)[None, :], axis=1)
    return ranks


def empty_ranks(n: int, length: int) -> Ranks:
    """Memory for n ranks within rows of ``length``."""
    return np.empty(n, dtype=np.uint16) if length <= 1 << 16 else np.empty(n, dtype=np.int32)


def _blocks_of_rows(source: Tensor, base: Tensor, length: int) -> Iterator[tuple[Span, Tensor]]:
    vector, start = source.reshape(-1), base.reshape(-1)
    for span in spans(vector.numel(), max(1, (1 << 18) // max(1, length)) * max(1, length)):
        yield span, rows([vector], span)[0].sub_(start[span[0] : span[1]]).abs_()
