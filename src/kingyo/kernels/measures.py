"""What is measured of task vectors before they are blended: sums, products, and the largest entries.

A function here is the reference in torch and numpy. Every sum has a fixed order (``blocks.block_sums``) and
is in float64, so that a measure has the same bits wherever it is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kingyo.kernels.blend import variance
from kingyo.kernels.blocks import Span, block_sums, rows, spans
from kingyo.kernels.keep import Keep, Limit

Floats = NDArray[np.float64]


def gram(tensors: Sequence[Tensor], base: Tensor | None = None) -> Floats:
    """Inner products of the tensors, or of their differences from a base.

    Returns:
        float64, shape (n, n). A difference is rounded to float32, products are exact.
    """
    n = len(tensors)
    first, second = np.triu_indices(n)
    total = np.zeros(len(first))
    for _, deltas in _blocks(tensors, base):
        wide = deltas.double().numpy()
        total = total + block_sums(wide[first] * wide[second])
    products = np.zeros((n, n))
    products[first, second] = products[second, first] = total
    return products


def magnitude(source: Tensor, base: Tensor, keep: Keep | None = None) -> float:
    """Σ m|θ - θ₀|, of all entries or of those that are kept."""
    total = np.zeros(1)
    for span, deltas in _blocks([source], base):
        if keep is not None:
            deltas.mul_(keep.mask(deltas[0], span))
        total = total + block_sums(deltas.abs_().double().numpy())
    return float(total[0])


def energies(sources: Sequence[Tensor], base: Tensor, spread: Limit | None) -> Floats:
    """Σ m(θᵢ - θ₀)² of each source, over the entries that vary most between the sources.

    Returns:
        float64, shape (n,).
    """
    total = np.zeros(len(sources))
    for span, deltas in _blocks(sources, base):
        if spread is not None:
            deltas.mul_(spread.holds(variance(deltas), span[0]))
        wide = deltas.double().numpy()
        total = total + block_sums(wide * wide)
    return total


def largest(source: Tensor, base: Tensor, count: int) -> Limit:
    """The ``count`` entries of θ - θ₀ that are largest by magnitude; of equal ones the first.

    Args:
        count: from 0 to the number of entries.
    """
    return _limit(lambda: _gather([source], base, lambda deltas: deltas[0].abs_()), source.numel(), count)


def most_varied(sources: Sequence[Tensor], base: Tensor, count: int) -> Limit:
    """The ``count`` entries whose variance over θᵢ - θ₀ is largest; of equal ones the first."""
    return _limit(lambda: _gather(sources, base, variance), base.numel(), count)


def row_ranks(source: Tensor, base: Tensor) -> NDArray[np.int32]:
    """The rank of each entry's magnitude within its row, from 0 for the smallest; of equal ones the first is
    lower. A vector is one row; further dimensions belong to the row.

    Returns:
        int32, flat.
    """
    length = max(1, source[0].numel() if source.dim() > 1 else source.numel())
    per_block = max(1, (1 << 18) // length) * length
    ranks = np.empty(source.numel(), dtype=np.int32)
    vectors = [source.reshape(-1)], base.reshape(-1)
    for start, stop in spans(source.numel(), per_block):
        deltas = rows(vectors[0], (start, stop))[0].sub_(vectors[1][start:stop]).abs_()
        order = np.argsort(deltas.numpy().reshape(-1, length), axis=1, kind="stable")
        table = ranks[start:stop].reshape(-1, length)
        np.put_along_axis(table, order, np.arange(length, dtype=np.int32)[None, :], axis=1)
    return ranks


def _blocks(tensors: Sequence[Tensor], base: Tensor | None) -> Iterator[tuple[Span, Tensor]]:
    """Differences from the base (or the tensors themselves) in new float32 memory, one row each."""
    vectors = [tensor.reshape(-1) for tensor in tensors]
    start = None if base is None else base.reshape(-1)
    for span in spans(vectors[0].numel()):
        block = rows(vectors, span)
        yield span, block if start is None else block.sub_(start[span[0] : span[1]])


def _gather(
    tensors: Sequence[Tensor], base: Tensor, measure: Callable[[Tensor], Tensor]
) -> NDArray[np.float32]:
    parts = [measure(deltas).numpy() for _, deltas in _blocks(tensors, base)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)


def _limit(sizes: Callable[[], NDArray[np.float32]], n: int, count: int) -> Limit:
    """The value and the index that separate the ``count`` largest of n numbers ≥ 0 from the rest."""
    if count >= n:
        return Limit(least=0.0, before=n)
    if count <= 0:
        return Limit(least=float("inf"), before=0)
    numbers = sizes()
    upper = np.partition(numbers, n - count)[n - count :]
    least = upper[0]
    equals = np.flatnonzero(numbers == least)
    above = int(np.count_nonzero(upper > least))
    return Limit(least=float(least), before=int(equals[count - above - 1]) + 1)
