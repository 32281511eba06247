"""Estimate how often a run encodes images, and the size of the image features that it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kingyo.core.types import Item, Split
from kingyo.merging.checkpoints import Checkpoint
from kingyo.models.kinds import ImageCost
from kingyo.runs.dry_run.cost import Cost, total
from kingyo.runs.run import Run
from kingyo.runs.spaces import merged_before_language


@dataclass(frozen=True, kw_only=True)
class ImageForecast:
    """Image encodings and image features of a run. Sizes are estimates from some items.

    Attributes:
        merged: merged parts that image features depend on; if there are any, none are kept.
        prompts: number of prompts with different images.
        bytes: size of their features.
        memory_bytes, file_bytes: the parts of it that each worker keeps in memory and in a file.
        encodings: maximum number of times that the images of a prompt are encoded; None if the budget is in
            seconds.
        encoder_share: share of the image encoder in the compute of reading a prompt, by parameters times
            patches and parameters times tokens; None if unknown.
    """

    merged: tuple[str, ...]
    prompts: int
    bytes: int
    memory_bytes: int
    file_bytes: int
    encodings: int | None
    encoder_share: float | None

    @property
    def excess_bytes(self) -> int:
        """Size of the features that are not kept, because of a limit or of merged parts."""
        return self.bytes - self.memory_bytes - self.file_bytes


def estimate_images(run: Run, images: ImageCost, cost: Cost) -> ImageForecast:
    """Estimate the image encodings and features of a run.

    Args:
        run: opened; its items have images.
        images: cost of the images of a prompt.
        cost: number of answers.
    """
    merged = tuple(merged_before_language(run))
    n = _n_different(item for items in run.items.values() for item in items)
    n_bytes = round(n * images.feature_bytes)
    in_memory = 0 if merged else min(n_bytes, images.memory_limit)
    in_file = 0 if merged else min(n_bytes - in_memory, images.file_limit)
    again = 1 - (in_memory + in_file) / n_bytes if n_bytes else 0.0
    repeated = total(_encodings(cost, run.items))
    once = n * run.config.workers
    return ImageForecast(
        merged=merged,
        prompts=n,
        bytes=n_bytes,
        memory_bytes=in_memory,
        file_bytes=in_file,
        encodings=_mixed(once, repeated, again),
        encoder_share=_encoder_share(run.models.skeleton, images),
    )


def _n_different(items: Iterable[Item]) -> int:
    """Return the number of different images, or sets of images, of items."""
    return len({tuple(image.sha256 for image in item.media) for item in items if item.media})


def _encodings(cost: Cost, items: Mapping[Split, Iterable[Item]]) -> Iterable[int | None]:
    """Yield the encodings of each part of a run in which every candidate encodes all images."""
    n = {split: _n_different(each) for split, each in items.items()}
    for part in cost.parts:
        yield None if part.models is None else part.models * min(part.items, n[part.split])


def _mixed(once: int, repeated: int | None, again: float) -> int | None:
    """Return the encodings if a share of the images is encoded again for every candidate."""
    if not again:
        return once
    return None if repeated is None else round(once * (1 - again) + repeated * again)


def _encoder_share(model: Checkpoint, images: ImageCost) -> float | None:
    """Estimate the share of the image encoder in the compute of reading a prompt."""
    if images.patches is None:
        return None
    layout, language, encoder = model.layout, 0, 0
    for name, info in model.tensors.items():
        if layout.part(name) != "language":
            encoder += info.n_elements
        elif layout.kind(name) not in ("embedding", "head"):
            language += info.n_elements
    encoding, reading = encoder * images.patches, language * images.tokens
    return encoding / (encoding + reading)
