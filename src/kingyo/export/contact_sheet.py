"""The contact sheet of a model card: one PNG with the pictures of all models, and what it shows in words."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

from kingyo.lineage import cell
from kingyo.results.side_by_side import ContactSheet
from kingyo.vision.images import read_image

FILE = "contact-sheet.png"
LEAST, MOST = 96, 256
"""Smallest and largest side of a picture on the sheet, in pixels."""
GAP = 4


def sheet_png(sheet: ContactSheet | None) -> bytes | None:
    """Return the sheet as a PNG: a row for each prompt, a column for each model.

    None without a sheet, and if a picture is lost or cannot be read.
    """
    with suppress(Exception):  # Pillow may be missing, and raises many types
        return None if sheet is None else _png(sheet)
    return None


def _png(sheet: ContactSheet) -> bytes:
    from PIL import Image

    rows = [[read_image(each.media) for each in row.answers.values() if each.media] for row in sheet.rows]
    side = min(MOST, max(LEAST, *(max(each.size) for row in rows for each in row)))
    step = side + GAP
    page = Image.new("RGB", (step * len(sheet.models) - GAP, step * len(rows) - GAP), "white")
    for top, row in enumerate(rows):
        for left, picture in enumerate(row):
            scale = side / max(picture.size)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            filtered = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
            page.paste(picture.resize(size, filtered), (left * step, top * step))
    stream = BytesIO()
    page.save(stream, "PNG")
    return stream.getvalue()


def sheet_section(sheet: ContactSheet) -> str:
    """Return the section of the card that shows the sheet."""
    models = ", ".join(cell(each) for each in sheet.models)
    seeds = ["" if row.item.seed is None else f" (seed {row.item.seed})" for row in sheet.rows]
    prompts = "; ".join(f"{cell(row.item.prompt)}{seed}" for row, seed in zip(sheet.rows, seeds, strict=True))
    return (
        f"![pictures of all models]({FILE})\n\n"
        f"Columns: {models}. Rows, prompts of the test split, drawn at random: {prompts}."
    )
