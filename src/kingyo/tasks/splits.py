"""Split items into fit, validation and test, with near-duplicates in one split.

Near-duplicates have the same question in another spelling, a similar one, or the same image.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil, floor

from kingyo.core.io.units import counted
from kingyo.core.types import SPLITS, Item, Split
from kingyo.errors import KingyoError, suggest
from kingyo.tasks.spec import Sizes

N_CHARACTERS = 5
"""Length in characters of the n-grams of texts."""
N_RAREST = 10
"""Number of rare n-grams that two texts must share before all their n-grams are compared."""

ROUNDING = 1e-9
SHOWN = 120
"""Characters of a question that a note shows."""
Placed = tuple[Split, Item]
"""A split, and an item in it."""

_Question = tuple[str, tuple[str, ...]]
"""The bare text of an item, and the hashes of its images."""

_DASHES = str.maketrans(dict.fromkeys("\u2010\u2012\u2013\u2014\u2015\u2212", "-"))
_BLANK = re.compile("[\u034f\u1160\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Invisible characters that Unicode classifies as marks or letters: fillers and variation selectors."""
_OPERATORS = "*/\\%&#@_"
_SIGN = re.compile(r"-+|[\W_]")


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Counts of near-duplicates in the splits of a run.

    Attributes:
        groups: groups of two or more items of one task.
        items: items in these groups.
        apart: groups with items in more than one split.
        images: groups with images.
    """

    groups: int = 0
    items: int = 0
    apart: int = 0
    images: int = 0

    def __str__(self) -> str:
        """Return a one-line summary."""
        where = f"{self.apart:,} in more than one split" if self.apart else "each within one split"
        images = f"; {counted(self.images, 'group')} of the same image" if self.images else ""
        items = f"{counted(self.items, 'item')}{images}"
        return f"{counted(self.groups, 'group')} of near-duplicates ({items}), {where}"


def count_near(groups: Sequence[Sequence[Placed]]) -> NearDuplicates:
    """Count the groups of near-duplicates among placed items."""
    several = [group for group in groups if len(group) > 1]
    return NearDuplicates(
        groups=len(several),
        items=sum(map(len, several)),
        apart=sum(map(_is_apart, several)),
        images=sum(has_media(item for _, item in group) for group in several),
    )


def note_apart(groups: Sequence[Sequence[Placed]], scope: str, remedy: str) -> Iterator[str]:
    """Yield a warning about the groups with items in more than one split, if there are any."""
    apart = [group for group in groups if _is_apart(group)]
    if apart:
        first, *others = apart[0]
        example = [first, next(each for each in others if each[0] != first[0])]
        of_images = " or shared images" if has_media(item for group in apart for _, item in group) else ""
        yield (
            f"{counted(len(apart), 'group')} of near-duplicates{of_images}{scope} "
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
    """Return whether any item has an image."""
    return any(item.media for item in items)


def _is_apart(group: Sequence[Placed]) -> bool:
    return len({split for split, _ in group}) > 1


def _describe(split: Split, item: Item) -> str:
    return f"{in_short(item)} ({split}{f' of {item.task}' if item.task else ''})"


def in_short(item: Item) -> str:
    """Return the question of an item for a message."""
    text = item.in_a_line()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def near_groups(
    items: Sequence[Item], similar: float | None = None, *, share_images: bool = False
) -> list[list[Item]]:
    """Return the items in groups of near-duplicates; most groups have one item.

    Args:
        items: distinct items. Those with the same ``group`` are in one group.
        similar: Jaccard similarity of n-grams at which texts are near-duplicates; None: only equal ones.
            A chain of similar texts is one group. Texts with different images are never joined.
        share_images: allow the same image in several groups; otherwise items that share an image, directly
            or through other items, form one group.
    """
    sets = _Sets(len(items))
    first_of_question: dict[_Question, int] = {}
    first_of_image: dict[str, int] = {}
    first_of_label: dict[str, int] = {}
    for i, item in enumerate(items):
        for label in item.group.splitlines():
            sets.join(i, first_of_label.setdefault(label, i))
        sets.join(i, first_of_question.setdefault((_text_key(item), _hashes(item)), i))
        for each in () if share_images else _hashes(item):
            sets.join(i, first_of_image.setdefault(each, i))
    if similar is not None:
        places = [*first_of_question.values()]
        for i, j in _similar_pairs([*first_of_question], similar):
            sets.join(places[i], places[j])
    groups: dict[int, list[Item]] = defaultdict(list)
    for i, item in enumerate(items):
        groups[sets.root(i)].append(item)
    return list(groups.values())


def group_labels(groups: Sequence[Sequence[Item]]) -> dict[str, str]:
    """Return the id of each item that belongs together with others -> its ``Item.group``.

    Items belong to the group of each image that others have, too, even if they may be in different splits
    (``share_images``); an image that all items show does not count.
    """
    images = _shared_images([item for group in groups for item in group])
    labels: dict[str, str] = {}
    for group in groups:
        given = {item.group for item in group if item.group}
        for item in group:
            own = [*item.group.splitlines(), *images[item.id]] if item.media else []
            if len(group) > 1 and (len(given) == 1 or not own):
                own = given if len(given) == 1 else {f"{_noun(group[0])} {group[0].id}"}
            if own:
                labels[item.id] = "\n".join(own)
    return labels


def _shared_images(items: Sequence[Item]) -> Mapping[str, Sequence[str]]:
    """Return the id of each item -> labels of its images that other items have; the same items, one label."""
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


def _noun(item: Item) -> str:
    return "image" if item.media else "question" if item.seed is None else "prompt"


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


def _text_key(item: Item) -> str:
    return "\0".join([bare(item.prompt), *sorted(map(bare, item.choices))])


def _hashes(item: Item) -> tuple[str, ...]:
    return tuple(sorted(each.sha256 for each in item.media))


def bare(text: str) -> str:
    """Return a text without case, white space, format characters and punctuation.

    Signs that may change the meaning stay: symbols such as ``+`` and ``<``, operators, a minus, brackets
    around anything but a word, and punctuation between digits.

    >>> bare("What is 1 + 1.5?") == bare("what is １＋１.５")
    True
    >>> bare("3-1"), bare("31")
    ('3-1', '31')
    """
    visible = "".join(each for each in _BLANK.sub("", text) if unicodedata.category(each) not in ("Cc", "Cf"))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    plain = "".join(folded.split()).translate(_DASHES)
    return _SIGN.sub(_if_it_matters, plain).rstrip("=_-") or plain


def _if_it_matters(match: re.Match[str]) -> str:
    sign, text = match.group(), match.string
    before, after = text[max(0, match.start() - 2) : match.start()], text[match.end() : match.end() + 2]
    if sign[0] in "-([{":
        matters = not (len(after) == 2 and after.isalpha())  # a single letter may be a variable
    elif sign in ")]}":
        matters = not (len(before) == 2 and before.isalpha())
    elif sign == ".":
        matters = after[:1].isdecimal() and not before[-1:].isalpha()
    elif sign == "`" or (unicodedata.category(sign).startswith("P") and sign not in _OPERATORS):
        is_comparison = sign in "!:" and after[:1] == "="
        matters = is_comparison or (before[-1:].isdecimal() and after[:1].isdecimal())
    else:
        matters = True
    return sign if matters else ""


def _similar_pairs(questions: Sequence[_Question], similar: float) -> Iterator[tuple[int, int]]:
    """Yield all pairs of questions with similar texts and the same images.

    Two sets with Jaccard similarity t, the larger with n elements, share at least a = t n elements. In each
    set the k rarest shared elements are among its n - a + k rarest, since the other a - k are more frequent.
    Source, with k = 1: Chaudhuri et al., A primitive operator for similarity joins in data cleaning, ICDE
    2006.
    """
    grams = _ngrams([text for text, _ in questions])
    holders: dict[int, list[int]] = defaultdict(list)
    for i in sorted(range(len(grams)), key=lambda i: len(grams[i])):
        common = ceil(similar * len(grams[i]) - ROUNDING)
        rarest = sorted(grams[i])[: len(grams[i]) - common + N_RAREST]
        hits = Counter(chain.from_iterable(holders[gram] for gram in rarest))
        for j, n in hits.items():
            may_be_similar = n >= min(N_RAREST, common) and questions[i][1] == questions[j][1]
            if may_be_similar and _jaccard(grams[i], grams[j]) >= similar - ROUNDING:
                yield i, j
        for gram in rarest:
            holders[gram].append(i)


def _ngrams(texts: Sequence[str]) -> list[set[int]]:
    """Return numbers of each text's n-grams, rare ones first; without those of all texts (the template)."""
    grams = [
        {text[i : i + N_CHARACTERS] for i in range(max(1, len(text) - N_CHARACTERS + 1))} for text in texts
    ]
    counts = Counter(chain.from_iterable(grams))
    number = {gram: i for i, gram in enumerate(sorted(counts, key=counts.__getitem__))}
    return [{number[gram] for gram in each if counts[gram] < len(texts)} for each in grams]


def _jaccard(one: set[int], other: set[int]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)


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
