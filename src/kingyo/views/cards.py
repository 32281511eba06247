"""Items with the answers of models, as cards with their images."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from random import Random

from kingyo.core.io.units import counted
from kingyo.core.types import Evaluation, Item, ItemScore, Media
from kingyo.models.vision.images import read_image
from kingyo.store import RunStore
from kingyo.views.results.model_result import MIXTURES, ModelResult
from kingyo.views.results.summary import RunSummary
from kingyo.views.results.trials import row_title
from kingyo.views.view import Answer, Cards, ItemCard, Picture

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
    answers: list[Answer] = []
    for model, each in row.answers.items():
        mark = "✓" if each.score >= SOLVED else f"{100 * each.score:.0f}"
        answers.append(
            Answer(
                model=model,
                mark=mark if each.score else "✗",
                text=each.answer,
                is_cut=each.is_cut,
                picture=None if each.media is None else _picture(each.media, side),
            )
        )
    return item_card(row.item, tuple(answers), side)


def item_card(item: Item, answers: tuple[Answer, ...] = (), side: int = SIDE) -> ItemCard:
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


def _picture(image: Media, side: int) -> Picture:
    return Picture(name=image.name, url=image_url(image, side))


def image_url(image: Media, side: int = SIDE) -> str:
    """Return an image as a URL that holds it or its thumbnail; nothing for one that is lost or unreadable."""
    file = image.path
    if file is None or not file.is_file():
        return ""
    kind, content = image.type, b""
    if file.stat().st_size <= MAX_IMAGE_BYTES:
        content = file.read_bytes()
    else:
        with suppress(Exception):  # Pillow may be missing, and raises many types
            stream, picture = BytesIO(), read_image(image)
            picture.thumbnail((side, side))
            picture.save(stream, "JPEG", quality=80)
            kind, content = "image/jpeg", stream.getvalue()
    return f"data:{kind};base64,{b64encode(content).decode()}" if content else ""


SOLVED = 1.0
ROWS, EXTREMES = 8, 4
"""Rows of a contact sheet, and of its best and worst items."""


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """One item with the answers of all models."""

    item: Item
    answers: Mapping[str, ItemScore]


@dataclass(frozen=True, kw_only=True)
class ContactSheet:
    """Pictures of the same prompts and seeds by all models."""

    models: tuple[str, ...]
    rows: tuple[SideBySide, ...]
    best: tuple[SideBySide, ...]
    worst: tuple[SideBySide, ...]


def contact_sheet(store: RunStore, summary: RunSummary, bred: str) -> ContactSheet | None:
    """Return the pictures of a tested run, or None if it has none."""
    entries = {} if summary.winner is None else {bred: summary.winner, **summary.baselines}
    entries |= {row_title(name): entry for name, entry in summary.controls.items()} if entries else {}
    evaluations = test_evaluations(store, entries)
    parents = [name for name in summary.baselines if name not in MIXTURES and name in evaluations]
    drawn = [
        row
        for row in side_by_side(store.items()["test"], evaluations)
        if row.answers and all(each.media is not None for each in row.answers.values())
    ]
    if bred not in evaluations or not drawn:
        return None

    def lead(row: SideBySide) -> float:
        return row.answers[bred].score - max(row.answers[name].score for name in parents)

    by_lead = sorted(drawn, key=lead, reverse=True) if parents else []
    # rows at random, the same in every call, with different prompts where there are enough
    firsts: dict[str, SideBySide] = {}
    for row in Random(0).sample(drawn, len(drawn)):
        firsts.setdefault(row.item.prompt, row)
    others = [row for row in drawn if firsts[row.item.prompt] is not row]
    return ContactSheet(
        models=tuple(evaluations),
        rows=tuple([*firsts.values(), *others][:ROWS]),
        best=tuple(row for row in by_lead[:EXTREMES] if lead(row) > 0),
        worst=tuple(row for row in by_lead[::-1][:EXTREMES] if lead(row) < 0),
    )


def test_evaluations(store: RunStore, models: Mapping[str, ModelResult]) -> dict[str, Evaluation]:
    """Return the evaluations on test by the names of models; failed and missing ones are left out."""
    tested = {name: store.evaluation(model.trial.id, "test") for name, model in models.items()}
    return {name: each for name, each in tested.items() if each is not None and not each.failure}


def side_by_side(items: Sequence[Item], evaluations: Mapping[str, Evaluation]) -> list[SideBySide]:
    """Return the items that all models have answered, with their answers by the names of the models."""
    scores = {
        name: {each.item: each for each in evaluation.scores} for name, evaluation in evaluations.items()
    }
    return [
        SideBySide(item=item, answers={name: by_item[item.id] for name, by_item in scores.items()})
        for item in items
        if all(item.id in by_item for by_item in scores.values())
    ]


@dataclass(frozen=True, kw_only=True)
class AnswerContrast:
    """The bred model against its parents, item by item."""

    n: int
    gained: tuple[SideBySide, ...]
    lost: tuple[SideBySide, ...]
    parents: tuple[str, ...]


def contrast(store: RunStore, summary: RunSummary, bred: str) -> AnswerContrast | None:
    """Compare answers where the winner and all baselines were tested; None where they were not."""
    parents = tuple(name for name in summary.baselines if name not in MIXTURES)
    entries = {**({bred: summary.winner} if summary.winner else {}), **summary.baselines}
    evaluations = test_evaluations(store, entries)
    if bred not in evaluations or not parents or not all(name in evaluations for name in parents):
        return None
    rows = side_by_side(store.items()["test"], evaluations)

    def solves(row: SideBySide, names: Sequence[str]) -> bool:
        return any(row.answers[name].score >= SOLVED for name in names)

    return AnswerContrast(
        n=len(rows),
        gained=tuple(row for row in rows if solves(row, (bred,)) and not solves(row, parents)),
        lost=tuple(row for row in rows if solves(row, parents) and not solves(row, (bred,))),
        parents=parents,
    )
