"""Read a LoRA in the format of diffusers or kohya's scripts (one file, no config) under peft's names.

Such a file may hold LoRAs of several components of a pipeline; one is read at a time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.header import TensorInfo
from kingyo.checkpoints.ldm_names import ldm_names
from kingyo.checkpoints.lora_matching import find_tensor
from kingyo.checkpoints.mapped_tensors import map_tensor
from kingyo.errors import KingyoError, listed

if TYPE_CHECKING:  # pydantic is slow to import
    from kingyo.checkpoints.lora_config import LoraConfig

METADATA = "lora_adapter_metadata"
"""diffusers' key for peft's configs: JSON in the header."""

_DIFFUSERS = re.compile(r"(?P<component>unet|prior|(?:transformer|text_encoder)(?:_\d)?)\.(?P<rest>.+)")
_KOHYA = re.compile(r"lora_(?P<component>unet|transformer|te\d?)_(?P<rest>.+)")
_ENCODERS = {"te": "text_encoder", "te1": "text_encoder", "te2": "text_encoder_2", "te3": "text_encoder_3"}
_A, _B, _ALPHA, _MAGNITUDE = "lora_A.weight", "lora_B.weight", "alpha", "lora_magnitude_vector"
_ENDS = {
    ".lora_linear_layer.down.weight": _A,
    ".lora_linear_layer.up.weight": _B,
    ".lora.down.weight": _A,
    ".lora.up.weight": _B,
    "_lora.down.weight": _A,
    "_lora.up.weight": _B,
    ".lora_down.weight": _A,
    ".lora_up.weight": _B,
    ".lora_A.weight": _A,
    ".lora_B.weight": _B,
    ".lora_B.bias": "lora_B.bias",
    ".lora_magnitude_vector": _MAGNITUDE,
    ".lora_magnitude_vector.weight": _MAGNITUDE,
    ".alpha": _ALPHA,
}
"""Suffix of a tensor's name -> peft's name of the part."""

_OTHER_TOOL = "Merge it with the tool that wrote it, and name the result: kingyo reads only LoRA and DoRA."
_AGAIN = "Save or fetch the file again."

Modules = dict[str, dict[str, TensorInfo]]
"""Module -> peft's name of a part -> tensor."""


@dataclass(frozen=True, kw_only=True)
class StatedScales:
    """The substitute for a ``LoraConfig`` that follows from the tensors.

    Attributes:
        ranks: rank of each module.
        alphas: alpha of modules that state one; elsewhere it equals the rank.
        use_dora: whether there are magnitudes.
    """

    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    use_dora: bool
    fan_in_fan_out: bool = field(default=False, init=False)
    base_model_name_or_path: str = field(default="", init=False)

    def rank(self, module: str) -> int:
        """Return the rank of a module's update."""
        return self.ranks[module]

    def scale(self, module: str) -> float:
        """Return the factor of B @ A: alpha / rank."""
        return self.alphas.get(module, self.ranks[module]) / self.ranks[module]


@dataclass(frozen=True, kw_only=True)
class LooseLora:
    """The LoRA of one component.

    Attributes:
        tensors: its tensors under peft's names.
        config: ranks and scales.
        others: other components that the file holds LoRAs for.
    """

    tensors: Mapping[str, TensorInfo]
    config: LoraConfig | StatedScales
    others: tuple[str, ...]


def read_loose(
    reference: str, tensors: Mapping[str, TensorInfo], metadata: Mapping[str, str], model: Checkpoint
) -> LooseLora:
    """Find the LoRA for a model in a file.

    Args:
        reference: what the user wrote to name the file.
        tensors: the tensors in the file.
        metadata: the metadata in its header.
        model: the model, which may be a component of a pipeline.

    Raises:
        KingyoError: the file has no LoRA for the model, or holds other tensors than LoRA and DoRA.
    """
    groups = _by_component(reference, tensors, model)
    component = _choose(reference, groups, model)
    modules = groups[component]
    alphas = {
        name: _alpha(reference, parts.pop(_ALPHA)) for name, parts in modules.items() if _ALPHA in parts
    }
    stated = _stated(reference, metadata, component)
    if stated and alphas:
        raise KingyoError(
            reference,
            expected=f"alphas as tensors or in {METADATA}",
            received="both",
            remedy=_AGAIN,
        )
    if not (stated or alphas or component or "_class_name" in model.config):  # peft's names, without a config
        raise KingyoError(
            reference,
            expected="an adapter_config.json with lora_alpha in the same folder",
            received="a file without one",
            remedy="Name the folder that peft has written.",
        )
    return LooseLora(
        tensors={f"{name}.{part}": info for name, parts in modules.items() for part, info in parts.items()},
        config=_config(reference, stated) if stated else _scales(reference, modules, alphas),
        others=tuple(sorted(filter(None, groups.keys() - {component}))),
    )


def _by_component(reference: str, tensors: Mapping[str, TensorInfo], model: Checkpoint) -> dict[str, Modules]:
    """Return the modules of a file by component; "" if names begin with none."""
    flat = _flat_names(model)
    groups: dict[str, Modules] = {}
    for name, info in tensors.items():
        end = next((each for each in _ENDS if name.endswith(each)), None)
        if end is None:
            raise KingyoError(
                f"{reference}: {name}",
                expected="a part of a LoRA",
                received="something else",
                remedy=_OTHER_TOOL,
            )
        component, module = _split(name.removesuffix(end), flat)
        if groups.setdefault(component, {}).setdefault(module, {}).setdefault(_ENDS[end], info) is not info:
            raise KingyoError(
                f"{reference}: {name}",
                expected="one tensor for each part of a LoRA",
                received=f"a second one for {module}",
                remedy=f"{_AGAIN} Two of its names mean the same tensor.",
            )
    return groups


def _split(name: str, flat: Mapping[str, str]) -> tuple[str, str]:
    """Return the component and the module in a name."""
    if kohya := _KOHYA.fullmatch(name):
        rest = kohya["rest"]
        module = flat.get(rest) or flat.get(rest.removeprefix("text_model_")) or rest
        return _ENCODERS.get(kohya["component"], kohya["component"]), module
    diffusers = _DIFFUSERS.fullmatch(name)
    component, module = (diffusers["component"], diffusers["rest"]) if diffusers else ("", name)
    if ".processor." in module:  # diffusers before 0.22
        module = module.replace(".processor.", ".")
        module = f"{module}.0" if module.endswith(".to_out") else module
    return component, module


def _choose(reference: str, groups: Mapping[str, Modules], model: Checkpoint) -> str:
    """Return the component of the model: by its folder in a pipeline, else the one with its modules."""
    n_matched = {
        name: sum(find_tensor(model, f"{module}.weight") is not None for module in modules)
        for name, modules in groups.items()
    }
    possible = {model.path.name, ""} if model.pipeline is not None else set(groups)
    fits = [name for name, n in n_matched.items() if n and name in possible]
    if len(fits) > 1:
        fits = [name for name in fits if n_matched[name] == len(groups[name])]
    if len(fits) == 1:
        return fits[0]
    parts = next(iter(next(iter(groups.values())).values()))
    components = sorted(filter(None, groups))
    contents = f"a LoRA of {listed(components, 3)}, with names" if components else "names"
    hint = f"; for a pipeline, name the component, as in sdxl/{components[0]}+lora" if components else ""
    raise KingyoError(
        reference,
        expected=f"a LoRA of {model.reference}",
        received=f"{contents} such as '{next(iter(parts.values())).name}'",
        remedy=f"Name the model that it was trained on{hint}.",
    )


def _alpha(reference: str, info: TensorInfo) -> float:
    value = float(map_tensor(info)) if info.n_elements == 1 else math.nan
    if not math.isfinite(value):
        raise KingyoError(
            f"{reference}: {info.name}",
            expected="one finite number",
            received=f"a tensor of shape {list(info.shape)}" if info.n_elements != 1 else f"{value}",
            remedy=_AGAIN,
        )
    return value


def _scales(reference: str, modules: Modules, alphas: Mapping[str, float]) -> StatedScales:
    ranks = {name: _rank(f"{reference}: {name}", parts) for name, parts in modules.items()}
    use_dora = any(_MAGNITUDE in parts for parts in modules.values())
    return StatedScales(ranks=ranks, alphas=alphas, use_dora=use_dora)


def _rank(where: str, parts: Mapping[str, TensorInfo]) -> int:
    down = parts.get(_A)
    if down is None or not down.shape or not down.shape[0]:
        raise KingyoError(
            where,
            expected=f"{_A} and {_B} of a rank above 0",
            received=", ".join(f"{part} {list(info.shape)}" for part, info in parts.items()) or _ALPHA,
            remedy=_AGAIN,
        )
    return down.shape[0]


def _stated(reference: str, metadata: Mapping[str, str], component: str) -> Mapping[str, object]:
    """Return peft's config of a component's LoRA from the header; empty if it has none."""
    text = metadata.get(METADATA, "{}")
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise KingyoError(
            f"{reference}: {METADATA}",
            expected="JSON that maps keys to values",
            received=f"{text!r:.80}",
            remedy=_AGAIN,
        )
    begin = f"{component}." if component else ""
    keys = cast("dict[str, object]", parsed).items()
    return {key.removeprefix(begin): value for key, value in keys if key.startswith(begin)}


def _config(reference: str, stated: Mapping[str, object]) -> LoraConfig:
    from kingyo.checkpoints.lora_config import read_config

    return read_config({"peft_type": "LORA", **stated}, reference)


def _flat_names(model: Checkpoint) -> dict[str, str]:
    """Return kohya's names of modules, with underscores for dots -> the names in the model."""
    modules = [name.removesuffix(".weight") for name in model.tensors if name.endswith(".weight")]
    aliases = ((alias, module) for module in modules for alias in ldm_names(module, modules, model.config))
    every = [*aliases, *((module, module) for module in modules)]
    return {name.replace(".", "_"): module for name, module in every}
