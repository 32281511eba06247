"""Colours in CIE Lab, and palettes of pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from kingyo.models.vision.palette import colours_in, gaps_to_palette, hex_to_lab, main_colours


@pytest.mark.parametrize(
    ("colour", "lab"),
    [  # to two digits, as converters print them
        ("#ffffff", (100.0, 0.0, 0.0)),
        ("#000000", (0.0, 0.0, 0.0)),
        ("#ff0000", (53.24, 80.09, 67.20)),
        ("00ff00", (87.73, -86.18, 83.18)),
        ("#0000ff", (32.30, 79.19, -107.86)),
        ("#808080", (53.59, 0.0, 0.0)),
    ],
)
def test_lab(colour: str, lab: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(hex_to_lab(colour), lab, atol=0.02)


def test_the_colours_of_an_image_count_its_pixels() -> None:
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[:1] = (255, 0, 0)
    colours, counts = colours_in(Image.fromarray(pixels))
    assert sorted(counts) == [4, 12]
    np.testing.assert_allclose(colours[counts.argmin()], hex_to_lab("#ff0000"))
    large = Image.fromarray(np.repeat(np.repeat(pixels, 200, axis=0), 200, axis=1))
    assert colours_in(large)[1].sum() <= 256**2


def test_gaps() -> None:
    palette = np.stack([hex_to_lab("#ff0000"), hex_to_lab("#0000ff")])
    gaps = gaps_to_palette(np.stack([hex_to_lab("#ff0000"), hex_to_lab("#fe0000")]), palette)
    assert gaps[0] == 0 and 0 < gaps[1] < 1


def test_main_colours_are_found_and_always_the_same() -> None:
    generator = np.random.default_rng(0)
    names = ("#1e3a5f", "#f4ead5", "#b5452c")
    rgb = np.array([[int(each[i : i + 2], 16) for i in (1, 3, 5)] for each in names])
    noisy = rgb[generator.integers(3, size=(32, 32))] + generator.integers(-3, 4, size=(32, 32, 3))
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    centres = main_colours([image, image], 3)
    assert (centres == main_colours([image, image], 3)).all()
    assert gaps_to_palette(np.stack([hex_to_lab(each) for each in names]), centres).max() < 2
    assert len(main_colours([Image.new("RGB", (4, 4), (9, 9, 9))], 5)) == 1
