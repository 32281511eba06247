"""Stratified sampling of items: proportional counts, and interleaved order."""

from __future__ import annotations

from collections.abc import Sequence


def proportional_counts(sizes: Sequence[int], n: int) -> list[int]:
    """Divide n items in proportion to sizes, by the largest remainders; each gets at least one if n suffices.

    Args:
        sizes: number of items of each stratum.
        n: number of items to divide, at most the sum of the sizes.
    """
    total = sum(sizes)
    least = 1 if n >= len(sizes) else 0
    exact = [n * size / total for size in sizes]
    counts = [min(size, max(least, int(part))) for size, part in zip(sizes, exact, strict=True)]
    while sum(counts) != n:
        step = 1 if sum(counts) < n else -1
        open_ = [i for i, size in enumerate(sizes) if (counts[i] < size if step > 0 else counts[i] > least)]
        furthest = max(open_, key=lambda i: (step * (exact[i] - counts[i]), -i))
        counts[furthest] += step
    return counts


def interleave(parts: Sequence[Sequence[int]]) -> list[int]:
    """Interleave parts evenly, each in its own order, so that every block has about its share of each."""
    placed = [
        ((position + 0.5) / len(part), kind, item)
        for kind, part in enumerate(parts)
        for position, item in enumerate(part)
    ]
    return [int(item) for _, _, item in sorted(placed, key=lambda entry: entry[:2])]
