"""Folders of reference images, and set measures of images against one: KID, FID, precision and recall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kingyo.core.io.model_names import local_path
from kingyo.core.io.units import counted
from kingyo.core.types import Item, ItemScore, Media, SetMeasure
from kingyo.core.user_code.versions import deciding_files
from kingyo.errors import KingyoError, suggest
from kingyo.models.vision.features import (
    LITE0,
    LITE0_LIBRARIES,
    FeatureNet,
    Vectors,
    load_feature_net,
    net_path,
    net_title,
)
from kingyo.models.vision.frozen import kept_until_files_change
from kingyo.models.vision.images import require_8_bits
from kingyo.models.vision.set_comparison import ComparedPictures, Places, ReferenceVectors
from kingyo.tasks.graders.grader import FilePath, IsPath
from kingyo.tasks.rows import image_file

FeaturesPath = Annotated[str, Field(min_length=1), IsPath((LITE0,))]
"""A network that describes images: a folder, its name on the Hub, or efficientnet-lite0."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


def read_references(folder: str, argument: str, fewest: int = 1) -> tuple[Media, ...]:
    """Return the images in a folder and in those below it, by name; see ``deciding_files``.

    Args:
        folder: its path.
        argument: the option that names it, for errors.
        fewest: smallest number of images.
    """
    root = Path(folder)
    files = (
        [each for each in deciding_files(root) if each.suffix.lower() in SUFFIXES] if root.is_dir() else []
    )
    if len(files) < fewest:
        found = counted(len(files), "image") if root.is_dir() else "no such folder"
        expected = f"a folder with at least {counted(fewest, 'image')}"
        remedy = f"Correct the path, or add images ({', '.join(sorted(SUFFIXES))})."
        raise KingyoError(argument, expected, f"{found}: {folder}", remedy)
    return tuple(map(_reference, files))


@kept_until_files_change
def _reference(path: Path) -> Media:
    media = image_file(path)
    try:
        require_8_bits(media)
    except ValueError as error:
        raise KingyoError(
            str(path), "an image with 8 bits per channel", str(error), "Convert this image, or leave it out."
        ) from error
    return media


@lru_cache(maxsize=8)
def reference_vectors(net: FeatureNet, pictures: tuple[Media, ...]) -> Vectors:
    """Return the vectors of reference pictures; equal pictures are computed once per process."""
    return net.vectors(pictures)


_TITLES = {"kid": "−KID", "fid": "−FID", "precision": "precision", "recall": "recall"}
_VALUES: dict[str, Callable[[ComparedPictures, Places], float]] = {
    "kid": lambda pictures, places: -pictures.kid(places),
    "fid": lambda pictures, places: -pictures.fid(places),
    "precision": ComparedPictures.precision,
    "recall": ComparedPictures.recall,
}
CACHED_MODELS = 4
"""Number of models whose vectors are kept, since all measures of a model use the same ones."""


class ReferenceSettings(BaseModel):
    """The option ``references`` of ``draw``.

    Attributes:
        folder: the folder of reference pictures.
        features: the network that describes pictures: ``efficientnet-lite0``, a folder or a Hub name.
        k: neighbours that decide the radius of a picture, for precision and recall.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    libraries: ClassVar = LITE0_LIBRARIES

    folder: FilePath
    features: FeaturesPath = LITE0
    k: Annotated[int, Field(ge=1, le=1000, strict=True)] = 3

    def title(self, measure: str) -> str:
        """Return the full name of a measure, which names the network, such as −KID (efficientnet-lite0)."""
        titles = {name: f"{title} ({net_title(self.features)})" for name, title in _TITLES.items()}
        if measure not in (*titles, *titles.values()):
            raise KingyoError(
                "measure", f"one of {', '.join(titles)}", f"'{measure}'", suggest(measure, titles)
            )
        return titles.get(measure, measure)


class ComparedPicture(NamedTuple):
    """One picture of a compared set, by its index: what half of a set is drawn from."""

    place: int
    pictures: ComparedPictures


@dataclass(frozen=True, kw_only=True)
class PictureMeasure:
    """A measure of a set of pictures against references; larger is better.

    Attributes:
        name: its full name.
        evaluate: returns the measure of some of the pictures.
        compare: describes pictures by vectors.
    """

    name: str
    evaluate: Callable[[ComparedPictures, Places], float]
    compare: Callable[[tuple[Media, ...]], ComparedPictures]

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[ComparedPicture]:
        """Return the index of each picture in the set of a model's pictures."""
        pictures = tuple(score.media for score in scores if score.media is not None)
        if len(pictures) < len(items):
            raise ValueError(f"{len(items) - len(pictures)} answers without a picture")
        compared = self.compare(pictures)
        return [ComparedPicture(place, compared) for place in range(len(pictures))]

    def value(self, features: Sequence[object]) -> float:
        """Return the measure of some of these pictures."""
        chosen = cast("Sequence[ComparedPicture]", features)
        return self.evaluate(chosen[0].pictures, np.array([each.place for each in chosen]))


def picture_measures(settings: ReferenceSettings, folder: Path) -> tuple[SetMeasure, ...]:
    """Return the set measures of pictures, after reading the references and loading the network.

    Args:
        settings: the option ``references``.
        folder: base of relative paths.
    """
    references = str(local_path(settings.folder, folder).resolve())
    pictures = read_references(references, "references.folder", settings.k + 1)
    compare = partial(_compare, load_feature_net(net_path(settings.features, folder)), pictures, settings.k)
    return tuple(
        PictureMeasure(name=settings.title(name), evaluate=evaluate, compare=compare)
        for name, evaluate in _VALUES.items()
    )


@lru_cache(maxsize=CACHED_MODELS)
def _compare(
    net: FeatureNet, references: tuple[Media, ...], k: int, pictures: tuple[Media, ...]
) -> ComparedPictures:
    return ComparedPictures(net.vectors(pictures), _references(net, references, k))


@lru_cache(maxsize=CACHED_MODELS)
def _references(net: FeatureNet, pictures: tuple[Media, ...], k: int) -> ReferenceVectors:
    return ReferenceVectors(reference_vectors(net, pictures), k)
