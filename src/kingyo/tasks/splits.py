"""Fit, validation and test: made once, from nothing but the items and a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import floor

from kingyo.errors import KingyoError, suggest
from kingyo.sizes import counted
from kingyo.tasks.items import question
from kingyo.tasks.near import has_media, near_groups
from kingyo.tasks.spec import Sizes
from kingyo.types import SPLITS, Item, Split


def make_splits(
    items: Sequence[Item],
    sizes: Sizes | None = None,
    seed: int | None = None,
    *,
    groups: Sequence[Sequence[Item]] | None = None,
) -> Mapping[Split, tuple[Item, ...]]:
    """Split the items; those that are equal up to Unicode form and white space count once.

    Items are ordered by a hash of seed and prompt, then cut: the same on every machine, whatever the order of
    the file, and a row that is added moves no more than the items at the two borders. The first items of a
    split are a random sample of it. A group of near-duplicates goes into the first split with room for all.

    Args:
        items: of one task; of several that ask the same, the first is used.
        sizes: counts, or shares of all items, 50 / 25 / 25 % by default; or the column that says the split.
        seed: instead of the seed in ``sizes``.
        groups: of near-duplicates, from ``near_groups``, where they are known already.

    Raises:
        KingyoError: a split would be empty, there are too few items, groups of near-duplicates do not fit
            into the counts, or a row says no split.
    """
    sizes, items = sizes or Sizes(), _distinct(items)
    if sizes.column is not None:
        return _as_told(items, sizes.column)
    salt = sizes.seed if seed is None else seed
    if groups is None:
        groups = near_groups(items, sizes.similar, share_images=sizes.share_images)
    splits = _split(groups, sizes, salt)
    return {split: tuple(sorted(own, key=lambda item: _rank(item, salt))) for split, own in splits.items()}


def _split(groups: Sequence[Sequence[Item]], sizes: Sizes, salt: int) -> Mapping[Split, list[Item]]:
    # A group takes the rank of one member, whichever that is: the best rank of all would favour fit.
    members = [sorted(group, key=question) for group in groups]
    by_rank = sorted(members, key=lambda group: _rank(group[0], salt))
    counts = _counts(sizes, sum(map(len, groups)))
    for order in (by_rank, sorted(by_rank, key=len, reverse=True)):
        splits = _fill(order, sizes, counts)
        lacks = (split for split in SPLITS if _is_count(sizes, split) and len(splits[split]) < counts[split])
        if all(splits.values()) and not any(lacks):
            return splits
    largest = max(groups, key=len)
    is_of_images = has_media(largest) and not sizes.share_images
    shown = " joined by images that they share" if is_of_images else ""
    raise KingyoError(
        "splits",
        expected="sizes into which groups of near-duplicates fit, each in one split: the largest has "
        f"{counted(len(largest), 'item')}{shown}",
        received=" + ".join(f"{split} {getattr(sizes, split)}" for split in SPLITS)
        + f" of {counted(sum(map(len, groups)), 'item')}",
        remedy=_more_room(sizes, is_of_images=is_of_images),
    )


def _more_room(sizes: Sizes, *, is_of_images: bool) -> str:
    """What helps where groups do not fit, of what this user has not done yet."""
    images = ["let splits share images (splits.share_images: true)"] if is_of_images else []
    similar = [] if sizes.similar is None else ["raise similar, so that fewer items are near-duplicates"]
    counts = (
        ["give shares (0.5) in place of counts"] if any(_is_count(sizes, each) for each in SPLITS) else []
    )
    ways = [*images, *similar, *counts, "give other sizes", "add rows that ask something else"]
    return f"{', '.join(ways[:-1])}, or {ways[-1]}.".capitalize()


def _fill(
    groups: Sequence[Sequence[Item]], sizes: Sizes, counts: Mapping[Split, int]
) -> dict[Split, list[Item]]:
    """Put each group into the first split with room for all of it.

    Where no split has room for a whole group, a split with a share takes all of it, and a split with a count
    takes as many of its items as are missing.
    """
    room: dict[Split, int] = dict(counts)
    splits: dict[Split, list[Item]] = {split: [] for split in SPLITS}
    left: list[Sequence[Item]] = []
    for group in groups:
        for split in SPLITS:
            if len(group) <= room[split]:
                splits[split] += group
                room[split] -= len(group)
                break
        else:
            left.append(group)
    for group in left:
        place: Split = max(SPLITS, key=lambda split: room[split])
        if room[place] > 0:
            taken = group[: room[place]] if _is_count(sizes, place) else group
            splits[place] += taken
            room[place] -= len(taken)
    return splits


def _is_count(sizes: Sizes, split: Split) -> bool:
    return isinstance(getattr(sizes, split), int)


def _as_told(items: Sequence[Item], column: str) -> Mapping[Split, tuple[Item, ...]]:
    """The items of each split in the order of the file, by what a column of their rows says."""
    splits: dict[Split, tuple[Item, ...]] = {
        split: tuple(item for item in items if item.fields.get(column) == split) for split in SPLITS
    }
    odd = next((item for item in items if item.fields.get(column) not in SPLITS), None)
    if odd is not None:
        said = odd.fields.get(column)
        raise KingyoError(
            f"splits.column: {column}",
            expected=f"{', '.join(SPLITS)} in every row",
            received=f"{'no such column' if said is None else repr(said)} where the prompt begins "
            f"{odd.prompt[:40]!r}",
            remedy=suggest(column, odd.fields) if said is None else "Correct that row, or delete it.",
        )
    for split, found in splits.items():
        if not found:
            raise KingyoError(
                f"splits.{split}",
                expected=f"at least one row whose {column} is {split}",
                received="none",
                remedy="Add rows, or leave column out and give sizes.",
            )
    return splits


def _distinct(items: Sequence[Item]) -> list[Item]:
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(question(item), item)
    return list(first.values())


def _rank(item: Item, seed: int) -> str:
    key = f"{seed}\0{question(item)}"
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _counts(sizes: Sizes, total: int) -> dict[Split, int]:
    """Whole numbers of items; shares are cut at rounded borders: shares of 1 in sum use every item."""
    wanted: dict[Split, int | float] = {
        "fit": sizes.fit,
        "validation": sizes.validation,
        "test": sizes.test,
    }
    counts: dict[Split, int] = {}
    share = 0.0
    for split, size in wanted.items():
        if isinstance(size, int):
            counts[split] = size
        else:
            counts[split] = _border(share + size, total) - _border(share, total)
            share += size
    for split, count in counts.items():
        if count == 0:
            raise KingyoError(
                f"splits.{split}",
                expected="at least one item",
                received=f"{wanted[split]} of {counted(total, 'item')}",
                remedy="Give more rows, or a larger size.",
            )
    needed = sum(counts.values())
    if needed > total or share > 1 + 1e-9:
        raise KingyoError(
            "splits",
            expected=f"sizes of at most {counted(total, 'different item')} in sum",
            received=" + ".join(f"{split} {wanted[split]}" for split in SPLITS) + f" = {needed}",
            remedy="Give more rows, or set all three of fit, validation and test.",
        )
    return counts


def _border(share: float, total: int) -> int:
    return floor(share * total + 0.5 + 1e-9)
