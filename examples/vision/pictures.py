"""Draw the pictures of the four domains from packages: what the specialists learn, and what the tasks ask.

Every picture has 32 x 32 pixels. No task asks for a picture that a model was trained on, nor for another of
the same emoji or in the same typeface. Everything is seeded.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

SIZE = 32
N_TASK = 850  # pictures of each task; those that are neither to fit nor to validate are to test
N_FIT, N_VALIDATION = 150, 100
SEED = 23

DIGITS = tuple(f"digit {number}" for number in range(10))
CLOTHES = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
EMOJI_GROUPS = {
    "faces": "Smileys & Emotion",
    "people": "People & Body",
    "animals": "Animals & Nature",
    "food": "Food & Drink",
    "signs": "Symbols",
    "flags": "Flags",
}
EMOJI_SETS = ("noto", "noto-v1", "twemoji", "emojione", "fluent-emoji-flat")
LETTERS = "ABDEFGHKMQRT"
N_TASK_FONTS = 40


@dataclass(frozen=True, kw_only=True)
class Picture:
    label: str
    image: Image.Image


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """A domain's pictures.

    Args:
        task: what the run asks; no model is trained on them.
        training: what the models are trained on, in random order.
    """

    task: Sequence[Picture]
    training: Sequence[Picture]


@dataclass(frozen=True, kw_only=True)
class Packages:
    """Where the packages are that the pictures come from: ``node_modules`` and the files of Fashion-MNIST."""

    node: Path
    fashion: Path


def digits(_packages: Packages) -> Pictures:
    """Handwritten digits of scikit-learn, 8 x 8 pixels made larger."""
    pixels, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    images = [_grey(each) for each in pixels.reshape(-1, 8, 8) * (255 / 16)]
    pictures = [
        Picture(label=DIGITS[label], image=image) for label, image in zip(labels, images, strict=True)
    ]
    pictures = random.Random(SEED).sample(pictures, len(pictures))
    return Pictures(task=pictures[:N_TASK], training=pictures[N_TASK:])


def fashion(packages: Packages) -> Pictures:
    """Photos of clothes of Fashion-MNIST: the task from its test set, training from its training set."""
    rng = random.Random(SEED)
    return Pictures(
        task=_clothes(packages.fashion, "t10k", N_TASK, rng),
        training=_clothes(packages.fashion, "train", 3000, rng),
    )


def _clothes(folder: Path, part: str, count: int, rng: random.Random) -> list[Picture]:
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    chosen = rng.sample(range(len(pixels)), count)
    return [Picture(label=CLOTHES[labels[8 + i]], image=_grey(pixels[i])) for i in chosen]


def emoji(packages: Packages) -> Pictures:
    """Emoji of five sets on plain backgrounds; the label is their group in Unicode.

    Emoji that differ in little (hearts by colour, clocks by hour, people by gender) are asked or learned, not
    both, whoever drew them.
    """
    rng = random.Random(SEED)
    icons = packages.node / "@iconify-json"
    sets = [json.loads((icons / name / "icons.json").read_text("utf-8")) for name in EMOJI_SETS]
    groups = json.loads((icons / "noto/metadata.json").read_text("utf-8"))["categories"]
    task: list[Picture] = []
    training: list[Picture] = []
    for label, group in EMOJI_GROUPS.items():
        kin: dict[str, list[str]] = {}
        flags = sorted({name for each in sets for name in each["icons"] if name.startswith("flag-")})
        for name in groups[group] if label != "flags" else flags:
            if "skin-tone" not in name:
                kin.setdefault(_kin(name), []).append(name)
        for names in rng.sample(sorted(kin.values()), len(kin)):
            drawn = [(each, name) for each in sets for name in names if name in each["icons"]]
            asked = sum(picture.label == label for picture in task) < N_TASK / len(EMOJI_GROUPS)
            chosen = rng.sample(drawn, min(3 if asked else 10, len(drawn)))
            (task if asked else training).extend(
                Picture(label=label, image=_emoji(each, name, rng)) for each, name in chosen
            )
    task, training = (rng.sample(each, len(each)) for each in (task, training))
    return Pictures(task=task[:N_TASK], training=training)


def _kin(name: str) -> str:
    """What emoji share that differ in little."""
    if re.search("oclock|thirty", name):
        return "clock"
    words = [word for word in name.split("-") if word not in _VARIANTS]
    return "-".join(words) or "person"


_VARIANTS = frozenset(
    (
        *("man", "woman", "person", "men", "women", "people", "boy", "girl", "boys", "girls", "mx", "mrs"),
        *("old", "older", "facing", "right", "left", "light"),
        *("black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "white", "yellow"),
    )
)


def _emoji(style: Mapping[str, object], name: str, rng: random.Random) -> Image.Image:
    import resvg_py  # pyright: ignore[reportMissingImports]

    icons = style["icons"]
    assert isinstance(icons, dict)
    icon = icons[name]
    default = style.get("width", 16)
    width, height = icon.get("width", default), icon.get("height", style.get("height", default))
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'<svg {names} viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    drawn = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=96, height=96))))
    side = rng.randint(24, 30)
    small = drawn.convert("RGBA").resize((side, side), Image.Resampling.LANCZOS)
    if rng.random() < 0.5:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = Image.new("RGB", (SIZE, SIZE), tuple(rng.randint(150, 255) for _ in range(3)))
    picture.paste(small, (rng.randint(0, SIZE - side), rng.randint(0, SIZE - side)), small)
    return picture


def letters(packages: Packages) -> Pictures:
    """Capital and small letters in many typefaces, dark on light, a little turned; one label for both."""
    rng = random.Random(SEED)
    families = sorted((packages.node / "@fontsource").iterdir())
    rng.shuffle(families)
    task = [picture for family in families[:N_TASK_FONTS] for picture in _alphabet(family, rng, ("400",))]
    training = [
        picture
        for family in families[N_TASK_FONTS:] * 3
        for picture in _alphabet(family, rng, ("300", "400", "700"))
    ]
    return Pictures(task=rng.sample(task, N_TASK), training=rng.sample(training, len(training)))


def _alphabet(family: Path, rng: random.Random, weights: Sequence[str]) -> Iterator[Picture]:
    """Every letter in both cases, once where a typeface draws them alike."""
    for weight in weights:
        for font in family.glob(f"files/*-latin-{weight}-normal.woff"):
            for letter in LETTERS:
                masks = {_glyph(font, case).tobytes(): case for case in (letter, letter.lower())}
                for case in masks.values():
                    yield Picture(label=f"letter {letter}", image=_print(_glyph(font, case), rng))


def _glyph(font: Path, letter: str) -> Image.Image:
    """A letter, white on black, 96 pixels wide and high."""
    face = ImageFont.truetype(font, 64)
    mask = Image.new("L", (96, 96))
    ImageDraw.Draw(mask).text((48, 48), letter, fill=255, font=face, anchor="mm")
    return mask


def _print(mask: Image.Image, rng: random.Random) -> Image.Image:
    """Print a letter in a dark colour on a light one."""
    ink, paper = ([rng.randint(low, low + 80) for _ in range(3)] for low in (0, 175))
    left, top, right, bottom = mask.getbbox() or (0, 0, 96, 96)
    side = max(right - left, bottom - top) * rng.uniform(1.15, 1.25)
    middle = (left + right) / 2 + rng.uniform(-2, 2), (top + bottom) / 2 + rng.uniform(-2, 2)
    x, y = middle
    half = side / 2
    turned = mask.rotate(rng.uniform(-3, 3), Image.Resampling.BICUBIC, center=middle)
    small = turned.crop((round(x - half), round(y - half), round(x + half), round(y + half)))
    small = small.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    return Image.composite(
        Image.new("RGB", (SIZE, SIZE), tuple(ink)), Image.new("RGB", (SIZE, SIZE), tuple(paper)), small
    )


def _grey(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels.round().astype(np.uint8))
    return image.resize((SIZE, SIZE), Image.Resampling.BICUBIC).convert("RGB")


DOMAINS: Mapping[str, Callable[[Packages], Pictures]] = {
    "digits": digits,
    "fashion": fashion,
    "emoji": emoji,
    "letters": letters,
}
LABELS = (*DIGITS, *CLOTHES, *EMOJI_GROUPS, *(f"letter {letter}" for letter in LETTERS))
"""One label space for all four: what the models' heads tell apart."""
GROUPS = (  # of unlike labels: all that the base is told of most pictures
    *(tuple(f"digit {number}" for number in group) for group in ((0, 1, 5), (2, 4, 6), (3, 7), (8, 9))),
    ("t-shirt", "sneaker", "dress"),
    ("trousers", "coat", "bag"),
    ("pullover", "sandal"),
    ("shirt", "boot"),
    ("faces", "food"),
    ("people", "signs"),
    ("animals", "flags"),
    *(tuple(f"letter {letter}" for letter in group) for group in ("AEQ", "BKT", "DFM", "GHR")),
)
