"""Set measures of pictures against a folder of references: KID, FID, precision and recall."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, cast

import numpy as np
from pydantic import Field

from kingyo.errors import KingyoError, suggest
from kingyo.io.model_names import local_path
from kingyo.tasks.graded_settings import Text
from kingyo.tasks.references import read_references, reference_vectors
from kingyo.types import Item, ItemScore, Media, SetMeasure
from kingyo.vision.features import LITE0, FeatureNet, load_feature_net, net_path, net_title
from kingyo.vision.set_comparison import ComparedPictures, Places, ReferenceVectors

Measure = Literal["kid", "fid", "precision", "recall"]
MEASURES: tuple[Measure, ...] = ("kid", "fid", "precision", "recall")
_TITLES = {"kid": "−KID", "fid": "−FID", "precision": "precision", "recall": "recall"}
_VALUES: dict[str, Callable[[ComparedPictures, Places], float]] = {
    "kid": lambda pictures, places: -pictures.kid(places),
    "fid": lambda pictures, places: -pictures.fid(places),
    "precision": ComparedPictures.precision,
    "recall": ComparedPictures.recall,
}
CACHED_MODELS = 4
"""Number of models whose vectors are kept, since all measures of a model use the same ones."""


def require_known_keys(value: object) -> object:
    """Refuse a mapping with a key that ``ReferenceSettings`` lacks."""
    known = [field.name for field in fields(ReferenceSettings)]
    given = cast("Mapping[str, object]", value) if isinstance(value, Mapping) else dict[str, object]()
    for key in given:
        if key not in known:
            raise KingyoError("", expected="a known key", received=f"'{key}'", remedy=suggest(key, known))
    return cast("object", value)


@dataclass(frozen=True, kw_only=True)
class ReferenceSettings:
    """The option ``references`` of ``draw``.

    Attributes:
        folder: the folder of reference pictures.
        features: the network that describes pictures: ``efficientnet-lite0``, a folder or a Hub name.
        k: neighbours that decide the radius of a picture, for precision and recall.
        measures: which measures are computed.
    """

    folder: Text
    features: Text = LITE0
    k: Annotated[int, Field(ge=1, le=1000, strict=True)] = 3
    measures: Annotated[tuple[Measure, ...], Field(min_length=1)] = MEASURES

    def title(self, measure: str) -> str:
        """Return the full name of a measure, which names the network, such as −KID (efficientnet-lite0)."""
        names = [*self.measures, *map(self._title, self.measures)]
        if measure not in names:
            raise KingyoError(
                "measure",
                expected=f"one of {', '.join(self.measures)}",
                received=f"'{measure}'",
                remedy=suggest(measure, self.measures),
            )
        return self._title(measure) if measure in _TITLES else measure

    def _title(self, measure: str) -> str:
        return f"{_TITLES[measure]} ({net_title(self.features)})"


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

    Raises:
        KingyoError: the folder has too few images or a broken one, or the network cannot be loaded.
    """
    references = str(local_path(settings.folder, folder).resolve())
    pictures = read_references(references, "references.folder", settings.k + 1)
    compare = partial(_compare, load_feature_net(net_path(settings.features, folder)), pictures, settings.k)
    return tuple(
        PictureMeasure(name=settings.title(each), evaluate=_VALUES[each], compare=compare)
        for each in settings.measures
    )


@lru_cache(maxsize=CACHED_MODELS)
def _compare(
    net: FeatureNet, references: tuple[Media, ...], k: int, pictures: tuple[Media, ...]
) -> ComparedPictures:
    return ComparedPictures(net.vectors(pictures), _references(net, references, k))


@lru_cache(maxsize=CACHED_MODELS)
def _references(net: FeatureNet, pictures: tuple[Media, ...], k: int) -> ReferenceVectors:
    return ReferenceVectors(reference_vectors(net, pictures), k)
