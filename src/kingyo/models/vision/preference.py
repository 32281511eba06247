"""Preference models: the probability that people prefer a picture to an average one, from its features."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from kingyo.core.io.files import write_bytes
from kingyo.core.types import Media
from kingyo.errors import KingyoError
from kingyo.models.vision.features import FeatureNet, Vectors, load_feature_net
from kingyo.models.vision.frozen import stamps
from kingyo.models.vision.images import encode_png

FORMAT = "kingyo preference 1"
_TENSORS = ("mean", "scale", "weights", "probe")
_PROBE_SIDE = 96
_TOLERANCE = 1e-3
"""Allowed difference of the probe's features, relative to the largest. Versions of libraries differ by less,
other networks by more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PreferenceModel:
    """Weights on standardised features.

    Attributes:
        features: name of the network that describes pictures, see ``load_feature_net``.
        mean, scale: mean and deviation of the features of the pictures that people compared.
        weights: the logit of preferring one picture to another is their difference times these.
        probe: features of a fixed picture, which show whether a network is the one of the training.
    """

    features: str
    mean: Vectors
    scale: Vectors
    weights: Vectors
    probe: Vectors

    def probabilities(self, net: FeatureNet, pictures: Sequence[Media]) -> list[float]:
        """Return the probability that each picture is preferred to one with the mean features."""
        if not pictures:
            return []
        logits = ((net.vectors(pictures) - self.mean) / self.scale) @ self.weights
        return cast("list[float]", (0.5 * (1 + np.tanh(logits / 2))).tolist())


def probe_of(net: FeatureNet) -> Vectors:
    """Return the features of a fixed picture."""
    return net.vectors([_probe_picture()])[0]


@lru_cache(maxsize=1)
def _probe_picture() -> Media:
    from PIL import Image

    ramp = np.linspace(0, 255, _PROBE_SIDE).astype(np.uint8)
    across = np.broadcast_to(ramp, (_PROBE_SIDE, _PROBE_SIDE))
    return encode_png(Image.fromarray(np.stack([across, across.T, across[::-1, ::-1]], axis=-1)))


def save_preference(file: Path, model: PreferenceModel, facts: Mapping[str, object]) -> None:
    """Write a model as safetensors, with facts about its training in the metadata."""
    from safetensors.numpy import save

    tensors = {name: getattr(model, name).astype(np.float64) for name in _TENSORS}
    metadata = {"format": FORMAT, "features": model.features, "training": json.dumps(facts)}
    try:
        write_bytes(file, save(tensors, metadata))
    except OSError as error:
        raise KingyoError(
            str(file), "a file that can be written", error.strerror or str(error), "Name another."
        ) from error


def load_preference(file: Path, features: str | None = None) -> tuple[PreferenceModel, FeatureNet]:
    """Load a preference model and its network; equal names give one pair until their files change.

    Args:
        file: the safetensors file.
        features: folder of the network, if it has moved since the training.
    """
    model = _read(file, stamps(str(file)))
    net = load_feature_net(features or model.features)
    if not _fits(model, net):
        expected = f"the network that it was trained with ({model.features})"
        received = f"{features or model.features}, which describes a test picture differently"
        remedy = "Name the network of the training with `features`, or train the preference model again."
        raise KingyoError(str(file), expected, received, remedy)
    return model, net


@lru_cache(maxsize=4)
def _fits(model: PreferenceModel, net: FeatureNet) -> bool:
    probe, size = probe_of(net), float(np.abs(model.probe).max())
    is_alike = probe.shape == model.probe.shape
    return is_alike and float(np.abs(probe - model.probe).max()) <= _TOLERANCE * size


@lru_cache(maxsize=4)
def _read(file: Path, _stamps: object) -> PreferenceModel:
    import safetensors

    try:
        with cast("Any", safetensors).safe_open(file, "numpy") as content:
            facts = cast("dict[str, str]", content.metadata() or {})
            if facts.get("format") != FORMAT:
                raise ValueError(f"format {facts.get('format', 'unknown')!r:.60}")
            own: dict[str, Vectors] = {
                name: np.asarray(content.get_tensor(name), dtype=np.float64) for name in _TENSORS
            }
        if len({each.shape for each in own.values()}) > 1 or not all(map(_is_sound, own.values())):
            raise ValueError("tensors of different lengths, or numbers that are not finite")
    except Exception as error:  # a broken file may raise anything
        expected = "a preference model of kingyo"
        remedy = "Train one with `kingyo rate RUN --train FILE`."
        raise KingyoError(str(file), expected, f"{type(error).__name__}: {error}"[:300], remedy) from error
    return PreferenceModel(features=facts["features"], **own)


def _is_sound(values: Vectors) -> bool:
    return values.ndim == 1 and bool(np.isfinite(values).all())
