"""The grader that predicts people's choices between pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kingyo.tasks.graded_settings import Text
from kingyo.tasks.picture_grader import register_picture_grader
from kingyo.types import Item, Media
from kingyo.vision.features import LITE0
from kingyo.vision.preference import load_preference


@register_picture_grader("preference")
@dataclass(frozen=True, kw_only=True)
class PreferenceGrader:
    """Probability that people prefer the picture to an average one, by a model trained on their choices.

    Attributes:
        model: file that `kingyo rate RUN --train FILE` wrote.
        features: the network of the training, if its folder has moved since.
    """

    paths = ("model", "features")
    known_names = (LITE0,)

    model: Text
    features: Text | None = None

    def check(self, items: Sequence[Item]) -> None:  # noqa: ARG002 (part of the protocol)
        """Load the model and its network."""
        load_preference(Path(self.model), self.features)

    def __call__(self, pictures: Sequence[Media], items: Sequence[Item]) -> list[float]:  # noqa: ARG002 (part of the protocol)
        """Return the probability that people prefer each picture."""
        model, net = load_preference(Path(self.model), self.features)
        return model.probabilities(net, pictures)
