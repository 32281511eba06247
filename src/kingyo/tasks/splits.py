"""Split items into fit, validation and test; the result depends only on the items, the sizes and a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import floor

from kingyo.core.io.units import counted
from kingyo.core.types import SPLITS, Item, Split
from kingyo.errors import KingyoError, suggest
from kingyo.tasks.near_duplicates import has_media, in_short, near_groups, question
from kingyo.tasks.spec import Sizes


def make_splits(
    items: Sequence[Item],
    sizes: Sizes | None = None,
    seed: int | None = None,
    *,
    groups: Sequence[Sequence[Item]] | None = None,
) -> Mapping[Split, tuple[Item, ...]]:
    """Split the items of a task.

    Items are ordered by a hash of seed and question, then cut. The result is the same on every machine and
    for any order of the file, and a new row moves only items at the two borders. The first items of a split
    are a random sample of it. A group of near-duplicates goes into the first split with room for all of it.

    Args:
        items: the items, without duplicates.
        sizes: counts or shares (default 50 / 25 / 25%), or the column with the split.
        seed: replaces the seed in ``sizes``.
        groups: the result of ``near_groups``, if known.
    """
    sizes = sizes or Sizes()
    if sizes.column is not None:
        return _splits_by_column(items, sizes.column)
    salt = sizes.seed if seed is None else seed
    if groups is None:
        groups = near_groups(items, sizes.similar, share_images=sizes.share_images)
    splits = _split(groups, sizes, salt)
    return {split: tuple(sorted(own, key=lambda item: _rank(item, salt))) for split, own in splits.items()}


def _split(groups: Sequence[Sequence[Item]], sizes: Sizes, salt: int) -> Mapping[Split, list[Item]]:
    # A group takes the rank of one fixed member: its best rank would favour fit.
    members = [sorted(group, key=question) for group in groups]
    by_rank = sorted(members, key=lambda group: _rank(group[0], salt))
    counts = _counts(sizes, sum(map(len, groups)))
    for order in (by_rank, sorted(by_rank, key=len, reverse=True)):
        splits = _fill(order, sizes, counts)
        lacks = (split for split in SPLITS if _is_count(sizes, split) and len(splits[split]) < counts[split])
        if all(splits.values()) and not any(lacks):
            return splits
    largest = max(groups, key=len)
    if len(groups) < len(SPLITS):
        raise _too_alike(groups, largest, sizes)
    raise KingyoError(
        "splits",
        "sizes that keep each group of near-duplicates in one split: the largest has "
        f"{counted(len(largest), 'item')}" + (" joined by shared images" if has_media(largest) else ""),
        f"{_sum(sizes)} of {counted(sum(map(len, groups)), 'item')}",
        "Use shares (0.5) in place of counts, change the sizes (or splits.similar, or set "
        "splits.share_images: true), or add rows with other questions.",
    )


def _too_alike(groups: Sequence[object], largest: Sequence[Item], sizes: Sizes) -> KingyoError:
    example = " and ".join(map(in_short, largest[:2]))
    if has_media(largest) and not sizes.share_images:
        remedy = "Set splits.share_images: true if several splits may have the same image"
    elif sizes.similar is not None:
        remedy = "Raise splits.similar, or delete it"
    else:
        remedy = "Name the split of each row in a column (splits: {column: NAME}) if their differences matter"
    expected = f"{len(SPLITS)} groups of items or more, because near-duplicates stay in one split"
    received = (
        f"{counted(len(groups), 'group')}; the largest has {counted(len(largest), 'item')}"
        f"{' joined by shared images' if has_media(largest) else ''}, such as {example}"
    )
    return KingyoError("splits", expected, received, f"{remedy}, or add rows with other questions.")


def _sum(sizes: Sizes) -> str:
    return " + ".join(f"{split} {getattr(sizes, split)}" for split in SPLITS)


def _fill(
    groups: Sequence[Sequence[Item]], sizes: Sizes, counts: Mapping[Split, int]
) -> dict[Split, list[Item]]:
    """Put each group into the first split with room for all of it.

    A group that fits into no split goes to the split with the most room: all of it if the split's size is a
    share, and only as many items as the split lacks if it is a count.
    """
    room: dict[Split, int] = dict(counts)
    splits: dict[Split, list[Item]] = {split: [] for split in SPLITS}
    unplaced: list[Sequence[Item]] = []
    for group in groups:
        for split in SPLITS:
            if len(group) <= room[split]:
                splits[split] += group
                room[split] -= len(group)
                break
        else:
            unplaced.append(group)
    for group in unplaced:
        place: Split = max(SPLITS, key=lambda split: room[split])
        if room[place] > 0:
            taken = group[: room[place]] if _is_count(sizes, place) else group
            splits[place] += taken
            room[place] -= len(taken)
    return splits


def _is_count(sizes: Sizes, split: Split) -> bool:
    return isinstance(getattr(sizes, split), int)


def _splits_by_column(items: Sequence[Item], column: str) -> Mapping[Split, tuple[Item, ...]]:
    splits: dict[Split, tuple[Item, ...]] = {
        split: tuple(item for item in items if item.fields.get(column) == split) for split in SPLITS
    }
    invalid = next((item for item in items if item.fields.get(column) not in SPLITS), None)
    if invalid is not None:
        value = invalid.fields.get(column)
        received = (
            f"{'no such column' if value is None else repr(value)} in the row whose prompt begins "
            f"{invalid.prompt[:40]!r}"
        )
        remedy = suggest(column, invalid.fields) if value is None else "Correct that row, or delete it."
        raise KingyoError(f"splits.column: {column}", f"{', '.join(SPLITS)} in every row", received, remedy)
    for split, own in splits.items():
        if not own:
            expected = f"at least one row whose {column} is {split}"
            remedy = "Add rows, or leave column out and give sizes."
            raise KingyoError(f"splits.{split}", expected, "none", remedy)
    return splits


def _rank(item: Item, seed: int) -> str:
    key = f"{seed}\0{question(item)}"
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _counts(sizes: Sizes, total: int) -> dict[Split, int]:
    """Return the number of items per split; rounded borders make shares that add up to 1 use every item."""
    counts: dict[Split, int] = {}
    share = 0.0
    for split in SPLITS:
        size: int | float = getattr(sizes, split)
        if isinstance(size, int):
            counts[split] = size
        else:
            counts[split] = _border(share + size, total) - _border(share, total)
            share += size
        if counts[split] == 0:
            expected = "at least one item"
            remedy = "Add rows, or increase the size."
            raise KingyoError(f"splits.{split}", expected, f"{size} of {counted(total, 'item')}", remedy)
    needed = sum(counts.values())
    if needed > total or share > 1 + 1e-9:
        expected = f"sizes that add up to at most {counted(total, 'different item')}"
        remedy = "Add rows, or set all of fit, validation and test, to fewer items."
        raise KingyoError("splits", expected, f"{_sum(sizes)} = {needed}", remedy)
    return counts


def _border(share: float, total: int) -> int:
    return floor(share * total + 0.5 + 1e-9)
