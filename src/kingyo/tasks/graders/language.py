"""Check that a text is in a given language, by script and, for shared scripts, by the offline library lingua.

``docs/graders.md`` has the rules. Only letters count, and no Latin or Greek words of one or two letters in
other scripts: x, cm. lingua loads only the language and the common rivals in its script, of 25 to 30 MB each.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Annotated, Any

from pydantic import Field

from kingyo.core.io.extras import library
from kingyo.core.types import Item
from kingyo.errors import KingyoError, suggest
from kingyo.tasks.graders.grader import register_grader

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
_SYMBOLS = ("LATIN", "GREEK")  # scripts of variables and units
_RIVALS = {"ARABIC": "ar fa", "CYRILLIC": "bg ru uk", "DEVANAGARI": "hi mr", "LATIN": "de en es fr"}
_SCRIPT_OF = {code: script for script, codes in _SHARED_SCRIPT.items() for code in codes.split()}

_LONG = "ー"
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE = re.compile(r"[^.!?؟।\n]+[.!?؟।\n]*")
_FEW_LETTERS = 10  # shorter sentences are joined with the next; lingua is unreliable on them


def is_written_in(text: str, code: str, share: float = 0.8) -> bool:
    """Return whether a text is written in a language, by the rules in ``docs/graders.md``."""
    require_language(code)
    plain = unicodedata.normalize("NFKC", text)
    scripts = _OWN_SCRIPT.get(code) or (_SCRIPT_OF[code],)
    letters = _letters(plain, scripts)
    own = sum(letters[script] for script in scripts)
    total = sum(letters.values())
    if not own or own < share * total or not _is_varied(plain, scripts):
        return False
    if code == "ja":
        kana = [letter for letter in plain if _script(letter) in _KANA and letter != _LONG]
        return len(kana) >= max(1, 0.1 * own) and len(set(kana)) >= (2 if own >= 8 else 1)
    if code in _OWN_SCRIPT:
        return True
    detector, language = _detector(code)
    matching = total = 0
    for sentence in _sentences(plain):
        length = _count(sentence)
        total += length
        matching += length if detector.detect_language_of(sentence) == language else 0
    return matching > 0 and matching >= share * total


def require_language(code: str) -> None:
    """Check that a language code is known and its detector installed."""
    known = {*_OWN_SCRIPT, *_SCRIPT_OF}
    if code not in known:
        raise KingyoError("language", "a supported ISO 639-1 code", f"'{code}'", suggest(code, known))
    if code in _SCRIPT_OF:
        _detector(code)


@register_grader("language")
@dataclass(frozen=True, kw_only=True)
class Language:
    """Right if the text is written in a language; most languages need lingua.

    Attributes:
        code: ISO 639-1 code, such as ``ja``.
        share: minimum share of the letters that belong to the language.
    """

    extra = "language"
    libraries = ("lingua-language-detector",)

    code: str
    share: Annotated[float, Field(gt=0.5, le=1)] = 0.8

    def __call__(self, answer: str, _item: Item) -> float:
        return float(is_written_in(answer, self.code, self.share))

    def check(self, _item: Item) -> None:
        require_language(self.code)


def _letters(text: str, scripts: tuple[str, ...]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for word in _WORD.findall(text):
        for script, run in groupby(word, _script):  # Japanese has no spaces around foreign words
            length = len([*run])
            if length > 2 or script in scripts or script not in _SYMBOLS:
                counts[script] += length
    return counts


def _is_varied(text: str, scripts: tuple[str, ...]) -> bool:
    """Return whether a text uses enough different letters; broken models often repeat a few."""
    letters = [letter for letter in text.casefold() if letter.isalpha() and _script(letter) in scripts]
    counts = Counter(letters)
    is_even = len(letters) < 6 or max(counts.values()) <= 2 / 3 * len(letters)
    return is_even and len(counts.keys() - {_LONG}) >= min(4, 1 + len(letters) // 3)


@cache
def _script(character: str) -> str:
    return re.split(r"[ -]", unicodedata.name(character, "UNKNOWN"), maxsplit=1)[0]


def _sentences(text: str) -> list[str]:
    pieces: list[str] = []
    for sentence in _SENTENCE.findall(text):
        if pieces and _count(pieces[-1]) < _FEW_LETTERS:
            pieces[-1] += sentence
        else:
            pieces.append(sentence)
    if len(pieces) > 1 and _count(pieces[-1]) < _FEW_LETTERS:
        last = pieces.pop()
        pieces[-1] += last
    return pieces


def _count(text: str) -> int:
    return sum(map(len, _WORD.findall(text)))


@cache
def _detector(code: str) -> tuple[Any, Any]:
    lingua = library(f"language {code}", "lingua")
    own, *rivals = (
        lingua.IsoCode639_1.from_str(each.upper()) for each in (code, *_RIVALS[_SCRIPT_OF[code]].split())
    )
    builder = lingua.LanguageDetectorBuilder.from_iso_codes_639_1(*{own, *rivals})
    return builder.build(), lingua.Language.from_iso_code_639_1(own)
