"""Graders of texts: exact, contains, regex, choice and rouge-l; ``numbers`` and ``language`` are beside.

ROUGE-L: Lin 2004, "ROUGE: A package for automatic evaluation of summaries" (ACL W04-1013).
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from kingyo.core.io.extras import EXTRAS, is_installed, library, require_extra
from kingyo.core.types import Example, Item, ItemScore
from kingyo.errors import KingyoError
from kingyo.tasks.graders.grader import register_grader

_JAPANESE = re.compile(r"[぀-ヿ㐀-䶿一-鿿]")
_WORD = re.compile(r"\w+")


@register_grader("exact")
@dataclass(frozen=True, kw_only=True)
class Exact:
    """Right if the text equals the answer.

    Attributes:
        case: distinguish upper and lower case.
        strip: ignore white space around both texts.
    """

    case: bool = True
    strip: bool = True

    def __call__(self, answer: str, item: Item) -> float:
        return float(self._form(answer) == self._form(item.answer))

    def _form(self, text: str) -> str:
        text = text.strip() if self.strip else text
        return text if self.case else text.casefold()


@register_grader("contains")
@dataclass(frozen=True, kw_only=True)
class Contains:
    """Right if the text contains the answer.

    Attributes:
        case: distinguish upper and lower case.
    """

    case: bool = True

    def __call__(self, answer: str, item: Item) -> float:
        if self.case:
            return float(item.answer in answer)
        return float(item.answer.casefold() in answer.casefold())

    def check(self, item: Item) -> None:
        if not item.answer:
            remedy = "Set answer: to the column of the answers, or use another grader."
            raise KingyoError(f"item {item.id}", "an answer to search for", "an empty answer", remedy)


@register_grader("regex")
@dataclass(frozen=True, kw_only=True)
class Regex:
    """Right if the first group of the last match is the answer; a pattern without groups only has to match.

    Attributes:
        pattern: a Python regular expression.
    """

    pattern: str

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"a regular expression: {error}") from error

    def __call__(self, answer: str, item: Item) -> float:
        matches = list(re.finditer(self.pattern, answer))
        if not matches or not matches[-1].re.groups:
            return float(bool(matches))
        return float((matches[-1].group(1) or "").strip() == item.answer.strip())


@register_grader("choice")
@dataclass(frozen=True, kw_only=True)
class Choice:
    """Right if the most likely choice is the answer.

    Attributes:
        normalise: divide each log-likelihood by the choice's length in UTF-8 bytes, so that long choices do
            not lose to short ones (Gao 2021, blog.eleuther.ai/multiple-choice-normalization). Unlike tokens,
            bytes are the same for all models.
        separator: text between prompt and choice; usually one space in languages that use spaces.
    """

    normalise: bool = True
    separator: str = ""

    def __call__(self, answer: str, item: Item) -> float:
        return float(answer == item.answer)

    def check(self, item: Item) -> None:
        if item.answer not in item.choices:
            expected = f"one of the choices {list(item.choices)}"
            remedy = "Set answer: to the column of the right choice, or use a choice as the answer."
            raise KingyoError(f"answer of item {item.id}", expected, repr(item.answer), remedy)

    def scores(self, items: Sequence[Item], likelihoods: Sequence[float]) -> Sequence[ItemScore]:
        left, scores = iter(likelihoods), list[ItemScore]()
        for item in items:
            own = [next(left) / (len(each.encode()) if self.normalise else 1) for each in item.choices]
            answer = item.choices[own.index(max(own))]
            scores.append(ItemScore(item=item.id, score=self(answer, item), answer=answer))
        return tuple(scores)

    def example(self, item: Item, prompt: str) -> Example:
        others = dict.fromkeys(self.separator + each for each in item.choices if each != item.answer)
        return Example(
            item=item.id,
            prompt=prompt,
            images=item.media,
            answer=self.separator + item.answer,
            others=tuple(others),
            per_byte=self.normalise,
        )


@register_grader("rouge-l")
@dataclass(frozen=True, kw_only=True)
class RougeL:
    """The F1 of the longest common subsequence of tokens, from 0 to 1.

    Case and punctuation do not count.

    Attributes:
        tokens: ``words``; ``characters``; or ``auto``, which is words, but characters for Japanese if the
            libraries fugashi and unidic-lite are not installed.
    """

    libraries = ("fugashi", "unidic-lite")

    tokens: Literal["auto", "words", "characters"] = "auto"

    def __call__(self, answer: str, item: Item) -> float:
        by_word = self._by_word(answer + item.answer)
        given, right = _tokens(answer, by_word=by_word), _tokens(item.answer, by_word=by_word)
        return 2 * common_length(given, right) / max(1, len(given) + len(right))

    def check(self, item: Item) -> None:
        if not _tokens(item.answer, by_word=self._by_word(item.answer)):
            expected = "an answer with a word, for rouge-l"
            remedy = "Correct the row, or use another grader."
            raise KingyoError(f"answer of item {item.id}", expected, repr(item.answer), remedy)

    def _by_word(self, text: str) -> bool:
        if self.tokens == "auto":
            return is_installed(*EXTRAS["japanese"]) or not _JAPANESE.search(_plain(text))
        return self.tokens == "words"


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
    place, otherwise = "grader.rouge-l.tokens", "Or write `rouge-l: characters`."
    require_extra(place, "japanese", otherwise)
    return library(place, "fugashi", otherwise).Tagger()
