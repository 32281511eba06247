"""What the page needs to show an answer: the language of a text, an image as a URL, the mark of a score."""

from __future__ import annotations

import re
from base64 import b64encode

from kingyo.report.answers import SOLVED, AnswerContrast
from kingyo.types import ItemScore, Media

MAX_IMAGE_BYTES = 1 << 15  # bytes of an image in the page

_KANA = re.compile(r"[\u3040-\u30ff]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")


def language_of_kanji(contrast: AnswerContrast) -> str:
    """Return the language of texts in kanji alone: Japanese where any prompt has kana, else Chinese."""
    rows = (*contrast.gained, *contrast.lost)
    return "ja" if any(_KANA.search(row.item.prompt) for row in rows) else "zh"


def language(text: str, of_kanji: str) -> str:
    """Return the language of a text, by which browsers choose glyphs and screen readers a voice."""
    if _KANA.search(text):
        return "ja"
    if _HANGUL.search(text):
        return "ko"
    return of_kanji if _HAN.search(text) else ""


def image_url(image: Media) -> str:
    """Return an image as a URL that holds it; nothing for one that is large or lost."""
    file = image.path
    if file is None or not file.is_file() or file.stat().st_size > MAX_IMAGE_BYTES:
        return ""
    return f"data:{image.type};base64,{b64encode(file.read_bytes()).decode()}"


def mark(answer: ItemScore) -> str:
    """Return ✓ for a right answer, ✗ for a wrong one, else the score in percent."""
    if answer.score >= SOLVED:
        return "✓"
    return "✗" if answer.score == 0 else f"{100 * answer.score:.0f}"
