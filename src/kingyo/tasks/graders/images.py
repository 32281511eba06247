"""Graders of images: classifier, clip, style and preference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from kingyo.core.io.schema import Real
from kingyo.core.types import Item, Media
from kingyo.errors import KingyoError, suggest
from kingyo.models.vision.features import LITE0, LITE0_LIBRARIES, Vectors, load_feature_net, load_preference
from kingyo.models.vision.frozen import TwoTowers, load_classifier, load_two_towers
from kingyo.tasks.graders.grader import FilePath, register_grader
from kingyo.tasks.kinds import Text, fill_template
from kingyo.tasks.references import FeaturesPath, read_references, reference_vectors

SHOWN = 5
"""Number of classes that an error lists."""


@register_grader("classifier")
@dataclass(frozen=True, kw_only=True)
class ClassifierGrader:
    """Right if an image classifier finds the class of the item.

    Attributes:
        model: folder or Hub name of an image classifier of transformers.
        label: column of the class: a name in the classifier's id2label, or an index.
        soft: score the probability of the class, instead of whether it is the likeliest.
    """

    grades = "images"

    model: FilePath
    label: Text = "label"
    soft: Annotated[bool, Field(strict=True)] = False

    def check(self, items: Sequence[Item]) -> None:
        classes = load_classifier(self.model).classes
        for item in items:
            self._place(item, classes)

    def __call__(self, images: Sequence[Media], items: Sequence[Item]) -> list[float]:
        classifier = load_classifier(self.model)
        places = [self._place(item, classifier.classes) for item in items]
        probabilities = classifier.class_probabilities(images)
        if self.soft:
            return [own[place] for own, place in zip(probabilities, places, strict=True)]
        return [float(own.index(max(own)) == place) for own, place in zip(probabilities, places, strict=True)]

    def _place(self, item: Item, classes: Sequence[str]) -> int:
        label = item.fields.get(self.label)
        if label is None:
            received = f"'{self.label}', which {item.place} lacks"
            remedy = suggest(self.label, item.fields)
            raise KingyoError("grader.classifier: label", "a column of the task's data", received, remedy)
        if label in classes:
            return classes.index(label)
        if label.isascii() and label.isdigit() and int(label) < len(classes):
            return int(label)
        expected, remedy = f"a class of {self.model}", suggest(label, classes, SHOWN)
        raise KingyoError(f"{item.place}: {self.label}", expected, f"{label!r:.80}", remedy)


@register_grader("clip")
@dataclass(frozen=True, kw_only=True)
class ClipGrader:
    """Similarity of the image to a text, by a model of images and texts such as CLIP or SigLIP.

    Attributes:
        model: folder or Hub name of a CLIPModel, SiglipModel or a fine-tune, with safetensors.
        text: template of the text, with {column}; by default the prompt.
        score: clipscore (scale x cosine), probability (SigLIP), or preference (to an image with logit par).
        scale: factor of clipscore.
        par: with preference, the logit of the image that is compared with; use the mean of the base's.
        processor: folder or Hub name of image processor and tokenizer, if the model has none.
    """

    grades = "images"

    model: FilePath
    text: Text | None = None
    score: Literal["clipscore", "probability", "preference"] = "clipscore"
    scale: Annotated[Real, Field(gt=0)] = 2.5
    par: Real | None = None
    processor: FilePath | None = None

    def __post_init__(self) -> None:
        if self.score == "preference" and self.par is None:
            raise ValueError("`par:`, the mean logit of the base's images, with `score: preference`")

    def check(self, items: Sequence[Item]) -> None:
        towers = load_two_towers(self.model, self.processor)
        if self.score == "probability" and towers.bias is None:
            expected = "a SigLIP model, with `score: probability`"
            received = f"{self.model}, which has no logit_bias"
            raise KingyoError("grader.clip: score", expected, received, "Use `score: clipscore`.")
        for item in items:
            self._text_of(item)

    def __call__(self, images: Sequence[Media], items: Sequence[Item]) -> list[float]:
        towers = load_two_towers(self.model, self.processor)
        cosines = towers.cosines(images, [self._text_of(item) for item in items])
        return [self._scored(cosine, towers) for cosine in cosines]

    def _scored(self, cosine: float, towers: TwoTowers) -> float:
        if self.score == "clipscore":
            return float(np.clip(self.scale * cosine, 0, 1))  # NaN stays: it is no score
        shift = towers.bias if self.score == "probability" else -(self.par or 0.0)
        logit = towers.scale * cosine + (shift or 0.0)
        return 0.5 * (1 + math.tanh(logit / 2))

    def _text_of(self, item: Item) -> str:
        return item.prompt if self.text is None else fill_template(self.text, item.fields, item.place)


Share = Annotated[Real, Field(ge=-1, le=1)]


@register_grader("style")
@dataclass(frozen=True, kw_only=True)
class StyleGrader:
    """Similarity to reference images: the mean cosine with the nearest of them in a network's features.

    Attributes:
        folder: folder of the reference images.
        features: network that describes images: efficientnet-lite0, a folder or a Hub name.
        k: number of nearest references.
        low: mean cosine that scores 0.
        high: mean cosine that scores 1.
    """

    grades = "images"
    libraries = LITE0_LIBRARIES

    folder: FilePath
    features: FeaturesPath = LITE0
    k: Annotated[int, Field(ge=1, strict=True)] = 5
    low: Share = 0.0
    high: Share = 1.0

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError("low below high")

    def check(self, _items: Sequence[Item]) -> None:
        self._references()
        load_feature_net(self.features)

    def __call__(self, images: Sequence[Media], _items: Sequence[Item]) -> list[float]:
        net = load_feature_net(self.features)
        cosines = _unit(net.vectors(images)) @ _unit(reference_vectors(net, self._references())).T
        nearest = np.sort(cosines, axis=1)[:, -self.k :].mean(axis=1)
        return [float(each) for each in np.clip((nearest - self.low) / (self.high - self.low), 0, 1)]

    def _references(self) -> tuple[Media, ...]:
        return read_references(self.folder, "grader.style: folder")


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


@register_grader("preference")
@dataclass(frozen=True, kw_only=True)
class PreferenceGrader:
    """Probability that people prefer the image to an average one, by a model trained on their choices.

    Attributes:
        model: file that `kingyo rate RUN --train FILE` wrote.
        features: the network of the training, if its folder has moved since.
    """

    grades = "images"
    libraries = LITE0_LIBRARIES

    model: FilePath
    features: FeaturesPath | None = None

    def check(self, _items: Sequence[Item]) -> None:
        load_preference(Path(self.model), self.features)

    def __call__(self, images: Sequence[Media], _items: Sequence[Item]) -> list[float]:
        model, net = load_preference(Path(self.model), self.features)
        return model.probabilities(net, images)
