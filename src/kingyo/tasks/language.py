"""Is a text written in a given language? By script first; lingua (offline) tells apart those that share one.

Only letters count; digits, signs and emoji belong to no language. Latin or Greek words of one or two letters
in a text of another script are variables and units (x, cm) and do not count either. Then:

1. At least ``share`` (0.8) of the letters must be in the language's script; no letters, no language.
2. They must not be the same few again and again (ああああ, hahaha): see ``_is_varied``.
3. Japanese needs kana, a tenth of its letters at least: kanji alone cannot be told from Chinese. From eight
   letters on it needs two different ones. A ー is no kana of its own.
4. Languages that own their script (ja zh ko he el hy ka th bn pa gu ta te) are decided by that alone.
5. For others lingua judges each sentence: sentences with ``share`` of the letters must be the language's. It
   loads the language and the usual rivals in its script, no more: 25 to 30 MB of memory each.
"""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Protocol, cast

from pydantic import Field

from kingyo.errors import KingyoError, suggest
from kingyo.tasks.grader import register_grader
from kingyo.types import Item

_JAPANESE = ("HIRAGANA", "KATAKANA", "CJK", "IDEOGRAPHIC")
_KANA = _JAPANESE[:2]
# The first word of a letter's Unicode name is its script.
_OWN_SCRIPT = {
    "ja": _JAPANESE,
    "zh": ("CJK", "IDEOGRAPHIC", "BOPOMOFO"),
    "ko": ("HANGUL",),
    "he": ("HEBREW",),
    "el": ("GREEK",),
    "hy": ("ARMENIAN",),
    "ka": ("GEORGIAN",),
    "th": ("THAI",),
    "bn": ("BENGALI",),
    "pa": ("GURMUKHI",),
    "gu": ("GUJARATI",),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
}
_SHARED_SCRIPT = {
    "ARABIC": "ar fa ur",
    "CYRILLIC": "be bg kk mk mn ru sr uk",
    "DEVANAGARI": "hi mr",
    "LATIN": "af az bs ca cs cy da de en eo es et eu fi fr ga hr hu id is it la lg lt lv mi ms nb nl nn pl "
    "pt ro sk sl sn so sq st sv sw tl tn tr ts vi xh yo zu",
}
_SYMBOLS = ("LATIN", "GREEK")  # scripts that lend their letters to variables and units
_COUNTRIES = {"cn": "zh", "cz": "cs", "dk": "da", "gr": "el", "jp": "ja", "kr": "ko", "se": "sv", "ua": "uk"}
_RIVALS = {"ARABIC": "ar fa", "CYRILLIC": "bg ru uk", "DEVANAGARI": "hi mr", "LATIN": "de en es fr"}
_SCRIPT_OF = {code: script for script, codes in _SHARED_SCRIPT.items() for code in codes.split()}

_LONG = "ー"
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE = re.compile(r"[^.!?؟।\n]+[.!?؟।\n]*")
_FEW_LETTERS = 10  # lingua guesses on less: such sentences are judged together with the next


def is_written_in(text: str, code: str, share: float = 0.8) -> bool:
    """Tell whether a text is written in a language.

    Args:
        text: any text.
        code: ISO 639-1, such as ``ja``.
        share: of the letters that must be the language's.

    Raises:
        KingyoError: the code is unknown, or it needs lingua, which is not installed.
    """
    require_language(code)
    plain = unicodedata.normalize("NFKC", text)
    scripts = _OWN_SCRIPT.get(code) or (_SCRIPT_OF[code],)
    letters = _letters(plain, scripts)
    own = sum(letters.get(script, 0) for script in scripts)
    total = sum(letters.values())
    if not own or own < share * total or not _is_varied(plain, scripts):
        return False
    if code == "ja":
        kana = [letter for letter in plain if _script(letter) in _KANA and letter != _LONG]
        return len(kana) >= max(1, 0.1 * own) and len(set(kana)) >= (2 if own >= 8 else 1)
    return code in _OWN_SCRIPT or _is_judged(plain, code, share)


def require_language(code: str) -> None:
    """Refuse a code that nothing here knows, or whose detector is not installed."""
    known = {*_OWN_SCRIPT, *_SCRIPT_OF}
    if code not in known:
        near = _COUNTRIES.get(code.lower()[:2], code.lower()[:2])
        raise KingyoError(
            "language",
            expected="a code of ISO 639-1",
            received=f"'{code}'",
            remedy=suggest(near, [near] if near in known else known),
        )
    if code in _SCRIPT_OF:
        _detector(code)


@register_grader("language")
@dataclass(frozen=True, kw_only=True)
class Language:
    """Right when the text is written in a language; most languages need lingua.

    Attributes:
        code: ISO 639-1, such as ``ja``.
        share: of the letters that must be the language's.
    """

    extra = "language"

    code: str
    share: Annotated[float, Field(gt=0.5, le=1)] = 0.8

    def __call__(self, answer: str, _item: Item) -> float:
        """Judge the text; the item does not matter."""
        return float(is_written_in(answer, self.code, self.share))

    def check(self, _item: Item) -> None:
        """Refuse an unknown language, or one whose detector is not installed."""
        require_language(self.code)


def _letters(text: str, scripts: tuple[str, ...]) -> dict[str, int]:
    """Count letters by script, without short words of symbols when the language is written otherwise."""
    counts: dict[str, int] = {}
    for word in _WORD.findall(text):
        for script, length in _runs(word):
            if length > 2 or script in scripts or script not in _SYMBOLS:
                counts[script] = counts.get(script, 0) + length
    return counts


def _is_varied(text: str, scripts: tuple[str, ...]) -> bool:
    """Whether the letters of a text are not the same few again and again, as when a broken model answers.

    Of n letters 1 + n // 3 must be different, four at most; of six or more none may be over two thirds. So
    ママ, いいえ and だんだん are varied.
    """
    letters = [letter for letter in text.casefold() if letter.isalpha() and _script(letter) in scripts]
    counts = Counter(letters)
    is_even = len(letters) < 6 or max(counts.values()) <= 2 / 3 * len(letters)
    return is_even and len(counts.keys() - {_LONG}) >= min(4, 1 + len(letters) // 3)


def _runs(word: str) -> Iterator[tuple[str, int]]:
    """Yield script and length of each stretch of one script: Japanese puts no space around foreign words."""
    current, length = "", 0
    for character in word:
        script = _script(character)
        if script != current and length:
            yield current, length
            length = 0
        current, length = script, length + 1
    yield current, length


@cache
def _script(character: str) -> str:
    return re.split(r"[ -]", unicodedata.name(character, "UNKNOWN"), maxsplit=1)[0]


class _Tongue(Protocol):
    name: str


class _Detector(Protocol):
    def detect_language_of(self, text: str) -> _Tongue | None: ...


def _is_judged(text: str, code: str, share: float) -> bool:
    detector, name = _detector(code)
    mine = total = 0
    for sentence in _sentences(text):
        length = _count(sentence)
        judged = detector.detect_language_of(sentence)
        total += length
        mine += length if judged is not None and judged.name == name else 0
    return mine > 0 and mine >= share * total


def _sentences(text: str) -> Iterator[str]:
    """Yield sentences, short ones joined with what follows, the last with what stands before."""
    pieces: list[str] = []
    for sentence in _SENTENCE.findall(text):
        if pieces and _count(pieces[-1]) < _FEW_LETTERS:
            pieces[-1] += sentence
        else:
            pieces.append(sentence)
    if len(pieces) > 1 and _count(pieces[-1]) < _FEW_LETTERS:
        last = pieces.pop()
        pieces[-1] += last
    yield from pieces


def _count(text: str) -> int:
    return sum(map(len, _WORD.findall(text)))


@cache
def _detector(code: str) -> tuple[_Detector, str]:
    """A detector for a language among its rivals, and lingua's name of the language."""
    try:
        lingua = importlib.import_module("lingua")
    except ImportError as error:
        raise KingyoError(
            f"language {code}",
            expected="the library lingua",
            received="an installation without it",
            remedy="In a clone of kingyo: pip install -e '.[language]'",
        ) from error
    codes = sorted({code, *_RIVALS[_SCRIPT_OF[code]].split()})
    iso = [lingua.IsoCode639_1.from_str(each.upper()) for each in codes]
    build = cast("Callable[..., object]", lingua.LanguageDetectorBuilder.from_iso_codes_639_1)
    detector = cast(_Detector, cast("_Builder", build(*iso)).build())
    target = cast(_Tongue, lingua.Language.from_iso_code_639_1(lingua.IsoCode639_1.from_str(code.upper())))
    return detector, target.name


class _Builder(Protocol):
    def build(self) -> object: ...
