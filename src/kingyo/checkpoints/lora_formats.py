"""Open a LoRA adapter on disk, in the format of peft, diffusers or kohya's scripts.

peft writes a folder with a config. The others write one file, which may hold LoRAs of several components of a
pipeline; one is read at a time, under peft's names of parts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kingyo.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS, PICKLE, WEIGHTS, Adapter, LoraModule
from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.folder_files import read_json, require_tensors
from kingyo.checkpoints.header import TensorInfo, read_header, read_header_and_metadata
from kingyo.checkpoints.lora import find_tensor
from kingyo.checkpoints.lora_names import LoraNames
from kingyo.checkpoints.mapped_tensors import file_stamps, map_tensor
from kingyo.checkpoints.original_names import Piece
from kingyo.checkpoints.pickled import read_pickle
from kingyo.errors import KingyoError, listed
from kingyo.io.strict_json import parse_json

if TYPE_CHECKING:  # pydantic is slow to import
    from kingyo.checkpoints.lora_config import LoraConfig

METADATA = "lora_adapter_metadata"
"""diffusers' key for peft's configs: JSON in the header."""

_PREFIX = "base_model.model."
_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_embedding_A|lora_embedding_B"
    r"|lora_magnitude_vector)(?:\.weight)?"
)
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
    ".lora_magnitude_vector": _MAGNITUDE,
    ".lora_magnitude_vector.weight": _MAGNITUDE,
    ".alpha": _ALPHA,
}
"""Suffix of a tensor's name -> peft's name of the part."""

_AGAIN = "Save or fetch the adapter again."

Modules = dict[str, dict[str, TensorInfo]]
"""Module -> peft's name of a part -> tensor."""


def read_adapter(reference: str, path: Path, model: Checkpoint, *, allow_pickle: bool = False) -> Adapter:
    """Open an adapter in a folder or a safetensors file.

    A file may hold LoRAs of several components of a pipeline: ``model`` decides which is read.

    Raises:
        KingyoError: the adapter has no config or no safetensors, it has no LoRA for the model, or it is not a
            supported variant of LoRA.
    """
    file = _loose_file(path)
    if file is not None:
        return _read_loose(reference, path, file, model)
    return _read_peft(reference, path, allow_pickle=allow_pickle)


def _loose_file(path: Path) -> Path | None:
    """Return the file of a LoRA without a config; None for any other folder."""
    if path.is_file() or (path / CONFIG).is_file():
        return path if path.is_file() else None
    if (path / DIFFUSERS_WEIGHTS).is_file():
        return path / DIFFUSERS_WEIGHTS
    files = [file for file in path.glob("*.safetensors") if file.name != WEIGHTS]
    return files[0] if len(files) == 1 and not (path / "config.json").is_file() else None


def _read_peft(reference: str, path: Path, *, allow_pickle: bool) -> Adapter:
    pickle = path / PICKLE
    is_pickle = allow_pickle and pickle.is_file() and not (path / WEIGHTS).is_file()
    weights = pickle if is_pickle else path / WEIGHTS
    files = path / CONFIG, weights
    seen = file_stamps(files)
    what = "an adapter in peft's format (for another LoRA, name its file: lora/name.safetensors)"
    config = _parse(read_json(path / CONFIG, what), reference)
    if not weights.is_file():
        received = f"only a pickle ({PICKLE})" if pickle.exists() else "no such file"
        remedy = (
            "Pass --allow-pickle (run.yaml: `allow_pickle: true`), or save the adapter as safetensors "
            "with peft's save_pretrained."
        )
        raise KingyoError(reference, f"an adapter's weights in {WEIGHTS}", received, remedy)
    tensors = require_tensors(read_pickle(weights) if is_pickle else read_header(weights), weights)
    modules: Modules = {}
    saved: Modules = {}
    for name, info in tensors.items():
        plain = name.removeprefix(_PREFIX)
        if matched := _PART.fullmatch(plain):
            _add(reference, modules, matched["module"], matched["part"], info)
        else:
            _add(reference, saved, plain.replace(".base_layer.", "."), "replacement", info)
    return Adapter(
        reference=reference,
        path=path,
        modules=_scaled(modules, config),
        replaced={name: parts["replacement"] for name, parts in saved.items()},
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
    alphas = {name: _alpha(parts.pop(_ALPHA)) for name, parts in modules.items() if _ALPHA in parts}
    stated = _stated(reference, metadata, component)
    if stated and alphas:
        raise KingyoError(reference, f"alphas as tensors or in {METADATA}", "both", _AGAIN)
    if not (stated or alphas or component or "_class_name" in model.config):  # peft's names, without a config
        expected = "an adapter_config.json with lora_alpha in the same folder"
        raise KingyoError(reference, expected, "a file without one", "Name the folder that peft has written.")
    config = _parse({"peft_type": "LORA", **stated}, reference) if stated else None
    has_magnitudes = any(_MAGNITUDE in parts for parts in modules.values())
    return Adapter(
        reference=reference,
        path=path,
        modules=_unscaled(reference, modules, alphas) if config is None else _scaled(modules, config),
        use_dora=has_magnitudes if config is None else config.use_dora,
        others=tuple(sorted(filter(None, groups.keys() - {component}))),
        files=(file,),
        seen=seen,
    )


def _parse(written: Mapping[str, object], reference: str) -> LoraConfig:
    from kingyo.checkpoints.lora_config import read_config

    return read_config(written, reference)


def _scaled(modules: Modules, config: LoraConfig) -> dict[str, LoraModule]:
    return {
        name: LoraModule(parts=parts, rank=config.rank(name), scale=config.scale(name))
        for name, parts in modules.items()
    }


def _unscaled(reference: str, modules: Modules, alphas: Mapping[str, float]) -> dict[str, LoraModule]:
    """Return the modules of a file without a config: scale is alpha / rank, or 1 without alpha."""
    scaled: dict[str, LoraModule] = {}
    for name, parts in modules.items():
        rank = parts[_A].shape[0] if _A in parts and parts[_A].shape else 0
        if not rank:
            received = ", ".join(f"{part} {list(info.shape)}" for part, info in parts.items()) or _ALPHA
            raise KingyoError(f"{reference}: {name}", f"{_A} and {_B} of a rank above 0", received, _AGAIN)
        scaled[name] = LoraModule(parts=parts, rank=rank, scale=alphas.get(name, rank) / rank)
    return scaled


def _add(reference: str, modules: Modules, module: str, part: str, info: TensorInfo) -> None:
    if modules.setdefault(module, {}).setdefault(part, info) is not info:
        expected = "one tensor for each part of a LoRA"
        remedy = f"{_AGAIN} Two of its names mean the same tensor."
        raise KingyoError(f"{reference}: {info.name}", expected, f"a second one for {module}", remedy)


def _by_component(reference: str, tensors: Mapping[str, TensorInfo], model: Checkpoint) -> dict[str, Modules]:
    """Return the modules of a file by component; "" if names begin with none."""
    names = LoraNames(model)
    groups: dict[str, Modules] = {}
    for name, info in tensors.items():
        end = next((each for each in _ENDS if name.endswith(each)), None)
        if end is None:
            is_model = not any(each.endswith(tuple(_ENDS)) for each in tensors)
            received = "a tensor of a complete model" if is_model else "something else"
            remedy = (
                "Name it as a model of its own, without the '+'."
                if is_model
                else "Merge it with the tool that wrote it, and name the result: only LoRA is read."
            )
            raise KingyoError(f"{reference}: {name}", "a part of a LoRA", received, remedy)
        component, pieces = names.find(name.removesuffix(end))
        group = groups.setdefault(component, {})
        is_split = _ENDS[end] in (_B, _MAGNITUDE) and info.shape
        for module, rows in names.split(reference, pieces, info) if is_split else _shared(pieces, info):
            _add(reference, group, module, _ENDS[end], rows)
    return groups


def _shared(pieces: Iterable[Piece], info: TensorInfo) -> list[tuple[str, TensorInfo]]:
    return [(piece.module, info) for piece in pieces]


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
    raise _no_lora(reference, groups, model)


def _no_lora(reference: str, groups: Mapping[str, Modules], model: Checkpoint) -> KingyoError:
    module = next(iter(next(iter(groups.values())).values()))
    components = sorted(filter(None, groups))
    contents = f"a LoRA of {listed(components, 3)}, with names" if components else "names"
    hint = f"; for a pipeline, name the component, as in sdxl/{components[0]}+lora" if components else ""
    received = f"{contents} such as '{next(iter(module.values())).name}'"
    remedy = f"Name the model that it was trained on{hint}."
    return KingyoError(reference, f"a LoRA of {model.reference}", received, remedy)


def _alpha(info: TensorInfo) -> float:
    is_number = info.n_elements == 1 and not info.dtype.startswith("complex")
    value = float(map_tensor(info)) if is_number else math.nan
    if not math.isfinite(value):
        received = f"{value}" if is_number else f"{info.dtype} of shape {list(info.shape)}"
        raise KingyoError(f"{info.file}: {info.name}", "one finite number", received, _AGAIN)
    return value


def _stated(reference: str, metadata: Mapping[str, str], component: str) -> Mapping[str, object]:
    """Return peft's config of a component's LoRA from the header; empty if it has none."""
    text = metadata.get(METADATA, "{}")
    try:
        parsed: object = parse_json(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise KingyoError(
            f"{reference}: {METADATA}", "JSON that maps keys to values", f"{text!r:.80}", _AGAIN
        )
    begin = f"{component}." if component else ""
    keys = cast("dict[str, object]", parsed).items()
    return {key.removeprefix(begin): value for key, value in keys if key.startswith(begin)}
