"""The index of a diffusers pipeline: its components and their classes."""

from collections.abc import Mapping
from typing import cast

PIPELINE = "model_index.json"
"""Name of the index, in the folder above the components."""
DENOISERS = ("unet", "transformer")
"""Components that remove noise."""


def component_classes(index: Mapping[str, object]) -> dict[str, str]:
    """Return the class of each component; optional components that a pipeline lacks are left out.

    Example:
        >>> component_classes({"_class_name": "P", "vae": ["diffusers", "AutoencoderKL"], "x": [None, None]})
        {'vae': 'AutoencoderKL'}
    """
    pairs = {name: cast("list[object]", pair) for name, pair in index.items() if isinstance(pair, list)}
    classes = {name: pair[1] for name, pair in pairs.items() if len(pair) == 2}
    return {name: kind for name, kind in classes.items() if isinstance(kind, str)}


def denoiser_of(config: Mapping[str, object]) -> str:
    """Return the component that a denoiser is, by the class in its config.json; ``unet`` without a class."""
    return "transformer" if "Transformer" in str(config.get("_class_name")) else "unet"
