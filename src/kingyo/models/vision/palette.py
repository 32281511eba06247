"""Distances of pixels to the colours of a palette, in CIE Lab; no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Colours = NDArray[np.float64]
"""Colours in CIE Lab: [colours, 3], with L from 0 to 100."""
GRID, SMALL_GRID = 256, 64  # pixels a side that are read; of a larger picture every n-th row and column
ROUNDS = 50
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)  # IEC 61966-2-1, sRGB
_WHITE = np.array([0.95047, 1.0, 1.08883])  # D65


def to_lab(rgb: NDArray[np.generic]) -> Colours:
    """Convert sRGB values from 0 to 255 to CIE Lab (white point D65): [..., 3]."""
    shares = rgb.astype(np.float64) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    ratios = linear @ _TO_XYZ.T / _WHITE
    roots = np.where(ratios > (6 / 29) ** 3, np.cbrt(ratios), ratios / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(roots, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def hex_to_lab(colour: str) -> Colours:
    """Convert a colour such as ``#1e3a5f`` to CIE Lab: [3]."""
    digits = colour.removeprefix("#")
    return to_lab(np.array([int(digits[start : start + 2], 16) for start in (0, 2, 4)]))


def colours_in(image: Image, grid: int = GRID) -> tuple[Colours, NDArray[np.int64]]:
    """Return the different colours of an image, and how many pixels have each."""
    pixels = np.asarray(image, dtype=np.int64)
    step = -(-max(pixels.shape[:2]) // grid)
    red, green, blue = np.moveaxis(pixels[::step, ::step], -1, 0)
    codes, counts = np.unique((red << 16) | (green << 8) | blue, return_counts=True)
    return to_lab(np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)), counts


def gaps_to_palette(colours: Colours, palette: Colours) -> NDArray[np.float64]:
    """Return the distance of each colour to the nearest of a palette (ΔE of CIE 1976)."""
    return np.linalg.norm(colours[:, None] - palette, axis=-1).min(axis=1)


def main_colours(images: Sequence[Image], n: int, seed: int = 0) -> Colours:
    """Return n colours that summarise images, by k-means in CIE Lab; every image counts the same.

    The first centres are drawn as in k-means++ (Arthur and Vassilvitskii 2007). There may be fewer colours
    than n.
    """
    drawn = [colours_in(image, SMALL_GRID) for image in images]
    colours = np.concatenate([own for own, _ in drawn])
    weights = np.concatenate([counts / counts.sum() for _, counts in drawn])
    rounded, places = np.unique(colours.round(), axis=0, return_inverse=True)
    colours, weights = _means(colours, weights, places.ravel(), rounded)
    centres = _first_centres(colours, weights, n, np.random.default_rng(seed))
    for _ in range(ROUNDS):
        nearest = np.linalg.norm(colours[:, None] - centres, axis=-1).argmin(axis=1)
        moved, _ = _means(colours, weights, nearest, centres)
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres


def _means(
    colours: Colours, weights: NDArray[np.float64], groups: NDArray[np.int64], empty: Colours
) -> tuple[Colours, NDArray[np.float64]]:
    """Return the weighted mean of each group (or its row of ``empty``), and the groups' weights."""
    n = len(empty)
    totals = np.bincount(groups, weights, minlength=n).astype(np.float64)
    sums = np.stack([np.bincount(groups, weights * axis, minlength=n) for axis in colours.T], axis=-1)
    means = sums / np.maximum(totals, np.finfo(float).tiny)[:, None]
    return np.where(totals[:, None] > 0, means, empty), totals


def _first_centres(
    colours: Colours, weights: NDArray[np.float64], n: int, generator: np.random.Generator
) -> Colours:
    centres = colours[[generator.choice(len(colours), p=weights / weights.sum())]]
    while len(centres) < n:
        chances = weights * gaps_to_palette(colours, centres) ** 2
        if not chances.any():
            break
        centres = np.vstack([centres, colours[generator.choice(len(colours), p=chances / chances.sum())]])
    return centres
