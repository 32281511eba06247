"""Load a checkpoint's folder into memory, and map its tensor names to live tensors.

Code of a checkpoint runs only if allowed; code in pickles never runs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, cast

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from kingyo.errors import KingyoError, unknown_name_error
from kingyo.io.extras import quiet
from kingyo.models.conversion import counterparts
from kingyo.models.kinds.kind import LoadOptions
from kingyo.models.linear_layers import hasten
from kingyo.models.tokens import Tokenizer
from kingyo.recipe import DTYPES

# Buffers in old checkpoints.
_DERIVED = ("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias")


def load_model(path: Path, options: LoadOptions, auto: type[Any] = AutoModelForCausalLM) -> PreTrainedModel:
    """Build a model for inference from a checkpoint's folder."""
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
    """Return a torch device after checking that this machine has it."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise KingyoError(
            "device",
            expected="a device of this machine, such as cpu or cuda:0",
            received=f"'{name}' ({str(error).splitlines()[0][:120]})",
            remedy="Set the device to cpu, which every machine has.",
        ) from error
    return device


def load_tokenizer(path: Path, *, remote_code: bool) -> Tokenizer:
    """Load the tokenizer of a checkpoint's folder."""
    with loading(path):
        return cast(
            Tokenizer,
            AutoTokenizer.from_pretrained(  # pyright: ignore[reportUnknownMemberType]
                path, local_files_only=True, trust_remote_code=remote_code
            ),
        )


def load_config(path: Path) -> object:
    """Load the config of a checkpoint's folder, without code of the checkpoint."""
    with loading(path):
        return cast(
            object,
            AutoConfig.from_pretrained(  # pyright: ignore[reportUnknownMemberType]
                path, local_files_only=True, trust_remote_code=False
            ),
        )


def context(config: object) -> int | None:
    """Return the context length of a config in tokens, or None if it has no limit."""
    return cast("int | None", getattr(config, "max_position_embeddings", None))


def _require_checkpoint(path: Path, *, allow_pickle: bool) -> None:
    """Raise KingyoError unless a folder has config.json and weights in an allowed format."""
    if not (path / "config.json").is_file():
        raise KingyoError(
            str(path),
            expected="a checkpoint's folder",
            received="a folder without config.json" if path.is_dir() else "no such folder",
            remedy="Correct the path, or download the model first.",
        )
    if not any(path.glob("*.safetensors")) and not (allow_pickle and any(path.glob("pytorch_model*.bin"))):
        raise KingyoError(
            str(path),
            expected="weights in safetensors",
            received="a folder without safetensors",
            remedy="Convert pickled weights to safetensors first, since loading pickles can run code.",
        )


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
            raise KingyoError(
                f"{path}: {name}",
                expected=f"a tensor of {type(model).__name__} of shape {list(shapes[name])}",
                received="no such tensor" if tensor is None else f"a tensor of shape {list(tensor.shape)}",
                remedy="Use another architecture: transformers reshapes this one when it loads it.",
            )
    return dict(sorted(weights.values()))


def _stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that transformers loads from the folder, also from pickles.

    Other safetensors in the folder (an adapter, ``consolidated.safetensors``) do not count.
    """
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
    """Return the files that transformers loads: safetensors before pickles, a single file before shards."""
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
    wrong = [(name, "a tensor of the architecture", f"{len(missing)} missing") for name in missing]
    wrong += [
        (name, f"shape {want}", f"shape {stored}") for name, stored, want in sorted(mismatched, key=str)
    ]
    for name, expected, received in wrong:
        remedy = "Download or save the model again, so that its weights fit its config.json."
        raise KingyoError(f"{path}: {name}", expected=expected, received=received, remedy=remedy)


@contextmanager
def loading(path: Path, library: Literal["transformers", "diffusers"] = "transformers") -> Generator[None]:
    """Turn errors of a library about a folder into KingyoError, and hide progress bars and warnings."""
    try:
        with quiet("transformers"), quiet(library):  # pipelines of diffusers load models of transformers
            yield
    except KingyoError:
        raise
    except UnpicklingError as error:
        raise KingyoError(
            str(path),
            expected="pickles that hold only tensors",
            received="a pickle with code or other objects",
            remedy="If you trust it, load it elsewhere and save it as safetensors.",
        ) from error
    except Exception as error:  # a broken folder may raise anything
        reason = " ".join(str(error).split())[:300]
        remedy = f"Use a complete model, with its tokenizer, that {library} supports without custom code."
        trust = " Or, if you trust its code, use `kingyo evaluate` or `chat` with --trust-remote-code."
        raise KingyoError(
            str(path),
            expected=f"a checkpoint that {library} can load",
            received=f"{type(error).__name__}: {reason}",
            remedy=remedy + (trust if "custom code" in reason else ""),
        ) from error
