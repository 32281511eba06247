"""Open a LoRA adapter on disk, in the format of peft, diffusers or kohya's scripts.

peft writes a folder with a config. The others write one file, which may hold LoRAs of several components of a
pipeline; one is read at a time, under peft's names of parts.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field, StrictBool

from kingyo.core.io.schema import parse_settings
from kingyo.core.io.yaml import parse_json, read_json
from kingyo.errors import KingyoError, listed
from kingyo.merging.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS, PICKLE, WEIGHTS, Adapter, LoraModule
from kingyo.merging.checkpoints.checkpoint import Checkpoint
from kingyo.merging.checkpoints.folder_files import require_tensors, unread_weights_error
from kingyo.merging.checkpoints.header import (
    TensorInfo,
    file_stamps,
    map_tensor,
    read_header,
    read_header_and_metadata,
    read_pickle,
)
from kingyo.merging.checkpoints.lora_keys import (
    ALPHA,
    MAGNITUDE,
    A,
    B,
    LoraKeys,
    find_tensor,
    split_key,
    split_peft_key,
)

METADATA = "lora_adapter_metadata"
"""diffusers' key for peft's configs: JSON in the header."""

_AGAIN = "Save or fetch the adapter again."

_INERT = re.compile(
    r"auto_mapping|bias|corda_config|ensure_weight_tying|eva_config|exclude_modules|inference_mode"
    r"|init_lora_weights|layers_pattern|layers_to_transform|loftq_config|lora_dropout"
    r"|lora_ga_config|megatron_core|modules_to_save|peft_type|peft_version|qalora_group_size|revision"
    r"|runtime_config|target_modules|task_type|velora_config"
)
"""Keys of peft's config that affect only training or the tensors that are stored, not the merge."""

_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that change the model before training, so that B @ A belongs to the changed model."""

Rank = Annotated[int, Field(gt=0, strict=True)]
Alpha = Annotated[float, Field(ge=-1e30, le=1e30, strict=True)]
"""A factor that float32 can hold, also after it is divided by the rank."""

Modules = dict[str, dict[str, TensorInfo]]
"""Module -> peft's name of a part -> tensor."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """The keys of peft's ``LoraConfig`` that affect the merge, under the same names."""

    r: Rank
    lora_alpha: Alpha = 8.0
    use_rslora: StrictBool = False
    use_dora: StrictBool = False
    fan_in_fan_out: StrictBool = False
    rank_pattern: Mapping[str, Rank] = field(default_factory=dict[str, int])
    alpha_pattern: Mapping[str, Alpha] = field(default_factory=dict[str, float])
    base_model_name_or_path: str = ""

    def scaled(self, modules: Modules) -> dict[str, LoraModule]:
        """Return modules with their factors of B @ A: alpha / r, or alpha / √r (rsLoRA, arXiv:2312.03732)."""
        result: dict[str, LoraModule] = {}
        for name, parts in modules.items():
            rank = self.rank_pattern.get(_pattern(self.rank_pattern, name), self.r)
            alpha = self.alpha_pattern.get(_pattern(self.alpha_pattern, name), self.lora_alpha)
            scale = alpha / (math.sqrt(rank) if self.use_rslora else rank)
            result[name] = LoraModule(parts=parts, rank=rank, scale=scale)
        return result


def _pattern(patterns: Mapping[str, object], module: str) -> str:
    return next((each for each in patterns if re.fullmatch(rf"(.*\.)?({each})", module)), "")


def parse_config(written: Mapping[str, object], reference: str) -> LoraConfig:
    """Parse peft's config of an adapter, and refuse what is not a LoRA or an unsupported variant of it."""

    def config_error(key: str, expected: str, received: object) -> KingyoError:
        remedy = "Merge it into its model with peft (merge_and_unload), and name the folder of the result."
        return KingyoError(f"{reference}: {key} in {CONFIG}", expected, f"{received!r:.80}", remedy)

    if (kind := written.get("peft_type")) != "LORA":
        raise config_error("peft_type", "LORA", kind)
    start = written.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise config_error("init_lora_weights", "an adapter of the unchanged model", start)
    known = {each.name for each in fields(LoraConfig)}
    for key, value in written.items():
        if value and key not in known and not _INERT.fullmatch(key):
            raise config_error(key, "a plain LoRA, rsLoRA or DoRA", value)
    given = {key: value for key, value in written.items() if key in known and value is not None}
    config = parse_settings(LoraConfig, given, f"{reference}: {CONFIG}")
    for pattern in (*config.rank_pattern, *config.alpha_pattern):
        try:
            re.compile(rf"(.*\.)?({pattern})")
        except re.error as error:
            expected = "regular expressions in rank_pattern and alpha_pattern"
            raise config_error("patterns", expected, pattern) from error
    return config


def read_adapter(reference: str, path: Path, model: Checkpoint, *, allow_pickle: bool = False) -> Adapter:
    """Open an adapter in a folder or a safetensors file.

    A file may hold LoRAs of several components of a pipeline: ``model`` decides which is read.
    """
    if (path / CONFIG).is_file():
        return _read_peft(reference, path, allow_pickle=allow_pickle)
    file = path if path.is_file() else path / DIFFUSERS_WEIGHTS
    if not file.is_file():
        expected = f"a folder with {CONFIG} or {DIFFUSERS_WEIGHTS}, or a file"
        raise KingyoError(reference, expected, "neither", "Name the file, as in lora/name.safetensors.")
    return _read_loose(reference, path, file, model)


def _read_peft(reference: str, path: Path, *, allow_pickle: bool) -> Adapter:
    is_pickle = allow_pickle and not (path / WEIGHTS).is_file()
    weights = path / (PICKLE if is_pickle else WEIGHTS)
    files = path / CONFIG, weights
    seen = file_stamps(files)
    config = parse_config(read_json(path / CONFIG), reference)
    if not weights.is_file():
        raise unread_weights_error(reference, [*path.glob("*.bin")])
    tensors = require_tensors(read_pickle(weights) if is_pickle else read_header(weights), weights)
    modules: Modules = {}
    replaced: Modules = {}
    for key, info in tensors.items():
        name, part = split_peft_key(key)
        _add(reference, modules if part else replaced, name, part, info)
    return Adapter(
        reference=reference,
        path=path,
        modules=config.scaled(modules),
        replaced={name: parts[""] for name, parts in replaced.items()},
        use_dora=config.use_dora,
        fan_in_fan_out=config.fan_in_fan_out,
        trained_on=config.base_model_name_or_path,
        files=files,
        seen=seen,
    )


def _read_loose(reference: str, path: Path, file: Path, model: Checkpoint) -> Adapter:
    seen = file_stamps([file])
    tensors, metadata = read_header_and_metadata(file)
    groups = _by_component(reference, require_tensors(tensors, file), model)
    component = _choose(reference, groups, model)
    modules = groups[component]
    alphas = {name: _alpha(parts.pop(ALPHA)) for name, parts in modules.items() if ALPHA in parts}
    stated = _stated(reference, metadata, component)
    if stated and alphas:
        raise KingyoError(reference, f"alphas as tensors or in {METADATA}", "both", _AGAIN)
    if not (stated or alphas or component or "_class_name" in model.config):  # peft's names, without a config
        expected = "an adapter_config.json with lora_alpha in the same folder"
        raise KingyoError(reference, expected, "a file without one", "Name the folder that peft has written.")
    config = parse_config({"peft_type": "LORA", **stated}, reference) if stated else None
    has_magnitudes = any(MAGNITUDE in parts for parts in modules.values())
    return Adapter(
        reference=reference,
        path=path,
        modules=_unscaled(reference, modules, alphas) if config is None else config.scaled(modules),
        use_dora=has_magnitudes if config is None else config.use_dora,
        others=tuple(sorted(filter(None, groups.keys() - {component}))),
        files=(file,),
        seen=seen,
    )


def _unscaled(reference: str, modules: Modules, alphas: Mapping[str, float]) -> dict[str, LoraModule]:
    """Return the modules of a file without a config: scale is alpha / rank, or 1 without alpha."""
    scaled: dict[str, LoraModule] = {}
    for name, parts in modules.items():
        rank = parts[A].shape[0] if A in parts and parts[A].shape else 0
        if not rank:
            received = ", ".join(f"{part} {list(info.shape)}" for part, info in parts.items()) or ALPHA
            raise KingyoError(f"{reference}: {name}", f"{A} and {B} of a rank above 0", received, _AGAIN)
        scaled[name] = LoraModule(parts=parts, rank=rank, scale=alphas.get(name, rank) / rank)
    return scaled


def _add(reference: str, modules: Modules, module: str, part: str, info: TensorInfo) -> None:
    if modules.setdefault(module, {}).setdefault(part, info) is not info:
        expected = "one tensor for each part of a LoRA"
        raise KingyoError(f"{reference}: {info.name}", expected, f"a second one for {module}", _AGAIN)


def _by_component(reference: str, tensors: Mapping[str, TensorInfo], model: Checkpoint) -> dict[str, Modules]:
    keys = LoraKeys(model)
    groups: dict[str, Modules] = {}
    for key, info in tensors.items():
        name, part = split_key(key)
        if not part:
            remedy = "Name a model without the '+'. Merge other adapters with the tool that wrote them."
            raise KingyoError(f"{reference}: {key}", "a part of a LoRA", "something else", remedy)
        component, pieces = keys.find(name)
        group = groups.setdefault(component, {})
        for module, rows in keys.split(reference, pieces, part, info):
            _add(reference, group, module, part, rows)
    return groups


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
    module = next(iter(next(iter(groups.values())).values()))
    components = sorted(filter(None, groups))
    received = f"one of {listed(components or ['unknown'], 3)}, with '{next(iter(module.values())).name}'"
    hint = f"; for a pipeline, name the component, as in sdxl/{components[0]}+lora" if components else ""
    remedy = f"Name the model that it was trained on{hint}."
    raise KingyoError(reference, f"a LoRA of {model.reference}", received, remedy)


def _alpha(info: TensorInfo) -> float:
    is_number = info.n_elements == 1 and not info.dtype.startswith("complex")
    value = float(map_tensor(info)) if is_number else math.nan
    if not math.isfinite(value):
        received = f"{value}" if is_number else f"{info.dtype} of shape {list(info.shape)}"
        raise KingyoError(f"{info.file}: {info.name}", "one finite number", received, _AGAIN)
    return value


def _stated(reference: str, metadata: Mapping[str, str], component: str) -> Mapping[str, object]:
    text = metadata.get(METADATA, "{}")
    try:
        keys = cast("dict[str, object]", parse_json(text)).items()
    except (ValueError, RecursionError, AttributeError) as error:
        expected, received = "JSON that maps keys to values", f"{text!r:.80}"
        raise KingyoError(f"{reference}: {METADATA}", expected, received, _AGAIN) from error
    begin = f"{component}." if component else ""
    return {key.removeprefix(begin): value for key, value in keys if key.startswith(begin)}
