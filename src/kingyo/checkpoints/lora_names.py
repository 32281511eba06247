"""Find the modules that names in a LoRA mean: those of diffusers, kohya, ComfyUI or the original code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.header import TensorInfo
from kingyo.checkpoints.original_names import Piece, original_modules
from kingyo.errors import KingyoError
from kingyo.io.pipeline_index import denoiser_of

_DIFFUSERS = re.compile(r"(?P<component>unet|prior|(?:transformer|text_encoder)(?:_\d)?)\.(?P<rest>.+)")
_KOHYA = re.compile(r"lora_(?P<component>unet|transformer|te\d?)_(?P<rest>.+)")
_COMFY = re.compile(r"diffusion_model\.(?P<rest>.+)")
_ENCODERS = {"te": "text_encoder", "te1": "text_encoder", "te2": "text_encoder_2", "te3": "text_encoder_3"}


class LoraNames:
    """The names that LoRAs use for the modules of a model."""

    def __init__(self, model: Checkpoint) -> None:
        self._model = model
        self._modules = [name.removesuffix(".weight") for name in model.tensors if name.endswith(".weight")]
        self._original = original_modules(self._modules, model.config)
        own = {module: (Piece(module=module),) for module in self._modules}
        self._flat = {name.replace(".", "_"): pieces for name, pieces in (self._original | own).items()}
        self._denoiser = denoiser_of(model.config)

    def find(self, name: str) -> tuple[str, tuple[Piece, ...]]:
        """Return the component of a LoRA ("" if its name has none), and the modules that it belongs to.

        The name has no suffix such as ``.lora_A.weight``. It is returned as a module if the model has none.
        """
        if kohya := _KOHYA.fullmatch(name):
            component, rest = kohya["component"], kohya["rest"]
            pieces = self._flat.get(rest) or self._flat.get(rest.removeprefix("text_model_"))
            component = self._denoiser if component == "unet" else _ENCODERS.get(component, component)
            return component, pieces or (Piece(module=rest),)
        if comfy := _COMFY.fullmatch(name):
            return self._denoiser, self._pieces(comfy["rest"])
        diffusers = _DIFFUSERS.fullmatch(name)
        component, module = (diffusers["component"], diffusers["rest"]) if diffusers else ("", name)
        if ".processor." in module:  # diffusers before 0.22
            module = module.replace(".processor.", ".")
            module = f"{module}.0" if module.endswith(".to_out") else module
        return component, self._pieces(module)

    def _pieces(self, name: str) -> tuple[Piece, ...]:
        own = (Piece(module=name),)
        return own if name in self._modules else self._original.get(name, own)

    def split(
        self, reference: str, pieces: Sequence[Piece], info: TensorInfo
    ) -> Iterator[tuple[str, TensorInfo]]:
        """Yield each module with its rows of B or of the magnitudes.

        Raises:
            KingyoError: the tensor has another number of rows than the modules together.
        """
        if len(pieces) == 1 and not pieces[0].is_swapped:
            yield pieces[0].module, info
            return
        sizes = [self._model.tensors[f"{piece.module}.weight"].shape[0] for piece in pieces]
        if sum(sizes) != info.shape[0]:
            expected = f"{sum(sizes)} rows, for {', '.join(piece.module for piece in pieces)}"
            remedy = "Name the model that the adapter was trained on."
            raise KingyoError(f"{reference}: {info.name}", expected, f"{info.shape[0]}", remedy)
        start = 0
        for piece, size in zip(pieces, sizes, strict=True):
            rows = info.rows(start, start + size)
            yield piece.module, replace(rows, first_row=size // 2) if piece.is_swapped else rows
            start += size
