"""The contact sheet as a picture: names above its columns, prompts beside its rows, in any language."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest

pytest.importorskip("PIL", reason="pictures need kingyo[vision]")
pytest.importorskip("vl_convert", reason="labels need kingyo[report]")

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kingyo.core.types import Item, ItemScore, Media
from kingyo.export.contact_sheet import CELL, GAP, LINE, PROMPT, sheet_png, sheet_section
from kingyo.views.cards import ContactSheet, SideBySide

SIDE, LEFT, TOP = 96, PROMPT * CELL + 2 * GAP, 2 * LINE + GAP
MODELS = ("bred", "base", "random search, same cost")


def sheet(folder: Path, *prompts: str) -> ContactSheet:
    rows: list[SideBySide] = []
    for place, prompt in enumerate(prompts):
        answers: dict[str, ItemScore] = {}
        for number, model in enumerate(MODELS):
            file = folder / f"{place}-{number}.png"
            Image.new("RGB", (SIDE, SIDE), (200, 40 * number, 90 * place)).save(file)
            media = Media(sha256=sha256(file.read_bytes()).hexdigest(), type="image/png", path=file)
            answers[model] = ItemScore(item=str(place), score=1.0, answer="", media=media)
        item = Item(id=str(place), prompt=prompt, answer="", seed=place)
        rows.append(SideBySide(item=item, answers=answers))
    return ContactSheet(models=MODELS, rows=tuple(rows), best=(), worst=())


def pixels(drawn: ContactSheet) -> NDArray[np.uint8]:
    png = sheet_png(drawn)
    assert png is not None
    return np.asarray(Image.open(BytesIO(png)))


def test_names_stand_above_columns_and_prompts_beside_rows(tmp_path: Path) -> None:
    page = pixels(sheet(tmp_path, "a red fish", "two blue fish", ""))
    step = SIDE + GAP
    assert page.shape == (TOP + 3 * step - GAP, LEFT + 3 * step - GAP, 3)
    ink = page.max(axis=2) < 120
    for number in range(3):
        assert ink[:TOP, LEFT + number * step :][:, :SIDE].sum() > 20
        assert ink[TOP + number * step :, :LEFT][:SIDE].sum() > 5
        for place in range(3):
            y, x = TOP + place * step, LEFT + number * step
            assert (page[y : y + SIDE, x : x + SIDE] == (200, 40 * number, 90 * place)).all()
    other = pixels(sheet(tmp_path, "a red fish", "three green cats", ""))
    assert ((page != other).any(axis=2).nonzero()[0] // step == 1).all(), "the prompt of the second row"


def test_the_section_has_prompts_by_their_numbers(tmp_path: Path) -> None:
    text = sheet_section(sheet(tmp_path, "赤い魚 | x", "a fish"))
    assert "1. 赤い魚 \\| x (seed 0); 2. a fish (seed 1)." in text


def test_markup_and_long_prompts_stay_within_their_row(tmp_path: Path) -> None:
    long = pixels(sheet(tmp_path, "<b>&amp;\x00\n" * 200, ""))
    short = pixels(sheet(tmp_path, "", ""))
    assert long.shape == short.shape
    changed = (long != short).any(axis=2)
    assert changed.any() and not changed[:, LEFT:].any() and not changed[TOP + SIDE :].any()
