"""Graders that use a model of images and texts: CLIP and SigLIP, PickScore and HPSv2, aesthetics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from kingyo.errors import KingyoError
from kingyo.io.schema import Real
from kingyo.tasks.graded_settings import Text
from kingyo.tasks.picture_grader import register_picture_grader
from kingyo.tasks.text import fill_template
from kingyo.types import Item, Media
from kingyo.vision.two_towers import TwoTowers, load_head, load_two_towers


@register_picture_grader("clip")
@dataclass(frozen=True, kw_only=True)
class ClipGrader:
    """Similarity of the picture to a text, by a model of images and texts such as CLIP or SigLIP.

    Attributes:
        model: folder or Hub name of a CLIPModel, SiglipModel or a fine-tune, with safetensors.
        text: template of the text, with {column}; by default the prompt.
        score: clipscore (scale x cosine), probability (SigLIP), or preference (to a picture with logit par).
        scale: factor of clipscore.
        par: with preference, the logit of the picture that is compared with; use the mean of the base's.
        processor: folder or Hub name of image processor and tokenizer, if the model has none.
    """

    paths = ("model", "processor")

    model: Text
    text: Text | None = None
    score: Literal["clipscore", "probability", "preference"] = "clipscore"
    scale: Annotated[Real, Field(gt=0)] = 2.5
    par: Real | None = None
    processor: Text | None = None

    def check(self, items: Sequence[Item]) -> None:
        """Load the model, and check that it has the score, and that the items have the text."""
        towers = load_two_towers(self.model, self.processor)
        if self.score == "preference" and self.par is None:
            raise KingyoError(
                "grader.clip: par",
                expected="the logit of an average picture, with `score: preference`",
                received="nothing",
                remedy="Write the mean logit of the base's pictures, such as `par: 20` for PickScore.",
            )
        if self.score == "probability" and towers.bias is None:
            raise KingyoError(
                "grader.clip: score",
                expected="a SigLIP model, with `score: probability`",
                received=f"{self.model}, which has no logit_bias",
                remedy="Use `score: clipscore`.",
            )
        for item in items:
            self._text_of(item)

    def __call__(self, pictures: Sequence[Media], items: Sequence[Item]) -> list[float]:
        """Return the score of each picture with the text of its item."""
        towers = load_two_towers(self.model, self.processor)
        cosines = towers.cosines(pictures, [self._text_of(item) for item in items])
        return [self._scored(cosine, towers) for cosine in cosines]

    def _scored(self, cosine: float, towers: TwoTowers) -> float:
        if self.score == "clipscore":
            return _within_0_and_1(self.scale * cosine)
        shift = towers.bias if self.score == "probability" else -(self.par or 0.0)
        return _sigmoid(towers.scale * cosine + (shift or 0.0))

    def _text_of(self, item: Item) -> str:
        return item.prompt if self.text is None else fill_template(self.text, item.fields, item.place)


@register_picture_grader("aesthetic")
@dataclass(frozen=True, kw_only=True)
class AestheticGrader:
    """How good a picture looks: a linear or multi-layer head on the image features of CLIP.

    Attributes:
        model: folder or Hub name of the CLIPModel whose features the head was trained on.
        head: safetensors file of the head, with layers in the order of the numbers in their names.
        activation: function between the layers: none or relu.
        low: rating that scores 0.
        high: rating that scores 1.
        processor: folder or Hub name of image processor and tokenizer, if the model has none.
    """

    paths = ("model", "head", "processor")

    model: Text
    head: Text
    activation: Literal["none", "relu"] = "none"
    low: Real = 1.0
    high: Real = 10.0
    processor: Text | None = None

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError("low below high")

    def check(self, items: Sequence[Item]) -> None:  # noqa: ARG002 (part of the protocol)
        """Load the model and the head."""
        self._ratings(())

    def __call__(self, pictures: Sequence[Media], items: Sequence[Item]) -> list[float]:  # noqa: ARG002 (part of the protocol)
        """Return the rating of each picture, from low (0) to high (1)."""
        shares = ((rating - self.low) / (self.high - self.low) for rating in self._ratings(pictures))
        return [_within_0_and_1(share) for share in shares]

    def _ratings(self, pictures: Sequence[Media]) -> list[float]:
        towers = load_two_towers(self.model, self.processor)
        head = load_head(Path(self.head), self.activation, towers.width)
        return head.ratings(towers.image_vectors(pictures)) if pictures else []


def _within_0_and_1(number: float) -> float:
    """Return the nearest number from 0 to 1; NaN stays, so that it is no score."""
    return number if math.isnan(number) else min(1.0, max(0.0, number))


def _sigmoid(logit: float) -> float:
    return 0.5 * (1 + math.tanh(logit / 2))
