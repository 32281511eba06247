"""Estimate the size of image features, and what the image encoder reads, without weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from statistics import fmean
from typing import Any, cast

from torch import Tensor

from kingyo.models.feature_file import FILE_BYTES
from kingyo.models.feature_store import KEPT_BYTES
from kingyo.models.image_prompts import PromptProcessor
from kingyo.models.kinds.image_cost import ImageCost
from kingyo.types import ImagePrompt


def image_cost(
    processor: PromptProcessor, config: Any, prompts: Sequence[ImagePrompt], width: int
) -> ImageCost | None:
    """Return the mean cost of the images of prompts; None if the config does not name the image token.

    Args:
        processor: processor of the model.
        config: its config of transformers.
        prompts: one or more, all with images.
        width: bytes per value of the features.
    """
    token = image_token(config)
    if token is None:
        return None
    inputs = [processor.pixels(prompt) for prompt in prompts]
    rows = [cast("list[int]", each["input_ids"][0].tolist()) for each in inputs]
    vision = config.vision_config
    copies = 1 + len(getattr(vision, "deepstack_visual_indexes", ()))
    patches = [_n_patches(each["pixel_values"], getattr(vision, "patch_size", None)) for each in inputs]
    known = [each for each in patches if each is not None]
    hidden = cast(int, config.get_text_config().hidden_size)
    return ImageCost(
        feature_bytes=fmean(row.count(token) for row in rows) * hidden * width * copies,
        patches=fmean(known) if len(known) == len(inputs) else None,
        tokens=fmean(map(len, rows)),
        memory_limit=KEPT_BYTES,
        file_limit=FILE_BYTES,
    )


def image_token(config: Any) -> int | None:
    """Return the id of the token where a model puts image features; None if its config does not name it."""
    return getattr(config, "image_token_id", getattr(config, "image_token_index", None))


def _n_patches(pixels: Tensor | Iterable[Tensor], side: object) -> int | None:
    """Return the number of patches in pixels: [patches, values], or [..., channels, height, width]."""
    if not isinstance(pixels, Tensor):
        known = [_n_patches(each, side) for each in pixels]
        return None if None in known else sum(cast("list[int]", known))
    if pixels.ndim == 2:
        return pixels.shape[0]
    sides = cast("Sequence[object]", side) if isinstance(side, list | tuple) else (side, side)
    sizes = [each for each in sides if isinstance(each, int) and each > 0]
    return pixels.numel() // (pixels.shape[-3] * prod(sizes)) if pixels.ndim > 2 and len(sizes) == 2 else None
