"""A second, simple implementation of the values that a recipe gives one tensor.

Precedence: slice source, then slice, then module, then recipe; of whole models the model, then module, then
recipe. A level applies if one of its filters matches; the first that does. Filters look at the name that the
source has the tensor by. A list is a gradient over the
layers of the slice (of the model, without slices): 0 is the first, 1 the last, a single layer is the last;
tensors before the layers follow the first slice at 0, those behind them the last slice at 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

Yaml = Mapping[str, Any]
AFTER = ("model.norm.weight", "lm_head.weight")


def value(recipe: Yaml, parameter: str, source: int, tensor: str, n_layers: int) -> float | None:
    """The value of a parameter for one source and one tensor of the output of a recipe on Llamas.

    Args:
        recipe: the YAML.
        parameter: its name.
        source: position among the sources of the tensor's slice.
        tensor: its name in the output.
        n_layers: of whole models.
    """
    module = next(iter(recipe["modules"].values())) if "modules" in recipe else recipe
    layer = re.search(r"layers\.(\d+)\.", tensor)
    if "models" in module:
        levels = [module["models"][source], module, recipe]
        number, count = (int(layer[1]), n_layers) if layer else (None, 0)
    else:
        chosen, number, count = _slice(module["slices"], tensor, int(layer[1]) if layer else None)
        levels = [chosen["sources"][source], chosen, module, recipe]
        if number is not None:
            own = chosen["sources"][source]["layer_range"][0] + number
            tensor = re.sub(r"layers\.\d+\.", f"layers.{own}.", tensor)
    if number is None:
        depth = 1.0 if tensor in AFTER else 0.0
    else:
        depth = number / (count - 1) if count > 1 else 1.0
    for level in levels:
        values = _speaks(level.get("parameters", {}).get(parameter), tensor)
        if isinstance(values, list) and len(values) > 1:
            return float(np.interp(depth, np.linspace(0, 1, len(values)), values))
        if values is not None:
            return values[0] if isinstance(values, list) else values
    return None


def _slice(slices: list[Yaml], tensor: str, layer: int | None) -> tuple[Yaml, int | None, int]:
    """The slice of a tensor, the number of its layer within, and how many layers the slice has."""
    if layer is None:
        return slices[-1 if tensor in AFTER else 0], None, 0
    for each in slices:
        first, end = each["sources"][0]["layer_range"]
        if layer < end - first:
            return each, layer, end - first
        layer -= end - first
    raise AssertionError("no such layer")


def _speaks(message: Any, tensor: str) -> Any:
    if isinstance(message, list) and message and isinstance(message[0], dict):
        for entry in message:
            if entry.get("filter") in (None, "*") or entry["filter"] in tensor:
                return entry["value"]
        return None
    return message
