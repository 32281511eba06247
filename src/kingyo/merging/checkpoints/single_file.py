"""Open the denoiser of a diffusion model in one file, with diffusers' names of its tensors.

diffusers' own functions convert tensors that have no data, and each result is traced back to rows of a tensor
in the file. So a converted model is mapped from its file, like any other, and no weights are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from kingyo.core.io.extras import library
from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.io.pipeline_index import denoiser_of
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.checkpoint import Checkpoint, refuse_quantised
from kingyo.merging.checkpoints.folder_files import require_tensors, unread_weights_error
from kingyo.merging.checkpoints.header import TensorInfo, file_stamps, read_header, read_pickle

PREFIX = "model.diffusion_model."
"""Prefix of a denoiser's names in a file that also holds other models."""

UNET = "UNet2DConditionModel"
_CLASSES = {
    "flux3": "Flux3Transformer2DModel",
    "flux2": "Flux2Transformer2DModel",
    "chroma": "ChromaTransformer2DModel",
    "flux": "FluxTransformer2DModel",
    "sd3": "SD3Transformer2DModel",
    "sd35_large": "SD3Transformer2DModel",
    "sana": "SanaTransformer2DModel",
    "auraflow": "AuraFlowTransformer2DModel",
    "lumina2": "Lumina2Transformer2DModel",
}
"""Key of diffusers' CHECKPOINT_KEY_NAMES -> class of the denoiser; the first that fits counts."""
_DOWNSAMPLER = re.compile(r"input_blocks\.(\d+)\.0\.op\.weight")


@dataclass(frozen=True, kw_only=True)
class SingleFile(Checkpoint):
    """The denoiser in a single file, whose tensors are ``stored``."""

    file: Path
    # the model in diffusers' layout that gives config and folder, and in a run VAE and text encoders; None if
    # there is none. Without it, ``path`` is the file.
    donor: Checkpoint | None = None
    stored: Mapping[str, TensorInfo] = field(default_factory=dict[str, TensorInfo], repr=False)

    @property
    def component(self) -> str:
        return denoiser_of(self.config)

    def with_donor(self, donor: Checkpoint) -> SingleFile:
        return replace(self, donor=donor, path=donor.path, config=donor.config, around=donor.around)

    @property
    def owner(self) -> Checkpoint:
        return self.donor or self

    @property
    def card_folder(self) -> Path:
        return self.file.parent

    @cached_property
    def pipeline(self) -> Path | None:
        return None if self.donor is None else self.donor.pipeline

    def deciding_files(self) -> dict[str, Path]:
        own = {self.file.name: self.file}
        return own if self.donor is None else own | {"config.json": self.donor.path / "config.json"}

    def load_into(self, weights: Mapping[str, Tensor]) -> None:
        """Write all tensors: the live model was loaded from the folder of another model."""
        with torch.no_grad():
            for name in self.tensors:
                weights[name].copy_(self.read(name))


def read_single_file(
    reference: str, file: Path, among: Iterable[Checkpoint] = (), *, allow_pickle: bool = False
) -> SingleFile:
    """Open the denoiser in a ``.safetensors`` or a pickle.

    The first of the models ``among`` in diffusers' layout with the same tensors gives config and folder.
    """
    seen = file_stamps([file])
    stored = require_tensors(_read(reference, file, allow_pickle=allow_pickle), file)
    refuse_quantised(reference, {}, stored)
    donors = [each.owner for each in among if "_class_name" in each.config and each.owner.path.is_dir()]
    donor = _with_names(donors, stored)
    config, tensors = (donor.config, stored) if donor is not None else _read_denoiser(reference, stored)
    donor = donor or _with_names(donors, tensors)
    model = SingleFile(
        reference=reference,
        path=file,
        file=file,
        config=config,
        tensors=tensors,
        stem="diffusion_pytorch_model",
        seen=seen,
        stored=stored,
    )
    return model if donor is None else model.with_donor(donor)


def _with_names(donors: Iterable[Checkpoint], tensors: Mapping[str, TensorInfo]) -> Checkpoint | None:
    return next((each for each in donors if each.tensors.keys() == tensors.keys()), None)


def _read(reference: str, file: Path, *, allow_pickle: bool) -> dict[str, TensorInfo]:
    if file.suffix == ".safetensors":
        return read_header(file)
    if allow_pickle:
        return read_pickle(file, within="state_dict")  # as Lightning writes it
    raise unread_weights_error(reference, [file])


def _read_denoiser(
    reference: str, tensors: Mapping[str, TensorInfo]
) -> tuple[Mapping[str, object], dict[str, TensorInfo]]:
    library(reference, "diffusers")  # it knows the names in single files
    kind = _class_of(tensors)
    if kind is None:
        expected = "a diffusion model in one file, such as of Stable Diffusion or Flux"
        received = f"tensors such as '{next(iter(tensors))}'"
        remedy = f"Name the folder of the model; or write a LoRA after its model, as model+{reference}."
        raise KingyoError(reference, expected, received, remedy)
    config = _config_from_names(kind, tensors)
    return config, _convert(reference, tensors, config)


def converters() -> Any:
    return import_module("diffusers.loaders.single_file_utils")


def _class_of(names: Mapping[str, object]) -> str | None:
    if any(name.removeprefix(PREFIX) == "input_blocks.0.0.weight" for name in names):
        return UNET
    for key, name in _CLASSES.items():
        stated = cast("str | list[str]", converters().CHECKPOINT_KEY_NAMES.get(key, []))
        if any(each in names for each in ([stated] if isinstance(stated, str) else stated)):
            return name
    return None


def default_pipeline(tensors: Mapping[str, TensorInfo]) -> str | None:
    """Return the pipeline on the Hub that diffusers takes configs from for a single file, or None."""
    try:
        config = converters().fetch_diffusers_config(_without_data(tensors))
        return cast("str", config["pretrained_model_name_or_path"])
    except (KeyError, UnboundLocalError):  # an unknown size of a known architecture
        return None


def fits_config(config: Mapping[str, object], tensors: Mapping[str, TensorInfo]) -> bool:
    kind: Any = getattr(import_module("diffusers"), str(config.get("_class_name")))
    with torch.device("meta"):
        model = kind.from_config(dict(config))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return shapes == {name: info.shape for name, info in tensors.items()}


def _config_from_names(kind: str, names: Mapping[str, object]) -> dict[str, object]:
    config: dict[str, object] = {"_class_name": kind}
    if kind != UNET:
        return config
    inner = {name.removeprefix(PREFIX) for name in names}
    downsamplers = [int(found[1]) for name in inner if (found := _DOWNSAMPLER.fullmatch(name))]
    config["layers_per_block"] = min(downsamplers, default=3) - 1
    if "label_emb.0.0.weight" in inner:
        config["addition_embed_type"] = "text_time"
    if "label_emb.weight" in inner:
        config["num_class_embeds"] = True
    return config


def _convert(
    reference: str, tensors: Mapping[str, TensorInfo], config: Mapping[str, object]
) -> dict[str, TensorInfo]:
    classes: Any = import_module("diffusers.loaders.single_file_model").SINGLE_FILE_LOADABLE_CLASSES
    kind = str(config["_class_name"])
    function = cast(
        "Callable[..., dict[str, Any]] | None", classes.get(kind, {}).get("checkpoint_mapping_fn")
    )
    has_prefix = any(name.startswith(PREFIX) for name in tensors)
    named = tensors if has_prefix else {f"{PREFIX}{name}": info for name, info in tensors.items()}
    denoiser = {name: info for name, info in named.items() if name.startswith(PREFIX)}
    try:
        if function is None:
            raise _UntraceableError("no conversion in this version of diffusers")
        return _traced(lambda stored: function(checkpoint=stored, config=dict(config)), denoiser)
    except (KeyError, IndexError, RuntimeError, AttributeError, _UntraceableError) as error:
        received = f"no tensor {error}" if isinstance(error, KeyError) else f"{error!s:.200}"
        remedy = "Fetch it again, or convert it with diffusers: from_single_file, then save_pretrained."
        expected = f"a complete {kind} that diffusers can convert"
        raise KingyoError(reference, expected, received, remedy) from error


class _UntraceableError(Exception):
    """A converted tensor is not a part of a stored tensor."""


def _traced(
    function: Callable[[dict[str, Any]], Mapping[str, Any]], tensors: Mapping[str, TensorInfo]
) -> dict[str, TensorInfo]:
    stored = _without_data(tensors)
    alive = tuple(stored.values())  # an address is unique only while its tensor lives
    known = {_storage(tensor): info for tensor, info in zip(alive, tensors.values(), strict=True)}
    joined: dict[int, tuple[Tensor, Sequence[Tensor]]] = {}
    with _keep_views(joined):
        converted = function(stored)

    def part(name: str, tensor: Tensor) -> TensorInfo:
        if _storage(tensor) in joined:
            first, second = (part(name, each) for each in joined[_storage(tensor)][1])
            if second.file != first.file or second.start + second.n_bytes != first.start:
                raise _UntraceableError(f"{name} joins several tensors")
            return replace(second, shape=tuple(tensor.shape), first_row=second.shape[0])
        info = known.get(_storage(tensor))
        dtype = str(tensor.dtype).removeprefix("torch.")
        if info is None or not tensor.is_contiguous() or dtype != info.dtype:
            raise _UntraceableError(f"{name} is computed")
        start = info.start + tensor.storage_offset() * info.element_size
        return replace(info, name=name, shape=tuple(tensor.shape), start=start)

    return {name: part(name, tensor) for name, tensor in converted.items() if tensor is not None}


def _without_data(tensors: Mapping[str, TensorInfo]) -> dict[str, Tensor]:
    return {
        name: torch.empty(info.shape, dtype=getattr(torch, info.dtype), device="meta")
        for name, info in tensors.items()
    }


def _storage(tensor: Tensor) -> int:
    return cast("int", tensor.untyped_storage()._cdata)  # pyright: ignore[reportPrivateUsage]


def _keep_views(joined: dict[int, tuple[Tensor, Sequence[Tensor]]]) -> AbstractContextManager[object]:
    """Keep copies as views of the original, and note what is joined: address -> result, its pieces."""
    from torch.overrides import TorchFunctionMode

    class KeepViews(TorchFunctionMode):
        def __torch_function__(
            self,
            func: Callable[..., Any],
            types: object,
            args: tuple[Any, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            if func in (torch.Tensor.contiguous, torch.Tensor.clone, torch.Tensor.detach):
                return args[0]
            if func is torch.cat and len(args[0]) == 1:
                return args[0][0]
            if func is torch.split:
                args = args[0], _fitting(args[0], args[1], (kwargs or {}).get("dim", 0)), *args[2:]
            result = func(*args, **(kwargs or {}))
            if func is torch.cat:
                joined[_storage(result)] = result, args[0]
            return result

    return KeepViews()


def _fitting(tensor: Tensor, sizes: Sequence[int], dim: int) -> Sequence[int]:
    """Return sizes in the same ratio that fit a tensor: diffusers has Flux's width as a constant."""
    return [size * tensor.shape[dim] // sum(sizes) for size in sizes]
