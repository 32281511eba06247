"""The keys of LoRAs: the part of a LoRA that a key names, and the modules of the model that it belongs to.

peft, diffusers, kohya's scripts and ComfyUI spell both differently. Some use the names of a diffusion model's
original code, as single files do: diffusers renames modules and splits some, so that the rows of an original
``qkv`` are ``to_q``, ``to_k`` and ``to_v``.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from kingyo.core.io.pipeline_index import denoiser_of
from kingyo.core.io.yaml import read_yaml
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.checkpoint import Checkpoint
from kingyo.merging.checkpoints.header import TensorInfo

A, B, ALPHA, MAGNITUDE = "lora_A.weight", "lora_B.weight", "alpha", "lora_magnitude_vector"
EMBEDDING_A, EMBEDDING_B = "lora_embedding_A", "lora_embedding_B"
PEFT_ENDS = {
    f".{A}": A,
    f".{B}": B,
    f".{EMBEDDING_A}": EMBEDDING_A,
    f".{EMBEDDING_B}": EMBEDDING_B,
    f".{MAGNITUDE}": MAGNITUDE,
    f".{MAGNITUDE}.weight": MAGNITUDE,
}
"""End of a key -> peft's name of the part, in files of peft."""
ENDS = PEFT_ENDS | {
    ".lora_linear_layer.down.weight": A,
    ".lora_linear_layer.up.weight": B,
    ".lora.down.weight": A,
    ".lora.up.weight": B,
    "_lora.down.weight": A,
    "_lora.up.weight": B,
    ".lora_down.weight": A,
    ".lora_up.weight": B,
    ".alpha": ALPHA,
}
"""The same in all files."""
_PEFT_PREFIX = "base_model.model."

_DIFFUSERS = re.compile(r"(?P<component>unet|prior|(?:transformer|text_encoder)(?:_\d)?)\.(?P<rest>.+)")
_KOHYA = re.compile(r"lora_(?P<component>unet|transformer|te\d?)_(?P<rest>.+)")
_COMFY = re.compile(r"diffusion_model\.(?P<rest>.+)")
_ENCODERS = {"te": "text_encoder", "te1": "text_encoder", "te2": "text_encoder_2", "te3": "text_encoder_3"}


def split_key(key: str, ends: Mapping[str, str] = ENDS) -> tuple[str, str]:
    """Return the module of a key, and peft's name of the part, which is empty if the key has no known end."""
    end = next((each for each in ends if key.endswith(each)), None)
    return (key, "") if end is None else (key.removesuffix(end), ends[end])


def split_peft_key(key: str) -> tuple[str, str]:
    """Return module and part of a key of peft; without a part, the name of a tensor that replaces one."""
    module, part = split_key(key.removeprefix(_PEFT_PREFIX), PEFT_ENDS)
    return (module, part) if part else (module.replace(".base_layer.", "."), "")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A module of diffusers that is all or some of the rows (outputs) of an original module.

    If ``is_swapped``, the original has the two halves of these rows in the other order.
    """

    module: str
    is_swapped: bool = False


class LoraKeys:
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

        The name is returned as a module if the model has none.
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
        self, reference: str, pieces: Sequence[Piece], part: str, info: TensorInfo
    ) -> Iterator[tuple[str, TensorInfo]]:
        """Yield each module with its part: its rows of B or of the magnitudes, the whole of other parts."""
        has_rows = part in (B, MAGNITUDE) and info.shape
        if not has_rows or (len(pieces) == 1 and not pieces[0].is_swapped):
            yield from ((piece.module, info) for piece in pieces)
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


def find_tensor(model: Checkpoint, name: str) -> str | None:
    """Return the model's tensor of this name; either side may have one more prefix (``model.``).

    Modules of vision-language models have other prefixes than the tensors on disk: words such as ``model`` do
    not count if the other words name one tensor.
    """

    def distinctive(name: str) -> list[str]:
        return [word for word in name.split(".") if word not in ("model", "language_model", "vision_model")]

    tensors = model.tensors
    if name in tensors:
        return name
    without = name.partition(".")[2]
    if without in tensors:
        return without
    longer = [each for each in tensors if each.partition(".")[2] == name]
    if len(longer) == 1:
        return longer[0]
    wanted = distinctive(name)
    similar = [each for each in tensors if distinctive(each) == wanted]
    return similar[0] if len(similar) == 1 else None


@dataclass(frozen=True, kw_only=True)
class _OriginalNames:
    """Names of a transformer of diffusers in its original code; original_names.yaml explains the fields."""

    blocks: Mapping[str, tuple[str, Mapping[str, str]]]
    alone: Mapping[str, str]
    swapped: str
    swapped_at_end: str = ""


@cache
def _original_names() -> Mapping[str, _OriginalNames]:
    written = read_yaml(Path(__file__).with_name("original_names.yaml"))
    return TypeAdapter(dict[str, _OriginalNames]).validate_python(written)


def original_modules(modules: Collection[str], config: Mapping[str, object]) -> dict[str, tuple[Piece, ...]]:
    """Return the original modules of a denoiser, with the modules of diffusers that are their rows."""
    names = _original_names().get(str(config.get("_class_name")))
    if names is None:
        return {
            name: (Piece(module=module),)
            for module in modules
            for name in _ldm_names(module, modules, config)
        }
    places = {module: place for place, module in enumerate(modules)}
    found: dict[str, list[Piece]] = {}

    def add(name: str, parts: str, begin: str = "", swapped: str = names.swapped) -> None:
        pieces = [
            Piece(module=f"{begin}{part}", is_swapped=part == swapped)
            for part in parts.split()
            if f"{begin}{part}" in places
        ]
        if pieces:
            found[name] = pieces

    for name, parts in names.alone.items():
        add(name, parts)
    for block, (original, inner) in names.blocks.items():
        numbers = {module.split(".")[1] for module in modules if module.startswith(f"{block}.")}
        last = max(filter(str.isdecimal, numbers), key=int, default="")
        for number in numbers:
            for name, parts in inner.items():
                swapped = names.swapped_at_end if number == last else ""
                add(f"{original}.{number}.{name}", parts, f"{block}.{number}.", swapped)
    in_order = sorted(found, key=lambda name: min(places[piece.module] for piece in found[name]))
    return {name: tuple(found[name]) for name in in_order}


_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_ALONE = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_BLOCK = re.compile(r"(?P<side>down|up)_blocks\.(?P<block>\d+)\.(?P<what>\w+)\.(?P<layer>\d+)\.(?P<rest>.+)")
_MIDDLE = re.compile(r"mid_block\.(?P<what>resnets|attentions)\.(?P<layer>\d+)\.(?P<rest>.+)")


def _ldm_names(module: str, modules: Collection[str], config: Mapping[str, object]) -> Iterator[str]:
    """Yield the name of a UNet's module in Stability's own code (latent diffusion).

    Latent diffusion numbers layers through all blocks; a down- or upsampler is a layer or part of one.
    """
    if module in _ALONE:
        yield _ALONE[module]
    if middle := _MIDDLE.fullmatch(module):
        is_resnet, layer = middle["what"] == "resnets", int(middle["layer"])
        rest = _RESNET.get(middle["rest"], middle["rest"]) if is_resnet else middle["rest"]
        yield f"middle_block.{2 * layer if is_resnet else 2 * layer + 1}.{rest}"
    block, depth = _BLOCK.fullmatch(module), config.get("layers_per_block")
    if not block or not isinstance(depth, int):
        return
    side, what, rest = block["side"], block["what"], block["rest"]
    first, layer = int(block["block"]) * (depth + 1), int(block["layer"])
    if what == "downsamplers":
        yield f"input_blocks.{first + depth + 1}.0.op"
    elif what == "upsamplers":
        attentions = f"up_blocks.{block['block']}.attentions."
        inner = 2 if any(each.startswith(attentions) for each in modules) else 1
        yield f"output_blocks.{first + depth}.{inner}.{rest}"
    elif what in ("resnets", "attentions"):
        name, begin = ("input_blocks", first + 1) if side == "down" else ("output_blocks", first)
        inner = 0 if what == "resnets" else 1
        yield f"{name}.{begin + layer}.{inner}.{_RESNET.get(rest, rest) if not inner else rest}"
