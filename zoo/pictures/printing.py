"""The print style: flat inks, a dark outline, muted grounds with a band of indigo that fades out."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

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
OUTLINE = 6  # pixels before the picture is made smaller by four


def _flat(pixels: np.ndarray) -> np.ndarray:
    """Return each pixel in its nearest ink; hue counts more than light."""
    light = np.float32(0.6)
    centred = pixels - pixels.mean(-1, keepdims=True) * (1 - light)
    inks = INKS - INKS.mean(-1, keepdims=True) * (1 - light)
    distance = np.square(centred[..., None, :] - inks).sum(-1)
    return INKS[distance.argmin(-1)]


def print_motif(motif: Image.Image) -> Image.Image:
    """Return a motif in flat inks, with an outline inside its edge."""
    smooth = motif.filter(ImageFilter.ModeFilter(5))
    pixels = np.asarray(smooth.convert("RGB"), dtype=np.float32)
    alpha = Image.fromarray(np.where(np.asarray(motif.getchannel("A")) > 127, 255, 0).astype(np.uint8))
    inner = np.asarray(_padded(alpha).filter(ImageFilter.MinFilter(OUTLINE + 1)).crop(_inside(alpha)))
    flat = _flat(pixels)
    flat[inner < 128] = INDIGO
    made = Image.fromarray(flat.astype(np.uint8)).convert("RGBA")
    made.putalpha(alpha)
    return made


def _padded(alpha: Image.Image) -> Image.Image:
    padded = Image.new("L", (alpha.width + 2 * OUTLINE, alpha.height + 2 * OUTLINE))
    padded.paste(alpha, (OUTLINE, OUTLINE))
    return padded


def _inside(alpha: Image.Image) -> tuple[int, int, int, int]:
    return (OUTLINE, OUTLINE, OUTLINE + alpha.width, OUTLINE + alpha.height)


def print_ground(ground: Image.Image) -> Image.Image:
    """Return a ground with indigo that fades out in the upper third."""
    pixels = np.asarray(ground.convert("RGB"), dtype=np.float32)
    fade = np.clip(1 - np.arange(ground.height) / (0.34 * ground.height), 0, 1)[:, None, None] * 0.75
    mixed = pixels * (1 - fade) + np.array(INDIGO, dtype=np.float32) * fade
    return Image.fromarray(mixed.astype(np.uint8)).convert("RGBA")
