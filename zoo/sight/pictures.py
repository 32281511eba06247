"""Pictures of scenes, 48 by 48: Noto emoji drawings on painted boards, with jitter in place, size, light and
paint. Knows nothing about models.
"""

from __future__ import annotations

import io
import random
from functools import cache
from pathlib import Path

import numpy as np
import resvg_py  # pyright: ignore[reportMissingImports]
from PIL import Image
from scenes import Board, Scene, kept_back
from things import KINDS, PAINT

SIZE, CELL = 48, 16
NOISE = 5.0  # of 255, per channel
DRAWINGS = Path(__file__).parent / "drawings"


@cache
def drawing(kind: int, size: int) -> Image.Image:
    svg = (DRAWINGS / f"{KINDS[kind].en}.svg").read_text(encoding="utf-8")
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size * 4, skip_system_fonts=True)
    with Image.open(io.BytesIO(bytes(png))) as large:
        return large.convert("RGBA").resize((size, size), Image.Resampling.BOX)


def _named_paint(board: Board, rng: random.Random) -> tuple[int, ...]:
    light = rng.uniform(0.85, 1.1)
    return tuple(min(255, max(0, round(c * light + rng.uniform(-14, 14)))) for c in PAINT[board.colour])


def _any_paint(board: Board, rng: random.Random) -> tuple[int, ...]:
    """Any paint but those that are nearest to a colour on which this kind is kept back."""
    while True:
        paint = tuple(rng.randrange(256) for _ in range(3))
        distances = [sum((a - b) ** 2 for a, b in zip(paint, named, strict=True)) for named in PAINT]
        if not kept_back(board.kind, distances.index(min(distances))):
            return paint


def _place(image: Image.Image, row: int, board: Board, rng: random.Random) -> None:
    """At the right end of the board."""
    size = rng.randint(13, 15)
    x = 2 * CELL + rng.randint(-1, CELL - size)
    y = row * CELL + rng.randint(0, CELL - size)
    image.alpha_composite(drawing(board.kind, size), (x, y))


def render(scene: Scene, seed: int, any_paint: bool = False, noise: float = NOISE) -> Image.Image:
    """The same picture for the same seed. Pictures in any paint are for the training of the tower."""
    rng = random.Random(seed)
    image = Image.new("RGBA", (SIZE, SIZE))
    for row, board in enumerate(scene):
        for start in range(0, SIZE, CELL // 2 if any_paint else SIZE):
            paint = (_any_paint if any_paint else _named_paint)(board, rng)
            image.paste(paint, (start, row * CELL, SIZE, (row + 1) * CELL))
        _place(image, row, board, rng)
    grain = np.random.default_rng(seed).normal(0, noise, (SIZE, SIZE, 3))
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32) + grain
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
