"""Folders of reference images, and set measures of images against one: KID and FID."""

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
from kingyo.models.vision.set_comparison import ComparedImages, Places, ReferenceVectors
from kingyo.tasks.graders.grader import FilePath, IsPath
from kingyo.tasks.rows import image_file

FeaturesPath = Annotated[str, Field(min_length=1), IsPath((LITE0,))]
"""A network that describes images: a folder, its name on the Hub, or efficientnet-lite0."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


def read_references(folder: str, argument: str, fewest: int = 1) -> tuple[Media, ...]:
    """Return the images in a folder and in those below it, by name; ``argument`` names it in errors."""
    root = Path(folder)
    files = (
        [each for each in deciding_files(root) if each.suffix.lower() in SUFFIXES] if root.is_dir() else []
    )
    if len(files) < fewest:
        found = counted(len(files), "image") if root.is_dir() else "no such folder"
        expected = f"a folder with at least {counted(fewest, 'image')}"
        remedy = f"Correct the path, or add images ({', '.join(sorted(SUFFIXES))})."
        raise KingyoError(argument, expected, f"{found}: {folder}", remedy)
    return tuple(map(_image_file, files))


_image_file = kept_until_files_change(image_file)


@lru_cache(maxsize=8)
def reference_vectors(net: FeatureNet, images: tuple[Media, ...]) -> Vectors:
    """Return the vectors of reference images; equal images are computed once per process."""
    return net.vectors(images)


_TITLES = {"kid": "−KID", "fid": "−FID"}
_VALUES: dict[str, Callable[[ComparedImages, Places], float]] = {
    "kid": lambda images, places: -images.kid(places),
    "fid": lambda images, places: -images.fid(places),
}
CACHED_MODELS = 4
"""Number of models whose vectors are kept, since all measures of a model use the same ones."""


class ReferenceSettings(BaseModel):
    """The option ``references`` of ``draw``.

    Attributes:
        folder: the folder of reference images.
        features: the network that describes images: ``efficientnet-lite0``, a folder or a Hub name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    libraries: ClassVar = LITE0_LIBRARIES

    folder: FilePath
    features: FeaturesPath = LITE0

    def title(self, measure: str) -> str:
        titles = {name: f"{title} ({net_title(self.features)})" for name, title in _TITLES.items()}
        if measure not in (*titles, *titles.values()):
            raise KingyoError(
                "measure", f"one of {', '.join(titles)}", f"'{measure}'", suggest(measure, titles)
            )
        return titles.get(measure, measure)


class ComparedImage(NamedTuple):
    """One image of a compared set, by its index: what half of a set is drawn from."""

    place: int
    images: ComparedImages


@dataclass(frozen=True, kw_only=True)
class ImageMeasure:
    """A measure of a set of images against references; larger is better."""

    name: str
    evaluate: Callable[[ComparedImages, Places], float]  # returns the measure of some of the images
    compare: Callable[[tuple[Media, ...]], ComparedImages]  # describes images by vectors

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[ComparedImage]:
        images = tuple(score.media for score in scores if score.media is not None)
        if len(images) < len(items):
            raise ValueError(f"{len(items) - len(images)} answers without an image")
        compared = self.compare(images)
        return [ComparedImage(place, compared) for place in range(len(images))]

    def value(self, features: Sequence[object]) -> float:
        chosen = cast("Sequence[ComparedImage]", features)
        return self.evaluate(chosen[0].images, np.array([each.place for each in chosen]))


def image_measures(settings: ReferenceSettings, folder: Path) -> tuple[SetMeasure, ...]:
    """Return the set measures of images, after reading the references and loading the network."""
    references = str(local_path(settings.folder, folder).resolve())
    images = read_references(references, "references.folder", 2)
    compare = partial(_compare, load_feature_net(net_path(settings.features, folder)), images)
    return tuple(
        ImageMeasure(name=settings.title(name), evaluate=evaluate, compare=compare)
        for name, evaluate in _VALUES.items()
    )


@lru_cache(maxsize=CACHED_MODELS)
def _compare(net: FeatureNet, references: tuple[Media, ...], images: tuple[Media, ...]) -> ComparedImages:
    return ComparedImages(net.vectors(images), _references(net, references))


@lru_cache(maxsize=CACHED_MODELS)
def _references(net: FeatureNet, images: tuple[Media, ...]) -> ReferenceVectors:
    return ReferenceVectors(reference_vectors(net, images))
