"""ROUGE-L: the overlap of an answer with the right one, in words in order (Lin 2004).

Lin 2004, "ROUGE: A package for automatic evaluation of summaries" (ACL W04-1013).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from kingyo.errors import KingyoError
from kingyo.io.extras import EXTRAS, is_installed, library, require_extra
from kingyo.tasks.grader import register_grader
from kingyo.types import Item

_OTHERWISE = "Or write `rouge-l: characters`."
LIBRARIES = ("fugashi", "unidic-lite")
"""Distributions that find words in Japanese."""
_JAPANESE = re.compile(r"[぀-ヿ㐀-䶿一-鿿]")
_WORD = re.compile(r"\w+")


@register_grader("rouge-l")
@dataclass(frozen=True, kw_only=True)
class RougeL:
    """The F1 of the longest common subsequence of tokens, from 0 to 1.

    Case and punctuation do not count.

    Attributes:
        tokens: ``words``; ``characters``; or ``auto``, which is words, but characters for Japanese if the
            libraries fugashi and unidic-lite are not installed.
    """

    tokens: Literal["auto", "words", "characters"] = "auto"

    def __call__(self, answer: str, item: Item) -> float:
        """Compare the text with the item's answer."""
        by_word = self._by_word(answer + item.answer)
        given, right = _tokens(answer, by_word=by_word), _tokens(item.answer, by_word=by_word)
        return 2 * common_length(given, right) / max(1, len(given) + len(right))

    def check(self, item: Item) -> None:
        """Check that the item's answer has tokens, and that its words can be found."""
        if not _tokens(item.answer, by_word=self._by_word(item.answer)):
            raise KingyoError(
                f"answer of item {item.id}",
                expected="an answer with a word, for rouge-l",
                received=repr(item.answer),
                remedy="Correct the row, or use another grader.",
            )

    def _by_word(self, text: str) -> bool:
        if self.tokens == "auto":
            return has_japanese_words() or not _JAPANESE.search(_plain(text))
        return self.tokens == "words"


def has_japanese_words() -> bool:
    """Return whether the libraries that find words in Japanese are installed."""
    return is_installed(*EXTRAS["japanese"])


def common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence (Hyyrö 2004, bit-parallel)."""
    places: dict[str, int] = {}
    for i, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << i
    state = every = (1 << len(one)) - 1
    for token in other:
        matches = state & places.get(token, 0)
        state = (state + matches | state - matches) & every
    return len(one) - state.bit_count()


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _tokens(text: str, *, by_word: bool) -> list[str]:
    plain = _plain(text)
    if not by_word:
        return [character for word in _WORD.findall(plain) for character in word]
    if _JAPANESE.search(plain):
        return [word for each in _tagger()(plain) for word in _WORD.findall(each.surface)]
    return _WORD.findall(plain)


@cache
def _tagger() -> Any:
    require_extra("grader.rouge-l.tokens", "japanese", _OTHERWISE)
    return library("grader.rouge-l.tokens", "fugashi", _OTHERWISE).Tagger()
