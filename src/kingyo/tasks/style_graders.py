"""Graders of how a picture looks: the style of reference pictures, and the colours of a palette."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
from pydantic import Field

from kingyo.io.schema import Real
from kingyo.tasks.graded_settings import Text
from kingyo.tasks.picture_grader import register_picture_grader
from kingyo.tasks.references import read_references, reference_vectors
from kingyo.types import Item, Media
from kingyo.vision.features import LITE0, Vectors, load_feature_net
from kingyo.vision.images import decode_picture
from kingyo.vision.palette import Colours, colours_in, gaps_to_palette, hex_to_lab, main_colours

Colour = Annotated[str, Field(pattern=r"^#?[0-9a-fA-F]{6}$")]
Share = Annotated[Real, Field(ge=-1, le=1)]


@register_picture_grader("style")
@dataclass(frozen=True, kw_only=True)
class StyleGrader:
    """Similarity to reference pictures: the mean cosine with the nearest of them in a network's features.

    Attributes:
        folder: folder of the reference pictures.
        features: network that describes pictures: efficientnet-lite0, a folder or a Hub name.
        k: number of nearest references.
        low: mean cosine that scores 0.
        high: mean cosine that scores 1.
    """

    paths = ("folder", "features")
    known_names = (LITE0,)

    folder: Text
    features: Text = LITE0
    k: Annotated[int, Field(ge=1, strict=True)] = 5
    low: Share = 0.0
    high: Share = 1.0

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError("low below high")

    def check(self, items: Sequence[Item]) -> None:  # noqa: ARG002 (part of the protocol)
        """Read the references, and load the network."""
        self._pictures()
        load_feature_net(self.features)

    def __call__(self, pictures: Sequence[Media], items: Sequence[Item]) -> list[float]:  # noqa: ARG002 (part of the protocol)
        """Return the mean cosine of each picture with its k nearest references, from low (0) to high (1)."""
        net = load_feature_net(self.features)
        cosines = _unit(net.vectors(pictures)) @ _unit(reference_vectors(net, self._pictures())).T
        nearest = np.sort(cosines, axis=1)[:, -self.k :].mean(axis=1)
        return [float(each) for each in np.clip((nearest - self.low) / (self.high - self.low), 0, 1)]

    def _pictures(self) -> tuple[Media, ...]:
        return read_references(self.folder, "grader.style: folder")


@register_picture_grader("palette")
@dataclass(frozen=True, kw_only=True)
class PaletteGrader:
    """Closeness of the pixels to a palette, by their distance to its nearest colour in CIE Lab.

    Attributes:
        colours: colours such as '#1e3a5f'.
        folder: instead of colours: folder of pictures whose main colours are the palette.
        n: number of main colours.
        distance: distance (Delta E 1976) from which a pixel scores 0.
    """

    paths = ("folder",)

    colours: tuple[Colour, ...] = ()
    folder: Text | None = None
    n: Annotated[int, Field(ge=1, le=256, strict=True)] = 8
    distance: Annotated[Real, Field(gt=0)] = 50.0

    def __post_init__(self) -> None:
        if bool(self.colours) == (self.folder is not None):
            raise ValueError("either colours, or a folder of pictures")

    def check(self, items: Sequence[Item]) -> None:  # noqa: ARG002 (part of the protocol)
        """Read the palette."""
        self._palette()

    def __call__(self, pictures: Sequence[Media], items: Sequence[Item]) -> list[float]:  # noqa: ARG002 (part of the protocol)
        """Return the mean closeness of the pixels of each picture."""
        palette = self._palette()
        return [self._closeness(picture, palette) for picture in pictures]

    def _closeness(self, picture: Media, palette: Colours) -> float:
        colours, counts = colours_in(decode_picture(picture))
        gaps = gaps_to_palette(colours, palette) / self.distance
        return float(np.average(np.clip(1 - gaps, 0, 1), weights=counts))

    def _palette(self) -> Colours:
        if self.folder is None:
            return np.stack([hex_to_lab(each) for each in self.colours])
        return _palette_of(read_references(self.folder, "grader.palette: folder"), self.n)


@lru_cache(maxsize=8)
def _palette_of(pictures: tuple[Media, ...], n: int) -> Colours:
    return main_colours([decode_picture(each) for each in pictures], n)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
