"""Load a checkpoint's folder into memory, and map its tensor names to live tensors.

Code of a checkpoint runs only if allowed; code in pickles never runs.
"""

import json
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,  # pyright: ignore[reportUnknownVariableType]
)

from kingyo.core.io.extras import quiet
from kingyo.errors import KingyoError, unknown_name_error
from kingyo.merging.recipe import DTYPES
from kingyo.models.kinds import LoadOptions

_DERIVED = ("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias")
"""Buffers in old checkpoints."""
_BLOCK = 1 << 21
"""Weights that are widened at a time: 8 MiB."""


def load_model(path: Path, options: LoadOptions, auto: type[Any] = AutoModelForCausalLM) -> PreTrainedModel:
    _require_checkpoint(path, allow_pickle=options.allow_pickle)
    dtype = options.dtype
    if dtype is not None and dtype not in DTYPES:
        raise unknown_name_error("dtype", dtype, DTYPES)
    with loading(path):
        loaded = cast(
            "object",
            auto.from_pretrained(
                path,
                dtype="auto" if dtype is None else getattr(torch, dtype),
                use_safetensors=None if options.allow_pickle else True,
                weights_only=True,
                local_files_only=True,
                trust_remote_code=options.remote_code,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # `_require_complete` names them
            ),
        )
    model, report = cast("tuple[PreTrainedModel, Mapping[str, Collection[object]]]", loaded)
    _require_complete(path, report)
    torch.nn.Module.to(model, require_device(options.device))
    hasten(model)
    return model.eval().requires_grad_(False)


def load_shapes(path: Path, auto: type[Any]) -> PreTrainedModel:
    """Build a model without weights, on the meta device, to check shapes."""
    _require_checkpoint(path, allow_pickle=True)  # weights are not read
    config = load_config(path)
    with loading(path), torch.device("meta"):
        model = cast(PreTrainedModel, auto.from_config(config, trust_remote_code=False))
    live_weights(model, path)
    return model.eval().requires_grad_(False)


def require_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        expected = "a device of this machine, such as cpu or cuda:0"
        received = f"'{name}' ({str(error).splitlines()[0][:120]})"
        remedy = "Set the device to cpu, which every machine has."
        raise KingyoError("device", expected, received, remedy) from error
    return device


def load_tokenizer(path: Path, *, remote_code: bool) -> Any:
    with loading(path):
        return cast("Any", AutoTokenizer).from_pretrained(
            path, local_files_only=True, trust_remote_code=remote_code
        )


def load_config(path: Path) -> Any:
    """Load the config of a checkpoint's folder, without code of the checkpoint."""
    with loading(path):
        return cast("Any", AutoConfig).from_pretrained(path, local_files_only=True, trust_remote_code=False)


def context(config: object) -> int | None:
    """Return the context length of a config in tokens, or None if it has no limit."""
    return cast("int | None", getattr(config, "max_position_embeddings", None))


def end_tokens(model: PreTrainedModel) -> Iterable[int]:
    """Yield the end tokens in the checkpoint's generation config and config."""
    for config in (model.generation_config, model.config):
        ends = cast("int | list[int] | None", getattr(config, "eos_token_id", None))
        if ends is not None:
            yield from [ends] if isinstance(ends, int) else ends


def _require_checkpoint(path: Path, *, allow_pickle: bool) -> None:
    if not (path / "config.json").is_file():
        received = "a folder without config.json" if path.is_dir() else "no such folder"
        remedy = "Correct the path, or download the model first."
        raise KingyoError(str(path), "a checkpoint's folder", received, remedy)
    if not any(path.glob("*.safetensors")) and not (allow_pickle and any(path.glob("pytorch_model*.bin"))):
        remedy = "Convert pickled weights to safetensors first, since loading pickles can run code."
        raise KingyoError(str(path), "weights in safetensors", "a folder without safetensors", remedy)


def live_weights(model: PreTrainedModel, path: Path) -> dict[str, Tensor]:
    """Map the tensor names of a checkpoint to the model's tensors or views into them, each once.

    A tied output layer has the embedding's name. Buffers that are not in the checkpoint are left out.
    """
    with loading(path):
        shapes = _stored_shapes(path)
        live = counterparts(model, shapes)
    tied = cast("Mapping[str, str]", getattr(model, "all_tied_weights_keys", None) or {})
    weights: dict[int, tuple[str, Tensor]] = {}
    for name in sorted(shapes, key=lambda name: (name in live and live[name][0] in tied, name)):
        tensor = live[name][1] if name in live else None
        if tensor is not None and tensor.shape == shapes[name]:
            weights.setdefault(id(tensor), (name, tensor))
        elif not name.endswith(_DERIVED):
            expected = f"a tensor of {type(model).__name__} of shape {list(shapes[name])}"
            received = "no such tensor" if tensor is None else f"a tensor of shape {list(tensor.shape)}"
            remedy = "Use another architecture: transformers reshapes this one when it loads it."
            raise KingyoError(f"{path}: {name}", expected, received, remedy)
    return dict(sorted(weights.values()))


def _stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that transformers loads; other safetensors do not count."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in _weight_files(path):
        if file.suffix == ".bin":
            stored = cast("Mapping[str, Tensor]", torch.load(file, "meta", weights_only=True, mmap=True))
            shapes |= {name: tuple(tensor.shape) for name, tensor in sorted(stored.items())}
        else:
            with cast("Any", safe_open(file, framework="pt")) as opened:
                shapes |= {name: tuple(opened.get_slice(name).get_shape()) for name in sorted(opened.keys())}
    return shapes


def _weight_files(path: Path) -> list[Path]:
    singles = [path / "model.safetensors", path / "pytorch_model.bin"]
    for single in singles:
        index = path / f"{single.name}.index.json"
        if single.is_file():
            return [single]
        if index.is_file():
            named = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            return [path / name for name in sorted(set(named.values()))]
    return singles[:1]


def _require_complete(path: Path, report: Mapping[str, Collection[object]]) -> None:
    """Check that no tensor is missing or of another shape; transformers would initialise it randomly."""
    missing = sorted(cast("set[str]", report.get("missing_keys", ())))
    mismatched = cast("Collection[tuple[str, object, object]]", report.get("mismatched_keys", ()))
    remedy = "Download or save the model again, so that its weights fit its config.json."
    for name in missing:
        expected, received = "a tensor of the architecture", f"{len(missing)} missing"
        raise KingyoError(f"{path}: {name}", expected, received, remedy)
    for name, stored, wanted in sorted(mismatched, key=str):
        raise KingyoError(f"{path}: {name}", f"shape {wanted}", f"shape {stored}", remedy)


@contextmanager
def loading(path: Path, library: Literal["transformers", "diffusers"] = "transformers") -> Generator[None]:
    """Turn errors of a library about a folder into KingyoError, and hide progress bars and warnings."""
    try:
        with quiet("transformers"), quiet(library):  # pipelines of diffusers load models of transformers
            yield
    except KingyoError:
        raise
    except UnpicklingError as error:
        expected = "pickles that hold only tensors"
        remedy = "If you trust it, load it elsewhere and save it as safetensors."
        raise KingyoError(str(path), expected, "a pickle with code or other objects", remedy) from error
    except Exception as error:  # a broken folder may raise anything
        received = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        remedy = f"Use a complete model, with its tokenizer, that {library} supports without custom code."
        if "custom code" in received:
            remedy += " Or, if you trust its code, use `kingyo evaluate` or `chat` with --trust-remote-code."
        raise KingyoError(str(path), f"a checkpoint that {library} can load", received, remedy) from error


def hasten(model: PreTrainedModel) -> None:
    """Give the head a contiguous input, and let ``widen`` help where 16-bit products are slow."""
    head = cast("nn.Module | None", model.get_output_embeddings())
    if head is not None:
        head.register_forward_pre_hook(_contiguous)
    is_narrow = model.dtype in (torch.bfloat16, torch.float16)
    if is_narrow and model.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        widen(model)


def widen(model: nn.Module) -> None:
    """Let the linear layers of a 16-bit model multiply in float32, and round once.

    With AVX2 but not AVX-512, torch's own 16-bit loops take four to eight times as long. A block of weights
    at a time is widened, into memory that all layers share. Where gradients are enabled, layers compute as
    before: autograd would keep all widened weights.
    """
    layers = [layer for layer in model.modules() if type(layer) is nn.Linear]
    wide = torch.empty(max([_BLOCK, *(layer.in_features for layer in layers)]), dtype=torch.float32)
    for layer in layers:
        cast("Any", layer).forward = partial(_in_float32, layer, wide)


def _in_float32(layer: nn.Linear, wide: Tensor, given: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        return nn.Linear.forward(layer, given)
    weight, bias, numbers = layer.weight, cast("Tensor | None", layer.bias), given.float()
    rows = len(wide) // layer.in_features
    parts: list[Tensor] = []
    for first in range(0, len(weight), rows):
        block = weight[first : first + rows]
        parts.append(linear(numbers, wide[: block.numel()].view(block.shape).copy_(block)))
    out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
    return (out if bias is None else out + bias).to(given.dtype)


def _contiguous(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Copy the input of a head if it is a slice: torch would copy the head's weights for each row instead."""
    return tuple(each.contiguous() for each in given)


def counterparts(model: PreTrainedModel, names: Iterable[str]) -> dict[str, tuple[str, Tensor]]:
    """Find the live counterpart of each tensor of a checkpoint in the model that transformers loaded from it.

    Transformers renames, joins (the experts of a layer), splits or transposes weights on loading; its
    conversion mapping says how. The counterpart is a tensor of the model, or a view into a joined one. The
    parts of a split tensor are moved into one memory, which is the counterpart.

    Returns:
        Name -> (name of its live tensor, or of the first part; counterpart). Names without a counterpart are
        missing. One of another shape cannot be used.
    """
    state = cast("dict[str, Tensor]", model.state_dict(keep_vars=True))
    mapping = get_model_conversion_mapping(model)
    renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
    converters = [each for each in mapping if isinstance(each, WeightConverter)]
    prefix = model.base_model_prefix
    result: dict[str, tuple[str, Tensor]] = {}
    converted: dict[str, str] = {}
    for name in sorted(names, key=dot_natural_key):  # in the loader's order, on which some renamings depend
        live, pattern = rename_source_key(name, renamings, converters, prefix, state)
        if live not in state and name in state:
            live, pattern = name, None
        if live in state and pattern is None:
            result[name] = live, state[live]
        elif live in state:
            converted[name] = live
    parts: dict[str, Tensor] = {}
    for each in converters:
        if converted and each.was_used():
            parts |= _parts(model, state, each, set(converted.values()))
    for name, live in converted.items():
        renamed, _ = rename_source_key(name, renamings, [], prefix, parts)
        if renamed in parts:
            result[name] = live, parts[renamed]
    return result


def _parts(
    model: PreTrainedModel, state: Mapping[str, Tensor], converter: WeightConverter, wanted: Collection[str]
) -> dict[str, Tensor]:
    undoing = converter.reverse_transform()
    groups: dict[str, dict[str, str]] = {}
    for live in sorted(state, key=dot_natural_key):
        name, pattern = undoing.rename_source_key(live)
        if pattern is not None:
            groups.setdefault(name, {})[live] = pattern
    parts: dict[str, Tensor] = {}
    for name, patterns in groups.items():
        if patterns.keys().isdisjoint(wanted):
            continue
        sources = {live: (pattern, state[live]) for live, pattern in patterns.items()}
        storages = {_memory(tensor) for tensor in state.values()}  # `_gather` frees some
        for part, tensor in _convert(model, undoing, name, sources).items():
            if _memory(tensor) in storages or _gather(model, state, converter, part, tensor):
                parts[part] = tensor
    return parts


def _gather(
    model: PreTrainedModel, state: Mapping[str, Tensor], converter: WeightConverter, name: str, joined: Tensor
) -> bool:
    """Make a tensor share its memory with its live parts, if possible; return whether it does."""
    live, pattern = deepcopy(converter).rename_source_key(name)
    if pattern is None:
        return False
    views = _convert(model, converter, live, {name: (pattern, joined)})
    if any(
        _memory(view) != _memory(joined) or not _fits(state.get(each), view) for each, view in views.items()
    ):
        return False
    starts = {
        (_memory(state[each]), state[each].storage_offset() - view.storage_offset())
        for each, view in views.items()
    }
    if len(starts) == 1:  # the parts are already contiguous
        ((_, start),) = starts
        joined.set_(state[live].untyped_storage(), start, joined.shape, joined.stride())
        return True
    for each, view in views.items():
        state[each].data = view
    return True


def _fits(live: Tensor | None, view: Tensor) -> bool:
    if live is None or not live.is_contiguous() or not view.is_contiguous():
        return False
    return (live.shape, live.dtype) == (view.shape, view.dtype)


def _convert(
    model: PreTrainedModel, converter: Any, name: str, sources: Mapping[str, tuple[str, Tensor]]
) -> dict[str, Tensor]:
    conversion = deepcopy(converter)
    for source, (pattern, tensor) in sources.items():
        conversion.add_tensor(name, source, pattern, tensor)
    with _Views():
        converted = conversion.convert(name, model=model, config=model.config)
    return {key: value[0] if isinstance(value, list) else value for key, value in converted.items()}


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class _Views(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return args[0] if func is Tensor.contiguous else func(*args, **(kwargs or {}))
