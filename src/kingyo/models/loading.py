"""From a checkpoint's folder to a model in memory, and the names of its live tensors.

Runs no code of a checkpoint unless told to, and none of a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from kingyo.errors import KingyoError, suggest
from kingyo.models.conversion import counterparts
from kingyo.models.text import Tokenizer
from kingyo.recipe import DTYPES

# Buffers that old checkpoints carried along.
_DERIVED = ("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias")
_TOGETHER = "Fetch or save the model again, so that its weights fit its config.json."


def load_model(
    path: Path,
    *,
    dtype: str | None,
    device: str,
    remote_code: bool,
    allow_pickle: bool = False,
    auto: type[Any] = AutoModelForCausalLM,
) -> PreTrainedModel:
    """Build a model from a folder of safetensors, ready for inference.

    Args:
        path: the folder.
        dtype: float32, float16 or bfloat16; as saved when None.
        device: where it lives, such as ``cpu`` or ``cuda:0``.
        remote_code: whether Python files of the checkpoint may run.
        allow_pickle: whether ``pytorch_model.bin``, or its shards, are read where there is no safetensors: by
            ``torch.load(weights_only=True)``, mapped.
        auto: what transformers loads this kind of model with, such as ``AutoModelForImageClassification``.

    Raises:
        KingyoError: no such folder, no safetensors, a tensor is missing or of another shape, it is no model
            of this kind, or a pickle holds code.
    """
    require_checkpoint(path, allow_pickle=allow_pickle)
    if dtype is not None and dtype not in DTYPES:
        raise KingyoError(
            "dtype", expected=" or ".join(DTYPES), received=f"'{dtype}'", remedy=suggest(dtype, DTYPES)
        )
    with _quiet(), _readable(path):
        loaded = cast(
            "object",
            auto.from_pretrained(
                path,
                dtype="auto" if dtype is None else getattr(torch, dtype),
                use_safetensors=None if allow_pickle else True,
                weights_only=True,
                local_files_only=True,
                trust_remote_code=remote_code,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are told below, by their names
            ),
        )
    model, report = cast("tuple[PreTrainedModel, Mapping[str, Collection[object]]]", loaded)
    _require_complete(path, report)
    torch.nn.Module.to(model, require_device(device))
    return model.eval().requires_grad_(False)


def load_shapes(path: Path, auto: type[Any]) -> PreTrainedModel:
    """Build a model without weights: it computes shapes and no numbers.

    Args:
        path: folder of a checkpoint.
        auto: what transformers loads this kind of model with.

    Raises:
        KingyoError: transformers cannot build it, or its shapes are not those of the folder's tensors.
    """
    require_checkpoint(path, allow_pickle=True)  # it reads no weight
    with _quiet(), _readable(path), torch.device("meta"):
        config = cast(
            object,
            AutoConfig.from_pretrained(  # pyright: ignore[reportUnknownMemberType]
                path, local_files_only=True, trust_remote_code=False
            ),
        )
        model = cast(PreTrainedModel, auto.from_config(config, trust_remote_code=False))
    live_weights(model, path)
    return model.eval().requires_grad_(False)


def require_device(name: str) -> torch.device:
    """Return a device that this machine has.

    Raises:
        KingyoError: torch knows no such device, or it is not here.
    """
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
    """Read the tokenizer of a checkpoint's folder.

    Raises:
        KingyoError: there is none that transformers can read.
    """
    with _quiet(), _readable(path):
        return cast(
            Tokenizer,
            AutoTokenizer.from_pretrained(  # pyright: ignore[reportUnknownMemberType]
                path, local_files_only=True, trust_remote_code=remote_code
            ),
        )


def load_context(path: Path) -> int | None:
    """Read from a folder's config how many tokens the model can see; None when it names no bound.

    Raises:
        KingyoError: there is no config that transformers can read.
    """
    with _quiet(), _readable(path):
        config = cast(
            object,
            AutoConfig.from_pretrained(  # pyright: ignore[reportUnknownMemberType]
                path, local_files_only=True, trust_remote_code=False
            ),
        )
    return context(config)


def context(config: object) -> int | None:
    """How many tokens a model of this config can see."""
    return cast("int | None", getattr(config, "max_position_embeddings", None))


def require_checkpoint(path: Path, *, allow_pickle: bool = False) -> None:
    """Refuse a folder that is no checkpoint in safetensors, or pickles if allowed; say what it lacks."""
    if not path.is_dir():
        raise KingyoError(
            str(path),
            expected="a checkpoint's folder",
            received="no such folder",
            remedy="Correct the path, or fetch the model first.",
        )
    if not (path / "config.json").is_file():
        raise KingyoError(
            str(path),
            expected="a checkpoint's folder",
            received="no config.json in it",
            remedy="Name the folder that holds config.json.",
        )
    if not any(path.glob("*.safetensors")) and not (allow_pickle and any(path.glob("pytorch_model*.bin"))):
        raise KingyoError(
            str(path),
            expected="weights in safetensors",
            received="none in the folder",
            remedy="Convert pickled weights first: they can run code when loaded.",
        )


def live_weights(model: PreTrainedModel, path: Path) -> dict[str, Tensor]:
    """Map the tensor names of a checkpoint to the model's own tensors or views into them, each once.

    A tied output layer goes by the name of the embedding. Buffers that the checkpoint lacks are left out.

    Raises:
        KingyoError: the checkpoint holds a tensor that has no live counterpart of its own.
    """
    with _readable(path):
        shapes = _stored_shapes(path)
        found = counterparts(model, shapes)
    tied = cast("Mapping[str, str]", getattr(model, "all_tied_weights_keys", None) or {})
    weights: dict[int, tuple[str, Tensor]] = {}
    for name in sorted(shapes, key=lambda name: (name in found and found[name][0] in tied, name)):
        tensor = found[name][1] if name in found else None
        if tensor is not None and tensor.shape == shapes[name]:
            weights.setdefault(id(tensor), (name, tensor))
        elif not name.endswith(_DERIVED):
            raise KingyoError(
                f"{path}: {name}",
                expected=f"a tensor of {type(model).__name__}",
                received="none of that name" if tensor is None else f"one of the shape {list(tensor.shape)}",
                remedy="Take models of another architecture: transformers reshapes this one when loading.",
            )
    return dict(sorted(weights.values()))


def checkpoint_names(path: Path) -> list[str]:
    """List the tensors of the file, else of the shards, that transformers loads, sorted; of pickles as well.

    Other safetensors in the folder (an adapter, ``consolidated.safetensors``) are not the model's.
    """
    return sorted(_stored_shapes(path))


def _stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
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
    """The files that transformers loads: the first of these that are there, each before its shards."""
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
    """Transformers fills missing tensors with random numbers and a warning: refuse."""
    missing = sorted(cast("set[str]", report.get("missing_keys", ())))
    if missing:
        raise KingyoError(
            f"{path}: {missing[0]}",
            expected="every tensor of the architecture",
            received=f"{len(missing)} missing",
            remedy=_TOGETHER,
        )
    mismatched = cast("Collection[tuple[str, object, object]]", report.get("mismatched_keys", ()))
    for name, found, wanted in sorted(mismatched, key=str):
        raise KingyoError(
            f"{path}: {name}", expected=f"shape {wanted}", received=f"shape {found}", remedy=_TOGETHER
        )


@contextmanager
def _quiet() -> Generator[None]:
    """Loading draws progress bars and logs what becomes an error here."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def _readable(path: Path) -> Generator[None]:
    """Turn what transformers says about a broken folder into one clear message."""
    try:
        yield
    except KingyoError:
        raise
    except UnpicklingError as error:
        raise KingyoError(
            str(path),
            expected="pickles of tensors alone",
            received="code that one of them would run, or something else",
            remedy="Load it where you trust it, and save it again as safetensors.",
        ) from error
    except Exception as error:  # whatever a broken folder makes the library raise
        first, *more = str(error).strip().split("\n")
        if more and first.endswith(":"):  # what is wrong follows
            first = f"{first} {more[0].strip()}"
        whole = "Name a whole model, with its tokenizer, that transformers knows without further code."
        trust = (
            " Or read its code, and if you trust it say --trust-remote-code to `kingyo evaluate` and `chat`."
        )
        raise KingyoError(
            str(path),
            expected="a checkpoint that transformers can read",
            received=f"{type(error).__name__}: {first}",
            remedy=whole + (trust if "custom code" in first else ""),
        ) from error
