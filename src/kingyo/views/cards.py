"""Items with the answers of models, as cards with their images."""

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
from kingyo.views.results.summary import BRED, RunSummary
from kingyo.views.view import Answer, Cards, Image, ItemCard

MAX_IMAGE_BYTES = 1 << 15  # bytes of an image in the page; larger ones are shown as thumbnails
SIDE, SHEET_SIDE = 320, 160  # pixels of a thumbnail: of an item, and on a contact sheet
MOST = 60  # items of a contrast that are in the view
ROWS = 8  # of a contact sheet
SOLVED = 1.0


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """One item with the answers of all models."""

    item: Item
    answers: Mapping[str, ItemScore]


@dataclass(frozen=True, kw_only=True)
class ContactSheet:
    """Images of the same prompts and seeds by all models."""

    models: tuple[str, ...]
    rows: tuple[SideBySide, ...]


@dataclass(frozen=True, kw_only=True)
class AnswerContrast:
    """The bred model against its parents, item by item."""

    n: int
    gained: tuple[SideBySide, ...]
    lost: tuple[SideBySide, ...]
    parents: tuple[str, ...]


def cards_of_contrast(contrast: AnswerContrast) -> dict[str, Cards]:
    """Return the items that the bred model solves and no parent does, and the reverse."""
    gained, lost = (tuple(map(card, rows[:MOST])) for rows in (contrast.gained, contrast.lost))
    title = f"What a parent solves and the bred model does not: {counted(len(contrast.lost), 'item')}"
    note = f"The first {MOST} of each; the run's database has all."
    return {"gained": Cards(items=gained), "lost": Cards(title=title, items=lost, note=note)}


def cards_of_sheet(sheet: ContactSheet) -> Cards:
    note = (
        "Prompts of the test split, drawn at random. Below each image is its score in percent (✓: 100, ✗: 0)."
    )
    items = tuple(card(row, SHEET_SIDE) for row in sheet.rows)
    return Cards(note=note, items=items, models=sheet.models)


def card(row: SideBySide, side: int = SIDE) -> ItemCard:
    answers: list[Answer] = []
    for model, each in row.answers.items():
        mark = "✓" if each.score >= SOLVED else f"{100 * each.score:.0f}"
        answers.append(
            Answer(
                model=model,
                mark=mark if each.score else "✗",
                text=each.answer,
                is_cut=each.is_cut,
                image=None if each.media is None else _image(each.media, side),
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
        images=tuple(_image(each, side) for each in item.media),
        answers=answers,
    )


def _image(media: Media, side: int) -> Image:
    kind, content = small_image(media, side)
    return Image(name=media.name, url=f"data:{kind};base64,{b64encode(content).decode()}" if content else "")


def small_image(media: Media, side: int) -> tuple[str, bytes]:
    """Return type and content of an image, or of its thumbnail; no content if it is lost or unreadable."""
    if media.path is not None and media.path.is_file():
        if media.path.stat().st_size <= MAX_IMAGE_BYTES:
            return media.type, media.path.read_bytes()
        with suppress(Exception):  # Pillow may be missing, and raises many types
            stream, image = BytesIO(), read_image(media)
            image.thumbnail((side, side))
            image.save(stream, "JPEG", quality=80)
            return "image/jpeg", stream.getvalue()
    return media.type, b""


def contact_sheet(store: RunStore, summary: RunSummary) -> ContactSheet | None:
    """Return the images of a tested run, or None if it has none."""
    evaluations = _on_test(store, summary.named_models) if summary.is_tested else {}
    drawn = [
        row
        for row in _side_by_side(store.items()["test"], evaluations)
        if row.answers and all(each.media is not None for each in row.answers.values())
    ]
    if not drawn:
        return None
    # rows at random, the same in every call, with different prompts where there are enough
    firsts: dict[str, SideBySide] = {}
    for row in Random(0).sample(drawn, len(drawn)):
        firsts.setdefault(row.item.prompt, row)
    others = [row for row in drawn if firsts[row.item.prompt] is not row]
    return ContactSheet(models=tuple(evaluations), rows=tuple([*firsts.values(), *others][:ROWS]))


def contrast(store: RunStore, summary: RunSummary) -> AnswerContrast | None:
    """Compare answers where the winner and all baselines were tested; None where they were not."""
    parents = tuple(name for name in summary.baselines if name not in MIXTURES)
    models = {**({BRED: summary.winner} if summary.winner else {}), **summary.baselines}
    evaluations = _on_test(store, models)
    if BRED not in evaluations or not parents or not all(name in evaluations for name in parents):
        return None
    rows = _side_by_side(store.items()["test"], evaluations)

    def solves(row: SideBySide, names: Sequence[str]) -> bool:
        return any(row.answers[name].score >= SOLVED for name in names)

    return AnswerContrast(
        n=len(rows),
        gained=tuple(row for row in rows if solves(row, (BRED,)) and not solves(row, parents)),
        lost=tuple(row for row in rows if solves(row, parents) and not solves(row, (BRED,))),
        parents=parents,
    )


def _on_test(store: RunStore, models: Mapping[str, ModelResult]) -> dict[str, Evaluation]:
    tested = {name: store.evaluation(model.trial.id, "test") for name, model in models.items()}
    return {name: each for name, each in tested.items() if each is not None and not each.failure}


def _side_by_side(items: Sequence[Item], evaluations: Mapping[str, Evaluation]) -> list[SideBySide]:
    scores = {
        name: {each.item: each for each in evaluation.scores} for name, evaluation in evaluations.items()
    }
    return [
        SideBySide(item=item, answers={name: by_item[item.id] for name, by_item in scores.items()})
        for item in items
        if all(item.id in by_item for by_item in scores.values())
    ]
