"""The print style: flat inks, a dark outline, muted grounds with a band of indigo that fades from the top."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter, ImageOps

INDIGO = (30, 38, 78)
INKS = np.array(
    [
        (188, 62, 46),  # vermilion
        (214, 150, 62),  # ochre
        (96, 118, 66),  # moss
        (66, 96, 150),  # blue
        (238, 224, 190),  # paper
        (44, 44, 66),  # ink
        (196, 132, 134),  # pink
        (122, 84, 62),  # brown
    ],
    dtype=np.float32,
)
LIGHT = np.float32(0.6)  # weight of light beside hue
OUTLINE = 6  # pixels at the size at which drawings are composed


def _flat(pixels: np.ndarray) -> np.ndarray:
    """Return each pixel in its nearest ink; hue counts more than light."""
    centred = pixels - pixels.mean(-1, keepdims=True) * (1 - LIGHT)
    inks = INKS - INKS.mean(-1, keepdims=True) * (1 - LIGHT)
    distance = np.square(centred[..., None, :] - inks).sum(-1)
    return INKS[distance.argmin(-1)]


def print_motif(motif: Image.Image) -> Image.Image:
    """Return a motif in flat inks, with an outline inside its edge."""
    smooth = motif.filter(ImageFilter.ModeFilter(5))
    pixels = np.asarray(smooth.convert("RGB"), dtype=np.float32)
    alpha = Image.fromarray(np.where(np.asarray(motif.getchannel("A")) > 127, 255, 0).astype(np.uint8))
    inner = ImageOps.crop(ImageOps.expand(alpha, OUTLINE).filter(ImageFilter.MinFilter(OUTLINE + 1)), OUTLINE)
    flat = _flat(pixels)
    flat[np.asarray(inner) < 128] = INDIGO
    printed = Image.fromarray(flat.astype(np.uint8)).convert("RGBA")
    printed.putalpha(alpha)
    return printed


def print_ground(ground: Image.Image) -> Image.Image:
    """Return a ground with indigo that fades out in the upper third."""
    pixels = np.asarray(ground.convert("RGB"), dtype=np.float32)
    fade = np.clip(1 - np.arange(ground.height) / (0.34 * ground.height), 0, 1)[:, None, None] * 0.75
    mixed = pixels * (1 - fade) + np.array(INDIGO, dtype=np.float32) * fade
    return Image.fromarray(mixed.astype(np.uint8)).convert("RGBA")
