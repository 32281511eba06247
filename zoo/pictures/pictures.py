"""Pictures of scenes, 32 by 32, from emoji drawings of several sets, plain or as a print."""

from __future__ import annotations

import io
import random
from functools import cache
from pathlib import Path

import numpy as np
import resvg_py  # pyright: ignore[reportMissingImports]
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from printing import print_ground, print_motif
from things import COLOURS, MOTIFS, Scene

SIZE = 32
SHARP = 4  # drawings are composed at this many times the size
SETS = ("noto",)
JUDGE_SETS = ("noto-v1", "fluent", "twemoji", "emojione")
FRAMES, SIDES = {1: 20, 2: 16}, {1: 20, 2: 15}
STEP = 4  # pixels of one latent, to which the places are bound: edges are then easier to learn
DRAWINGS = Path(__file__).parent / "drawings"
Pixels = NDArray[np.uint8]


@cache
def drawing(drawing_set: str, motif: int, side: int, printed: bool) -> Image.Image:
    """Return a motif, cut at its edges, whose longer side has `side` pixels times SHARP."""
    svg = (DRAWINGS / drawing_set / f"{MOTIFS[motif].en}.svg").read_text(encoding="utf-8")
    png = resvg_py.svg_to_bytes(svg_string=svg, width=256, skip_system_fonts=True)
    with Image.open(io.BytesIO(bytes(png))) as opened:
        large = opened.convert("RGBA")
    cut = ImageOps.contain(large.crop(large.getbbox()), (side * SHARP, side * SHARP))
    return print_motif(cut) if printed else cut


def _ground(colour: int, printed: bool, rng: random.Random) -> Image.Image:
    base = COLOURS[colour].ink if printed else COLOURS[colour].paint
    shade = tuple(min(255, max(0, round(c + rng.uniform(-7, 7)))) for c in base)
    ground = Image.new("RGBA", (SIZE * SHARP, SIZE * SHARP), shade)
    return print_ground(ground) if printed else ground


def _corners(number: int, rng: random.Random, step: int) -> list[tuple[int, int]]:
    """Return corners of the copies' frames, multiples of `step`: one anywhere, or two that do not overlap."""
    far = SIZE - FRAMES[number]
    if number == 1:
        return [(rng.randrange(0, far + 1, step), rng.randrange(0, far + 1, step))]
    across, along = (0, far), [rng.randrange(0, far + 1, step) for _ in range(2)]
    corners = list(zip(across, along, strict=True))
    return corners if rng.random() < 0.5 else [(y, x) for x, y in corners]


def _varied(copy: Image.Image, rng: random.Random) -> Image.Image:
    """Return a copy turned by up to 12 degrees, with other colour and light."""
    turned = copy.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)
    for enhance, spread in ((ImageEnhance.Color, 0.35), (ImageEnhance.Brightness, 0.15)):
        turned = enhance(turned).enhance(1 + rng.uniform(-spread, spread))
    hue, *others = turned.convert("RGB").convert("HSV").split()
    shift = rng.randrange(-10, 11)  # of 256
    shifted = hue.point([(i + shift) % 256 for i in range(256)])
    varied = Image.merge("HSV", (shifted, *others)).convert("RGBA")
    varied.putalpha(turned.getchannel("A"))
    return varied


def render(
    scene: Scene,
    rng: random.Random,
    sets: tuple[str, ...] = SETS,
    printed: bool = False,
    is_loose: bool = False,
) -> Pixels:
    """Return a picture of a scene: [height, width, channels].

    Copies stand at multiples of STEP. Where `is_loose` is set, they stand anywhere, vary in size and colours,
    and are turned slightly.
    """
    picture = _ground(scene.colour, printed, rng)
    frame = FRAMES[scene.number]
    side = SIDES[scene.number] - (rng.randrange(3) if is_loose else 0)
    drawing_set = rng.choice(sets)
    if is_loose:
        varied = _varied(drawing(drawing_set, scene.motif, side, False), rng)
        copy = print_motif(varied) if printed else varied
    else:
        copy = drawing(drawing_set, scene.motif, side, printed)
    for x, y in _corners(scene.number, rng, 1 if is_loose else STEP):
        left, top = (
            x * SHARP + (frame * SHARP - copy.width) // 2,
            y * SHARP + (frame * SHARP - copy.height) // 2,
        )
        picture.alpha_composite(copy, (left, top))
    return np.asarray(picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX))
