"""Split items into fit, validation and test, with near-duplicates in one split.

Near-duplicates have the same question in another spelling, or the same image.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor

from kingyo.core.io.units import counted
from kingyo.core.types import SPLITS, Item, Split
from kingyo.errors import KingyoError, suggest
from kingyo.tasks.spec import Sizes

SHOWN = 120
"""Characters of a question that a note shows."""
Placed = tuple[Split, Item]
"""A split, and an item in it."""

_DASHES = str.maketrans(dict.fromkeys("\u2010\u2012\u2013\u2014\u2015\u2212", "-"))
_BLANK = re.compile("[\u034f\u1160\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Invisible characters that Unicode classifies as marks or letters: fillers and variation selectors."""
_ENDS = ".。…?!:;,=_-"


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Numbers of groups of two or more items of one task, of their items, and of groups with some property.

    Attributes:
        apart: groups with items in more than one split.
        images: groups with images.
    """

    groups: int = 0
    items: int = 0
    apart: int = 0
    images: int = 0

    def __str__(self) -> str:
        where = f"{self.apart:,} in more than one split" if self.apart else "each within one split"
        images = f"; {counted(self.images, 'group')} of the same image" if self.images else ""
        items = f"{counted(self.items, 'item')}{images}"
        return f"{counted(self.groups, 'group')} of near-duplicates ({items}), {where}"


def count_near(groups: Sequence[Sequence[Placed]]) -> NearDuplicates:
    several = [group for group in groups if len(group) > 1]
    return NearDuplicates(
        groups=len(several),
        items=sum(map(len, several)),
        apart=sum(map(_is_apart, several)),
        images=sum(has_media(item for _, item in group) for group in several),
    )


def note_apart(groups: Sequence[Sequence[Placed]], remedy: str) -> Iterator[str]:
    """Yield a warning about the groups with items in more than one split, if there are any."""
    apart = [group for group in groups if _is_apart(group)]
    if apart:
        first, *others = apart[0]
        example = [first, next(each for each in others if each[0] != first[0])]
        of_images = " or shared images" if has_media(item for group in apart for _, item in group) else ""
        yield (
            f"{counted(len(apart), 'group')} of near-duplicates{of_images} "
            f"{'is' if len(apart) == 1 else 'are'} in more than one split, such as "
            f"{' and '.join(_describe(*each) for each in example)}: the search selects models on one and "
            f"tests them on the other. {remedy}"
        )


def question(item: Item) -> str:
    """Return the key that duplicates share.

    It joins the prompt (after NFKC, with white space collapsed), choices, hashes of the media, and seed.
    """
    normalised = " ".join(unicodedata.normalize("NFKC", item.prompt).split())
    seed = [] if item.seed is None else [f"seed {item.seed}"]
    return "\0".join([normalised, *item.choices, *(each.sha256 for each in item.media), *seed])


def has_media(items: Iterable[Item]) -> bool:
    return any(item.media for item in items)


def _is_apart(group: Sequence[Placed]) -> bool:
    return len({split for split, _ in group}) > 1


def _describe(split: Split, item: Item) -> str:
    return f"{in_short(item)} ({split})"


def in_short(item: Item) -> str:
    text = item.in_a_line()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def near_groups(items: Sequence[Item], *, share_images: bool = False) -> list[list[Item]]:
    """Return the items in groups of near-duplicates; most groups have one item.

    Args:
        items: distinct items. Those with the same ``group`` are in one group.
        share_images: allow the same image in several groups; otherwise items that share an image, directly
            or through other items, form one group.
    """
    sets = _Sets(len(items))
    firsts: dict[object, int] = {}
    for i, item in enumerate(items):
        text = "\0".join([bare(item.prompt), *sorted(map(bare, item.choices))])
        keys = [("question", text, _hashes(item))]
        keys += [("group", label) for label in item.group.splitlines()]
        keys += [] if share_images else [("image", image) for image in _hashes(item)]
        for key in keys:
            sets.join(i, firsts.setdefault(key, i))
    groups: dict[int, list[Item]] = defaultdict(list)
    for i, item in enumerate(items):
        groups[sets.root(i)].append(item)
    return list(groups.values())


def group_labels(groups: Sequence[Sequence[Item]]) -> dict[str, str]:
    """Return the id of each item that belongs together with others -> its ``Item.group``.

    Items also belong to the group of each image that others, but not all, have.
    """
    images = _shared_images([item for group in groups for item in group])
    labels: dict[str, str] = {}
    for group in groups:
        given = {item.group for item in group if item.group}
        for item in group:
            own = [*item.group.splitlines(), *images[item.id]] if item.media else []
            if len(group) > 1 and len(given) == 1:
                own = [*given]
            elif len(group) > 1 and not own:
                noun = "image" if item.media else "question" if item.seed is None else "prompt"
                own = [f"{noun} {group[0].id}"]
            if own:
                labels[item.id] = "\n".join(own)
    return labels


def _shared_images(items: Sequence[Item]) -> Mapping[str, Sequence[str]]:
    holders: dict[str, list[str]] = defaultdict(list)
    for item in items:
        for image in dict.fromkeys(_hashes(item)):
            holders[image].append(item.id)
    images = {tuple(ids): image for image, ids in holders.items() if 1 < len(ids) < len(items)}
    labels: dict[str, list[str]] = defaultdict(list)
    for ids, image in images.items():
        for each in ids:
            labels[each].append(f"image {image[:16]}")
    return labels


class _Sets:
    def __init__(self, n: int) -> None:
        self._parents = list(range(n))

    def root(self, i: int) -> int:
        while self._parents[i] != i:
            self._parents[i] = self._parents[self._parents[i]]
            i = self._parents[i]
        return i

    def join(self, i: int, j: int) -> None:
        self._parents[self.root(i)] = self.root(j)


def _hashes(item: Item) -> tuple[str, ...]:
    return tuple(sorted(each.sha256 for each in item.media))


def bare(text: str) -> str:
    """Return a text without case, white space, invisible characters, and punctuation at its end."""
    visible = "".join(each for each in _BLANK.sub("", text) if unicodedata.category(each) not in ("Cc", "Cf"))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    plain = "".join(folded.split()).translate(_DASHES)
    return plain.rstrip(_ENDS) or plain


def make_splits(
    items: Sequence[Item],
    sizes: Sizes | None = None,
    seed: int | None = None,
    *,
    groups: Sequence[Sequence[Item]] | None = None,
) -> Mapping[Split, tuple[Item, ...]]:
    """Split the items of a task, which are without duplicates; ``seed`` replaces that of the sizes.

    Items are ordered by a hash of seed and question, then cut. The result is the same on every machine and
    for any order of the file, and a new row moves only items at the two borders. The first items of a split
    are a random sample of it. A group of near-duplicates goes into the first split with room for all of it.
    """
    sizes = sizes or Sizes()
    if sizes.column is not None:
        return _splits_by_column(items, sizes.column)
    salt = sizes.seed if seed is None else seed
    if groups is None:
        groups = near_groups(items, share_images=sizes.share_images)
    splits = _split(groups, sizes, salt)
    return {split: tuple(sorted(own, key=lambda item: _rank(item, salt))) for split, own in splits.items()}


def _split(groups: Sequence[Sequence[Item]], sizes: Sizes, salt: int) -> Mapping[Split, list[Item]]:
    # A group takes the rank of one fixed member: its best rank would favour fit.
    members = [sorted(group, key=question) for group in groups]
    by_rank = sorted(members, key=lambda group: _rank(group[0], salt))
    counts = _counts(sizes, sum(map(len, groups)))
    for order in (by_rank, sorted(by_rank, key=len, reverse=True)):
        splits = _fill(order, sizes, counts)
        if all(len(splits[split]) >= (counts[split] if _is_count(sizes, split) else 1) for split in SPLITS):
            return splits
    largest = max(groups, key=len)
    is_joined = " joined by shared images" if has_media(largest) else ""
    raise KingyoError(
        "splits",
        f"{len(SPLITS)} groups of items or more that fit the sizes: near-duplicates stay in one split",
        f"{_sum(sizes)} of {counted(sum(map(len, groups)), 'item')} in {counted(len(groups), 'group')}; the "
        f"largest has {counted(len(largest), 'item')}{is_joined}: {' and '.join(map(in_short, largest[:2]))}",
        "Add rows with other questions, use shares (0.5) in place of counts, set splits.share_images: true, "
        "or name the split of each row in a column (splits: {column: NAME}).",
    )


def _sum(sizes: Sizes) -> str:
    return " + ".join(f"{split} {getattr(sizes, split)}" for split in SPLITS)


def _fill(
    groups: Sequence[Sequence[Item]], sizes: Sizes, counts: Mapping[Split, int]
) -> dict[Split, list[Item]]:
    """Put each group into the first split with room for all of it, or else into that with the most room.

    There it goes as a whole if the split's size is a share, and only as many items as it lacks if a count.
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
