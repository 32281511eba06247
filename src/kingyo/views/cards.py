"""Items with the answers of models, as cards with their images."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from io import BytesIO

from kingyo.io.units import counted
from kingyo.results.side_by_side import SOLVED, AnswerContrast, ContactSheet, SideBySide
from kingyo.types import Item, ItemScore, Media
from kingyo.views.view import Answer, Cards, ItemCard, Picture
from kingyo.vision.images import read_image

MAX_IMAGE_BYTES = 1 << 15  # bytes of an image in the page; larger ones are shown as thumbnails
SIDE, SHEET_SIDE = 320, 160  # pixels of a thumbnail: of an item, and on a contact sheet
SHOWN, MOST = 6, 60  # items of a contrast that are not folded, and that are in the view


def cards_of_contrast(contrast: AnswerContrast) -> dict[str, Cards]:
    """Return the items that the bred model solves and no parent does, and the reverse."""
    gained, lost = (tuple(map(card, rows[:MOST])) for rows in (contrast.gained, contrast.lost))
    title = f"What a parent solves and the bred model does not: {counted(len(contrast.lost), 'item')}"
    note = f"The first {MOST} of each; the run's database has all."
    return {"gained": Cards(items=gained), "lost": Cards(title=title, items=lost, note=note)}


def cards_of_sheet(sheet: ContactSheet) -> dict[str, Cards]:
    """Return the contact sheet: rows at random, and the best and the worst of the bred model."""
    note = (
        "Prompts of the test split, drawn at random. Below each image is its score in percent (✓: 100, ✗: 0)."
    )
    parts = {
        "sheet": ("", sheet.rows, note),
        "sheet best": ("Where the bred model leads its parents by most", sheet.best, ""),
        "sheet worst": ("Where it is behind by most", sheet.worst, ""),
    }
    return {
        name: Cards(
            title=title, note=note, items=tuple(card(row, SHEET_SIDE) for row in rows), models=sheet.models
        )
        for name, (title, rows, note) in parts.items()
        if rows
    }


def card(row: SideBySide, side: int = SIDE) -> ItemCard:
    """Return an item with all answers."""
    return item_card(row.item, tuple(_answer(model, each, side) for model, each in row.answers.items()), side)


def item_card(item: Item, answers: tuple[Answer, ...] = (), side: int = SIDE) -> ItemCard:
    """Return an item with some answers."""
    return ItemCard(
        id=item.id,
        task=item.task,
        prompt=item.prompt,
        expected=item.answer,
        seed=item.seed,
        choices=tuple(item.choices),
        pictures=tuple(_picture(each, side) for each in item.media),
        answers=answers,
    )


def _answer(model: str, answer: ItemScore, side: int) -> Answer:
    mark = "✗" if answer.score == 0 else f"{100 * answer.score:.0f}"
    return Answer(
        model=model,
        mark="✓" if answer.score >= SOLVED else mark,
        text=answer.answer,
        is_cut=answer.is_cut,
        picture=None if answer.media is None else _picture(answer.media, side),
    )


def _picture(image: Media, side: int) -> Picture:
    return Picture(name=image.name, url=image_url(image, side))


def image_url(image: Media, side: int = SIDE) -> str:
    """Return an image as a URL that holds it or its thumbnail; nothing for one that is lost or unreadable."""
    file = image.path
    if file is None or not file.is_file():
        return ""
    if file.stat().st_size <= MAX_IMAGE_BYTES:
        return _url(image.type, file.read_bytes())
    with suppress(Exception):  # Pillow may be missing, and raises many types
        stream, picture = BytesIO(), read_image(image)
        picture.thumbnail((side, side))
        picture.save(stream, "JPEG", quality=80)
        return _url("image/jpeg", stream.getvalue())
    return ""


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
