"""The cost of images for a model that keeps image features."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImageCost:
    """Cost of a prompt's images: means of a sample of prompts.

    Attributes:
        feature_bytes: size of the features of a prompt's images.
        patches: number of patches that the image encoder reads; None if unknown.
        tokens: number of tokens of the prompt, with those of its images.
        memory_limit: bytes of features that a live model keeps in memory.
        file_limit: bytes of features that it keeps in a file.
    """

    feature_bytes: float
    patches: float | None
    tokens: float
    memory_limit: int
    file_limit: int
