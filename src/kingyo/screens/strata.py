"""Items of several kinds: how many of each are asked, and in which order, so that each has its part."""

from __future__ import annotations

from collections.abc import Sequence


def proportional_counts(sizes: Sequence[int], n: int) -> list[int]:
    """Divide n items in proportion to sizes, by the largest remainders; each has one at least, if n will do.

    Args:
        sizes: how many items of each kind there are.
        n: how many are wanted, at most their sum.
    """
    total = sum(sizes)
    least = 1 if n >= len(sizes) else 0
    exact = [n * size / total for size in sizes]
    found = [min(size, max(least, int(part))) for size, part in zip(sizes, exact, strict=True)]
    while sum(found) != n:
        step = 1 if sum(found) < n else -1
        open_ = [i for i, size in enumerate(sizes) if (found[i] < size if step > 0 else found[i] > least)]
        furthest = max(open_, key=lambda i: (step * (exact[i] - found[i]), -i))
        found[furthest] += step
    return found


def interleave(parts: Sequence[Sequence[int]]) -> list[int]:
    """Mix parts evenly, each in its own order: every stretch holds about its share of each."""
    placed = [
        ((position + 0.5) / len(part), kind, item)
        for kind, part in enumerate(parts)
        for position, item in enumerate(part)
    ]
    return [int(item) for _, _, item in sorted(placed, key=lambda each: each[:2])]
