"""Items with the answers of all models, as the page shows them: their language, images, marks."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.report.answers import SOLVED, Contrast, SideBySide
from kingyo.sizes import counted
from kingyo.types import ItemScore, Media

MOST = 60  # items of each kind in the page
LARGEST = 1 << 15  # bytes of an image in the page

_KANA = re.compile(r"[\u3040-\u30ff]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text and its language, so that browsers choose its glyphs and screen readers its voice."""

    text: str
    lang: str


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image: its name, and its content as a URL; empty for one that is large or lost."""

    name: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One model's answer.

    Attributes:
        model: its name.
        mark: ✓, ✗ or the score in percent.
        verdict: the same in words.
        text, image: what was answered.
        cut: that it was cut, and where.
    """

    model: str
    mark: str
    verdict: str
    text: Text
    image: Image | None
    cut: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """One item with all answers."""

    item: str
    prompt: Text
    images: tuple[Image, ...]
    expected: Text
    answers: tuple[Answer, ...]


def cards(contrast: Contrast, rows: Sequence[SideBySide]) -> list[Card]:
    """Return the cards of the first items.

    Args:
        contrast: which texts there are: kanji alone are Japanese where any has kana, else Chinese.
        rows: items with their answers.
    """
    texts = (row.item.prompt for row in (*contrast.gained, *contrast.lost))
    han = "ja" if any(_KANA.search(text) for text in texts) else "zh"
    return [_card(row, han) for row in rows[:MOST]]


def _card(row: SideBySide, han: str) -> Card:
    return Card(
        item=row.item.id,
        prompt=_text(row.item.prompt, han),
        images=tuple(map(_image, row.item.media)),
        expected=_text(row.item.answer, han),
        answers=tuple(_answer(name, answer, han, row.limit) for name, answer in row.answers.items()),
    )


def _answer(name: str, answer: ItemScore, han: str, limit: int) -> Answer:
    is_solved = answer.score >= SOLVED
    return Answer(
        model=name,
        mark="✓" if is_solved else "✗" if answer.score == 0 else f"{100 * answer.score:.0f}",
        verdict="solved" if is_solved else "not solved",
        text=_text(answer.answer, han),
        image=None if answer.media is None else _image(answer.media),
        cut=f" … (cut at {counted(limit, 'token')})" if answer.is_cut else "",
    )


def _image(image: Media) -> Image:
    file = image.path
    if file is None or not file.is_file() or file.stat().st_size > LARGEST:
        return Image(name=image.name, url="")
    content = b64encode(file.read_bytes()).decode()
    return Image(name=image.name, url=f"data:{image.type};base64,{content}")


def _text(text: str, han: str) -> Text:
    if _KANA.search(text):
        return Text(text=text, lang="ja")
    if _HANGUL.search(text):
        return Text(text=text, lang="ko")
    return Text(text=text, lang=han if _HAN.search(text) else "")
