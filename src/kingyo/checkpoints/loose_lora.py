"""A LoRA as diffusers and kohya's scripts write it: one file, no config. Its tensors under the names of peft.

Such a file may hold LoRAs of several components of a pipeline, of which one is merged at a time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from kingyo.checkpoints.header import TensorInfo
from kingyo.checkpoints.ldm_names import ldm_names
from kingyo.checkpoints.mapping import map_tensor
from kingyo.checkpoints.matching import find_tensor
from kingyo.errors import KingyoError, told

if TYPE_CHECKING:
    from kingyo.checkpoints.checkpoint import Checkpoint
    from kingyo.checkpoints.lora_config import LoraConfig

METADATA = "lora_adapter_metadata"
"""Where diffusers keeps the configs of peft: JSON in the header."""

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
"""How the names of tensors end -> what they are to peft."""

_OTHER_TOOL = "Only plain LoRA and DoRA are read: merge it with the tool that made it, and name the result."

Modules = dict[str, dict[str, TensorInfo]]
"""Module -> part, as peft calls it -> tensor."""


@dataclass(frozen=True, kw_only=True)
class StatedScales:
    """What decides how the tensors are added where no config says it; see ``LoraConfig``.

    Attributes:
        ranks: of each module.
        alphas: of modules that state one; elsewhere it is the rank, and the scale is 1.
        use_dora: whether there are magnitudes.
    """

    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    use_dora: bool
    fan_in_fan_out: bool = field(default=False, init=False)
    base_model_name_or_path: str = field(default="", init=False)

    def rank(self, module: str) -> int:
        """The rank of a module's update."""
        return self.ranks[module]

    def scale(self, module: str) -> float:
        """What B @ A is multiplied by: alpha / rank."""
        return self.alphas.get(module, self.ranks[module]) / self.ranks[module]


@dataclass(frozen=True, kw_only=True)
class LooseLora:
    """The LoRA of one component.

    Attributes:
        tensors: by the names that peft would give them.
        config: how they are added.
        others: the components of which the file holds LoRAs as well.
    """

    tensors: Mapping[str, TensorInfo]
    config: LoraConfig | StatedScales
    others: tuple[str, ...]


def read_loose(
    reference: str, tensors: Mapping[str, TensorInfo], metadata: Mapping[str, str], model: Checkpoint
) -> LooseLora:
    """Find what a file of LoRAs holds for a model.

    Args:
        reference: what the user wrote to name the file.
        tensors: what it holds.
        metadata: the texts in its header.
        model: a component of a pipeline, or a model by itself.

    Raises:
        KingyoError: it holds nothing for the model, or what is neither LoRA nor DoRA.
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
            remedy="Save or fetch it again.",
        )
    if not (
        stated or alphas or component or "_class_name" in model.config
    ):  # peft's names, without its config
        raise KingyoError(
            reference,
            expected="an adapter_config.json beside it, which says lora_alpha",
            received="a file alone",
            remedy="Name the folder that peft has written.",
        )
    return LooseLora(
        tensors={f"{name}.{part}": info for name, parts in modules.items() for part, info in parts.items()},
        config=_config(reference, stated) if stated else _scales(reference, modules, alphas),
        others=tuple(sorted(filter(None, groups.keys() - {component}))),
    )


def _by_component(reference: str, tensors: Mapping[str, TensorInfo], model: Checkpoint) -> dict[str, Modules]:
    """What the file holds, by component; "" where names begin with none."""
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
                remedy="Two of its names mean the same: save or fetch it again.",
            )
    return groups


def _split(name: str, flat: Mapping[str, str]) -> tuple[str, str]:
    """The component and the module that a name speaks of."""
    if kohya := _KOHYA.fullmatch(name):
        rest = kohya["rest"]
        module = flat.get(rest) or flat.get(rest.removeprefix("text_model_")) or rest
        return _ENCODERS.get(kohya["component"], kohya["component"]), module
    found = _DIFFUSERS.fullmatch(name)
    component, module = (found["component"], found["rest"]) if found else ("", name)
    if ".processor." in module:  # of diffusers before 0.22
        module = module.replace(".processor.", ".")
        module = f"{module}.0" if module.endswith(".to_out") else module
    return component, module


def _choose(reference: str, groups: Mapping[str, Modules], model: Checkpoint) -> str:
    """The component that the model is: by its folder in a pipeline, else the one whose modules it has."""
    n_found = {
        name: sum(find_tensor(model, f"{module}.weight") is not None for module in modules)
        for name, modules in groups.items()
    }
    known = {model.path.name, ""} if model.pipeline is not None else set(groups)
    fits = [name for name, n in n_found.items() if n and name in known]
    if len(fits) > 1:
        fits = [name for name in fits if n_found[name] == len(groups[name])]
    if len(fits) == 1:
        return fits[0]
    parts = next(iter(next(iter(groups.values())).values()))
    components = sorted(filter(None, groups))
    named = f"a LoRA of {told(components, 3)}, with names" if components else "names"
    behind = f": of pipelines name the component, as sdxl/{components[0]}+lora" if components else ""
    raise KingyoError(
        reference,
        expected=f"a LoRA of {model.reference}",
        received=f"{named} such as '{next(iter(parts.values())).name}'",
        remedy=f"Name the model that it was made for{behind}.",
    )


def _alpha(reference: str, info: TensorInfo) -> float:
    value = float(map_tensor(info)) if info.n_elements == 1 else math.nan
    if not math.isfinite(value):
        raise KingyoError(
            f"{reference}: {info.name}",
            expected="one finite number",
            received=f"{list(info.shape)}" if info.n_elements != 1 else f"{value}",
            remedy="Save or fetch it again.",
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
            remedy="Save or fetch it again.",
        )
    return down.shape[0]


def _stated(reference: str, metadata: Mapping[str, str], component: str) -> Mapping[str, object]:
    """What the header says of a component's LoRA, in peft's words; nothing where it says nothing."""
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
            remedy="Save or fetch it again.",
        )
    begin = f"{component}." if component else ""
    keys = cast("dict[str, object]", parsed).items()
    return {key.removeprefix(begin): value for key, value in keys if key.startswith(begin)}


def _config(reference: str, stated: Mapping[str, object]) -> LoraConfig:
    from kingyo.checkpoints.lora_config import read_config

    return read_config({"peft_type": "LORA", **stated}, reference)


def _flat_names(model: Checkpoint) -> dict[str, str]:
    """The names of modules as kohya writes them, dots as underscores -> the names in the model."""
    modules = [name.removesuffix(".weight") for name in model.tensors if name.endswith(".weight")]
    aliases = ((alias, module) for module in modules for alias in ldm_names(module, modules, model.config))
    every = [*aliases, *((module, module) for module in modules)]
    return {name.replace(".", "_"): module for name, module in every}
