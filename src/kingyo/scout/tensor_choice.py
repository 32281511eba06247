"""Choose the tensors to measure within a limit of bytes, spread over all blocks and kinds of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

_MOST_AT_ONCE = 4
"""A tensor that takes more than this part of the limit is chosen last."""


def choose_tensors(
    groups: Mapping[str, Sequence[str]], sizes: Mapping[str, int], limit: int
) -> dict[str, str]:
    """Return the chosen tensors, each with its group, in the order of the groups.

    All tensors are chosen if they fit. Otherwise each group first gets its smallest tensor, then the groups
    get one more tensor in turn; the turn starts with another tensor in each group, so that with few tensors
    the kinds still alternate.

    Args:
        groups: group -> tensors, such as the blocks of a model from input to output.
        sizes: tensor -> bytes of all models. Tensors without a size are not chosen.
        limit: most bytes.
    """
    known = {group: [name for name in names if name in sizes] for group, names in groups.items()}
    of = {name: group for group, names in known.items() for name in names}
    if sum(sizes[name] for name in of) <= limit:
        return of
    chosen, left = set[str](), limit
    for name in _in_turn(known, sizes, limit):
        if name not in chosen and sizes[name] <= left:
            chosen.add(name)
            left -= sizes[name]
    return {name: group for name, group in of.items() if name in chosen}


def _in_turn(groups: Mapping[str, Sequence[str]], sizes: Mapping[str, int], limit: int) -> Iterator[str]:
    """Yield the tensors in the order in which they are chosen; some come twice."""
    in_order = [names for names in groups.values() if names]
    spread = [in_order[i] for i in _spread(len(in_order))]
    yield from (min(names, key=lambda name: sizes[name]) for names in spread)
    for most in (limit // _MOST_AT_ONCE, limit):
        for turn in range(max(map(len, spread), default=0)):
            for place, names in enumerate(spread):
                name = names[(place + turn) % len(names)]
                if turn < len(names) and sizes[name] <= most:
                    yield name


def _spread(n: int) -> list[int]:
    """Return 0 … n − 1 in an order whose beginnings are evenly spread: by their bits, last first.

    Example:
        >>> _spread(5)
        [0, 4, 2, 1, 3]
    """
    bits = max(1, (n - 1).bit_length())
    return sorted(range(n), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))
