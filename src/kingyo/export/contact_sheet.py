"""The contact sheet of a model card: one PNG with the pictures of all models, and what it shows in words.

Names of models stand above the columns and prompts beside the rows. vl-convert draws them with the fonts of
the system; without it (extra ``report``) the sheet has pictures alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from rich.console import Console
from rich.text import Text

from kingyo.merging.lineage import cell
from kingyo.models.vision.images import read_image
from kingyo.views.cards import ContactSheet, SideBySide
from kingyo.views.charts.draw import FONT

if TYPE_CHECKING:
    from PIL.Image import Image

FILE = "contact-sheet.png"
LEAST, MOST = 96, 256
"""Smallest and largest side of a picture on the sheet, in pixels."""
GAP = 4
SIZE, LINE, CELL = 12, 16, 7
"""Pixels of a letter, of a line, and of a column of text; a Japanese letter takes two columns."""
PROMPT, NUMBER = 26, 3
"""Columns of text beside a row, and those of its number."""


def sheet_png(sheet: ContactSheet | None) -> bytes | None:
    """Return the sheet as a PNG: a row for each prompt, a column for each model."""
    with suppress(Exception):  # Pillow may be missing, and raises many types
        return None if sheet is None else _png(sheet)
    return None


def _png(sheet: ContactSheet) -> bytes:
    from PIL import Image

    rows = [[read_image(each.media) for each in row.answers.values() if each.media] for row in sheet.rows]
    side = min(MOST, max(LEAST, *(max(each.size) for row in rows for each in row)))
    step = side + GAP
    page, left, top = _labels(sheet, step) if find_spec("vl_convert") else (None, 0, 0)
    page = page or Image.new("RGB", (step * len(sheet.models) - GAP, step * len(rows) - GAP), "white")
    for down, row in enumerate(rows):
        for right, picture in enumerate(row):
            scale = side / max(picture.size)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            filtered = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
            page.paste(picture.resize(size, filtered), (left + right * step, top + down * step))
    stream = BytesIO()
    page.save(stream, "PNG")
    return stream.getvalue()


def _labels(sheet: ContactSheet, step: int) -> tuple[Image, int, int]:
    names = [_lines(name, step // CELL, 3) for name in sheet.models]
    rows = [_lines(_prompt(row), PROMPT - NUMBER, step // LINE) for row in sheet.rows]
    left, top = PROMPT * CELL + 2 * GAP, max(map(len, names)) * LINE + GAP
    texts = [(left + i * step, k * LINE, line) for i, own in enumerate(names) for k, line in enumerate(own)]
    texts += [(GAP, top + i * step, f"{i + 1}.") for i in range(len(rows))]
    texts += [
        (GAP + NUMBER * CELL, top + i * step + k * LINE, line)
        for i, own in enumerate(rows)
        for k, line in enumerate(own)
    ]
    return _draw(texts, left + step * len(names) - GAP, top + step * len(rows) - GAP), left, top


def _prompt(row: SideBySide) -> str:
    return f"{row.item.prompt}{'' if row.item.seed is None else f' (seed {row.item.seed})'}"


def _lines(text: str, columns: int, most: int) -> list[str]:
    printable = "".join(each for each in " ".join(text.split()) if each.isprintable())
    wrapped = Text(printable).wrap(Console(width=columns), columns)
    lines = [each.plain.rstrip() for each in wrapped]
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1][: columns // 2 - 1]}…"]


def _draw(texts: Sequence[tuple[int, int, str]], width: int, height: int) -> Image:
    import vl_convert
    from PIL import Image

    font = FONT.replace('"', "'")
    lines = "".join(f'<text x="{x}" y="{y + SIZE}">{escape(text)}</text>' for x, y, text in texts)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<g font-family="{font}" font-size="{SIZE}" fill="#1c1c1e">{lines}</g></svg>'
    )
    return Image.open(BytesIO(vl_convert.svg_to_png(svg))).convert("RGB")


def sheet_section(sheet: ContactSheet) -> str:
    """Return the section of the card that shows the sheet."""
    models = ", ".join(cell(each) for each in sheet.models)
    prompts = "; ".join(f"{number}. {cell(_prompt(row))}" for number, row in enumerate(sheet.rows, start=1))
    return (
        f"![pictures of all models]({FILE})\n\n"
        f"Columns: {models}. Rows, prompts of the test split, drawn at random: {prompts}."
    )
