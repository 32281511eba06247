"""Near-duplicates: items with the same question in another spelling, a similar one, or the same image."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil

from kingyo.io.units import counted
from kingyo.types import Item, Split

N_CHARACTERS = 5
"""Length in characters of the n-grams of texts."""
N_RAREST = 10
"""Number of rare n-grams that two texts must share before all their n-grams are compared."""

ROUNDING = 1e-9
SHOWN = 60
"""Characters of a prompt that a note shows."""
Placed = tuple[Split, Item]
"""A split, and an item in it."""

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


def has_media(items: Iterable[Item]) -> bool:
    """Return whether any item has an image."""
    return any(item.media for item in items)


def _is_apart(group: Sequence[Placed]) -> bool:
    return len({split for split, _ in group}) > 1


def _describe(split: Split, item: Item) -> str:
    prompt = item.prompt if len(item.prompt) <= SHOWN else f"{item.prompt[:SHOWN]}…"
    images = [f"image {each.sha256[:8]}…" if each.path is None else each.path.name for each in item.media]
    question = " ".join([*([repr(prompt)] if prompt or not images else []), *images])
    return f"{question} ({split}{f' of {item.task}' if item.task else ''})"


def near_groups(
    items: Sequence[Item], similar: float | None = None, *, share_images: bool = False
) -> list[list[Item]]:
    """Return the items in groups of near-duplicates; most groups have one item.

    Args:
        items: distinct items.
        similar: Jaccard similarity of n-grams at which texts are near-duplicates; None: only equal ones.
        share_images: allow the same image in several groups; otherwise items that share an image, directly
            or through other items, form one group.
    """
    groups = _groups_of_text(items, similar)
    return groups if share_images else _joined_by_images(groups)


def _groups_of_text(items: Sequence[Item], similar: float | None) -> list[list[Item]]:
    """Return groups of items with the same or a similar text and the same images."""
    groups: dict[tuple[str, tuple[str, ...]], list[Item]] = {}
    for item in items:
        groups.setdefault((_text_key(item), _hashes(item)), []).append(item)
    if similar is None:
        return list(groups.values())
    joined: dict[int, list[Item]] = defaultdict(list)
    for root, group in zip(_components([*groups], similar), groups.values(), strict=True):
        joined[root] += group
    return list(joined.values())


def _joined_by_images(groups: Sequence[list[Item]]) -> list[list[Item]]:
    """Join the groups that share an image."""
    sets, first = _Sets(len(groups)), dict[str, int]()
    for place, group in enumerate(groups):
        for each in {hash_ for item in group for hash_ in _hashes(item)}:
            sets.join(place, first.setdefault(each, place))
    joined: dict[int, list[Item]] = defaultdict(list)
    for place, group in enumerate(groups):
        joined[sets.root(place)] += group
    return list(joined.values())


class _Sets:
    """Disjoint sets of the numbers below n; a set's root is one of its numbers."""

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


_ROUNDS = 4
"""Passes over the signs of a text: removing one changes the neighbours of the next."""


def bare(text: str) -> str:
    """Return a text without case, white space, format characters and punctuation.

    Signs that may change the meaning stay: symbols such as ``+`` and ``<``, operators, a minus, brackets
    around anything but a word, and punctuation between digits.

    >>> bare("What is 1 + 1.5?") == bare("what is １＋１.５")
    True
    >>> bare("3-1"), bare("31")
    ('3-1', '31')
    """
    visible = "".join(each for each in _BLANK.sub("", text) if _is_visible(each))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
    plain = "".join(folded.split()).translate(_DASHES)
    rest = plain
    for _ in range(_ROUNDS):
        rest = _SIGN.sub(_if_it_matters, rest).rstrip("=_-")
    return rest or plain


def _is_visible(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf")


def _if_it_matters(match: re.Match[str]) -> str:
    sign, text = match.group(), match.string
    before, after = text[max(0, match.start() - 2) : match.start()], text[match.end() : match.end() + 2]
    if sign[0] in "-([{":
        matters = not _is_word(after)
    elif sign in ")]}":
        matters = not _is_word(before)
    elif sign == ".":
        matters = after[:1].isdecimal() and not before[-1:].isalpha()
    elif sign == "`" or (unicodedata.category(sign).startswith("P") and sign not in _OPERATORS):
        is_comparison = sign in "!:" and after[:1] == "="
        matters = is_comparison or (before[-1:].isdecimal() and after[:1].isdecimal())
    else:
        matters = True
    return sign if matters else ""


def _is_word(pair: str) -> bool:
    """Return whether two characters are letters of one word; a single letter may be a variable."""
    return len(pair) == 2 and pair.isalpha() and (pair[0] < "\u0250") == (pair[1] < "\u0250")


def _components(keys: Sequence[tuple[str, tuple[str, ...]]], similar: float) -> list[int]:
    """Return a group number for each (text, hashes of media); a chain of similar texts is one group.

    Texts with different media are never joined.
    """
    sets = _Sets(len(keys))
    places: dict[str, dict[tuple[str, ...], int]] = {}
    for place, (text, hashes) in enumerate(keys):
        places.setdefault(text, {})[hashes] = place
    own, texts = [*places.values()], _texts([*places])
    for i, j in _candidates(texts, similar):
        pairs = [(own[i][hashes], own[j][hashes]) for hashes in own[i].keys() & own[j].keys()]
        is_new = any(sets.root(a) != sets.root(b) for a, b in pairs)
        if is_new and texts[i].is_similar(texts[j], similar):
            for a, b in pairs:
                sets.join(a, b)
    return [sets.root(i) for i in range(len(keys))]


@dataclass(frozen=True, kw_only=True)
class _Text:
    """The n-grams of a text.

    Attributes:
        size: number of n-grams.
        shared: numbers of the n-grams that other texts have too; rarer n-grams have smaller numbers.
    """

    size: int
    shared: frozenset[int]

    def is_similar(self, other: _Text, similar: float) -> bool:
        common = len(self.shared & other.shared)
        return common >= similar * (self.size + other.size - common) - ROUNDING


def _texts(keys: Sequence[str]) -> list[_Text]:
    """Return the n-grams of each key, without those that all keys share (they come from the template)."""
    grams = [{key[i : i + N_CHARACTERS] for i in range(max(1, len(key) - N_CHARACTERS + 1))} for key in keys]
    counts = Counter(chain.from_iterable(grams))
    of_all = {gram for gram, n in counts.items() if n == len(keys)}
    rarest = sorted((gram for gram, n in counts.items() if 1 < n < len(keys)), key=counts.__getitem__)
    number = {gram: i for i, gram in enumerate(rarest)}
    return [
        _Text(size=len(each) - len(of_all), shared=frozenset(map(number.__getitem__, each & number.keys())))
        for each in grams
    ]


def _candidates(texts: Sequence[_Text], similar: float) -> Iterator[tuple[int, int]]:
    """Yield pairs of texts that may be similar; every similar pair is among them.

    Two sets with Jaccard similarity t, the larger with n elements, share at least a = t n elements. In each
    set the k rarest shared elements are among its n - a + k rarest, since the other a - k are more frequent.
    Source, with k = 1: Chaudhuri et al., A primitive operator for similarity joins in data cleaning, ICDE
    2006.
    """
    holders: dict[int, list[int]] = defaultdict(list)
    for i in sorted(range(len(texts)), key=lambda i: texts[i].size):
        common = ceil(similar * texts[i].size - ROUNDING)
        prefix = sorted(texts[i].shared)[: max(0, len(texts[i].shared) - common + N_RAREST)]
        hits = Counter(chain.from_iterable(holders[gram] for gram in prefix))
        for j, n in hits.items():
            if n >= min(N_RAREST, common) and texts[j].size >= common:
                yield i, j
        for gram in prefix:
            holders[gram].append(i)
