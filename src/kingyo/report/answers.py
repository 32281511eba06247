"""The test items that the bred model solves and no parent does, and the reverse; what their cards show."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

from kingyo.results.model_result import MIXTURES
from kingyo.results.side_by_side import SideBySide, side_by_side, test_evaluations
from kingyo.results.summary import RunSummary
from kingyo.store import RunStore
from kingyo.types import ItemScore, Media
from kingyo.vision.images import read_image

SOLVED = 1.0
MAX_IMAGE_BYTES = 1 << 15  # bytes of an image in the page; larger ones are shown as thumbnails
SIDE, SHEET_SIDE = 320, 160  # pixels of a thumbnail: of an item, and on a contact sheet


@dataclass(frozen=True, kw_only=True)
class AnswerContrast:
    """The bred model against its parents, item by item.

    Attributes:
        n: items of the test split.
        gained: items that the bred model solves and no parent does.
        lost: items that a parent solves and the bred model does not.
        parents: the names of the parents.
    """

    n: int
    gained: tuple[SideBySide, ...]
    lost: tuple[SideBySide, ...]
    parents: tuple[str, ...]

    @property
    def has_images(self) -> bool:
        """Whether any item on the page has an image, in the question or the answers."""
        rows = (*self.gained, *self.lost)
        return any(row.item.media or any(each.media for each in row.answers.values()) for row in rows)


def contrast(store: RunStore, summary: RunSummary, bred: str) -> AnswerContrast | None:
    """Compare answers where the winner and all baselines were tested; None where they were not.

    Args:
        store: the run.
        summary: summary of the same run.
        bred: the winner's name.
    """
    parents = tuple(name for name in summary.baselines if name not in MIXTURES)
    entries = {**({bred: summary.winner} if summary.winner else {}), **summary.baselines}
    evaluations = test_evaluations(store, entries)
    if bred not in evaluations or not parents or not all(name in evaluations for name in parents):
        return None
    rows = side_by_side(store.items()["test"], evaluations)
    by_parents = [_any_solves(row, parents) for row in rows]
    by_bred = [_any_solves(row, (bred,)) for row in rows]
    return AnswerContrast(
        n=len(rows),
        gained=tuple(row for row, p, b in zip(rows, by_parents, by_bred, strict=True) if b and not p),
        lost=tuple(row for row, p, b in zip(rows, by_parents, by_bred, strict=True) if p and not b),
        parents=parents,
    )


def _any_solves(row: SideBySide, names: Sequence[str]) -> bool:
    return any(row.answers[name].score >= SOLVED for name in names)


def image_url(image: Media, side: int = SIDE) -> str:
    """Return an image as a URL that holds it or its thumbnail; nothing for one that is lost or unreadable."""
    file = image.path
    if file is None or not file.is_file():
        return ""
    if file.stat().st_size <= MAX_IMAGE_BYTES:
        return _url(image.type, file.read_bytes())
    with suppress(Exception):  # Pillow may be missing, and raises many types
        return _url("image/jpeg", _thumbnail(image, side))
    return ""


def _thumbnail(image: Media, side: int) -> bytes:
    stream = BytesIO()
    picture = read_image(image)
    picture.thumbnail((side, side))
    picture.save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"


def mark(answer: ItemScore) -> str:
    """Return ✓ for a right answer, ✗ for a wrong one, else the score in percent."""
    if answer.score >= SOLVED:
        return "✓"
    return "✗" if answer.score == 0 else f"{100 * answer.score:.0f}"
