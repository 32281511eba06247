"""Write a diffusion model as one file, under the names of its original code: the inverse of reading one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from kingyo.core.io.extras import library
from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.checkpoint import Checkpoint, read_checkpoint
from kingyo.merging.checkpoints.lora_keys import Piece, original_modules
from kingyo.merging.checkpoints.single_file import PREFIX, UNET, converters
from kingyo.merging.checkpoints.writer import OutTensor, lay_out
from kingyo.merging.kernels.raw_tensor import bytes_of

_VAE = "first_stage_model."
_CLIP, _OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
_CLIP_XL, _OPEN_CLIP_XL = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
_PROJECTION = "text_projection.weight"
"""OpenCLIP stores it transposed."""
_NOT_MODULES = {"pos_embed.pos_embed": "pos_embed"}
_NORMS = re.compile(r".*\.(query|key)_norm")
_VAE_NAMES = (
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
    (r"mid_block\.attentions\.0\.to_([qkv])\.", r"mid.attn_1.\1."),
    (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
    (r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block."),
    (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.(\d+)\.resnets\.", r"up.\1.block."),
    (r"up_blocks\.(\d+)\.upsamplers\.0\.", r"up.\1.upsample."),
    (r"conv_shortcut\.", "nin_shortcut."),
    (r"conv_norm_out\.", "norm_out."),
)


@dataclass(frozen=True, kw_only=True)
class FileTensor:
    """A tensor of a single file: the rows of some tensors of a model, one after the other.

    ``rows`` are names of the model's tensors, and whether the two halves of each are exchanged. With
    ``is_transposed``, the file stores the transposed matrix.
    """

    out: OutTensor
    model: Checkpoint = field(repr=False)
    rows: tuple[tuple[str, bool], ...]
    is_transposed: bool = False

    def read(self) -> Tensor:
        parts = [self.model.read(name) for name, _ in self.rows]
        halves = [
            torch.cat(part.chunk(2)[::-1]) if is_swapped else part
            for part, (_, is_swapped) in zip(parts, self.rows, strict=True)
        ]
        joined = halves[0] if len(halves) == 1 else torch.cat(halves)
        return (joined.T if self.is_transposed else joined).contiguous().view(self.out.shape)


def single_file(denoiser: Checkpoint, around: Mapping[str, Checkpoint]) -> list[FileTensor]:
    """Return the tensors of a single file in order.

    ``around`` are VAE and text encoders by their folders, which are written for Stable Diffusion 1, 2 and XL.
    """
    tensors = _denoiser(denoiser)
    if "vae" in around:
        tensors += _vae(around["vae"])
    encoders = [around[name] for name in ("text_encoder", "text_encoder_2") if name in around]
    if len(encoders) > 1:
        tensors += [*_clip(encoders[0], _CLIP_XL), *_open_clip(encoders[1], _OPEN_CLIP_XL)]
    elif encoders and encoders[0].config.get("hidden_act") == "gelu":  # of Stable Diffusion 2
        tensors += _open_clip(encoders[0], _OPEN_CLIP)
    elif encoders:
        tensors += _clip(encoders[0], _CLIP)
    return tensors


def _denoiser(model: Checkpoint) -> list[FileTensor]:
    kind = model.config.get("_class_name")
    modules = {name.rpartition(".")[0]: None for name in model.tensors if name not in _NOT_MODULES}
    prefix = PREFIX if kind == UNET else ""
    tensors = [
        _joined(model, prefix, name, pieces, end)
        for name, pieces in original_modules(modules, model.config).items()
        for end in ("weight", "bias")
        if f"{pieces[0].module}.{end}" in model.tensors
    ]
    tensors += [
        _same(model, name, f"{prefix}{stored_name}")
        for name, stored_name in _NOT_MODULES.items()
        if name in model.tensors
    ]
    written = {name for each in tensors for name, _ in each.rows}
    if unknown := sorted(model.tensors.keys() - written):
        expected = "a model whose original names are known: Stable Diffusion 1, XL or 3, or Flux"
        remedy = "Leave --single-file out; kingyo export writes the denoiser alone with --no-pipeline."
        raise KingyoError("--single-file", expected, f"{kind} with {unknown[0]:.120}", remedy)
    return tensors


def _joined(model: Checkpoint, prefix: str, name: str, pieces: tuple[Piece, ...], end: str) -> FileTensor:
    names = [f"{piece.module}.{end}" for piece in pieces]
    first = model.tensors[names[0]]
    n_rows = sum(model.tensors[each].shape[0] for each in names)
    suffix = "scale" if _NORMS.fullmatch(name) else end
    out = OutTensor(name=f"{prefix}{name}.{suffix}", shape=(n_rows, *first.shape[1:]), dtype=first.dtype)
    rows = tuple((each, piece.is_swapped) for each, piece in zip(names, pieces, strict=True))
    return FileTensor(out=out, model=model, rows=rows)


def _same(model: Checkpoint, name: str, stored_name: str, shape: tuple[int, ...] | None = None) -> FileTensor:
    info = model.tensors[name]
    out = OutTensor(name=stored_name, shape=info.shape if shape is None else shape, dtype=info.dtype)
    return FileTensor(out=out, model=model, rows=((name, False),))


def _vae(model: Checkpoint) -> list[FileTensor]:
    n_blocks = len({name.split(".")[2] for name in model.tensors if name.startswith("decoder.up_blocks.")})
    tensors: list[FileTensor] = []
    for name, info in model.tensors.items():
        stored_name = name
        for pattern, replacement in _VAE_NAMES:
            stored_name = re.sub(pattern, replacement, stored_name)
        stored_name = re.sub(r"\bup\.(\d+)", lambda found: f"up.{n_blocks - 1 - int(found[1])}", stored_name)
        is_matrix = ".attn_1." in stored_name and len(info.shape) == 2  # stored as a 1 x 1 convolution
        shape = (*info.shape, 1, 1) if is_matrix else info.shape
        tensors.append(_same(model, name, f"{_VAE}{stored_name}", shape))
    return tensors


def _clip(model: Checkpoint, prefix: str) -> list[FileTensor]:
    return [
        _same(model, name, f"{prefix}text_model.{name.removeprefix('text_model.')}") for name in model.tensors
    ]


def _open_clip(model: Checkpoint, prefix: str) -> Iterator[FileTensor]:
    """Yield a text encoder with the names of OpenCLIP, which joins queries, keys and values."""
    names = cast("Mapping[str, Mapping[str, str]]", converters().DIFFUSERS_TO_LDM_MAPPING["openclip"])
    for name in model.tensors:
        full = name if name == _PROJECTION else f"text_model.{name.removeprefix('text_model.')}"
        if stored_name := names["layers"].get(full):
            yield replace(_same(model, name, f"{prefix}{stored_name}"), is_transposed=name == _PROJECTION)
            continue
        stored_name = f"{prefix}transformer.{full}"
        for own, other in names["transformer"].items():
            stored_name = stored_name.replace(own, other)
        if ".attn.q_proj." in stored_name:
            yield _joined_attention(model, name, stored_name)
        elif not re.search(r"\.[kv]_proj\.", stored_name):
            yield _same(model, name, stored_name)


def _joined_attention(model: Checkpoint, query: str, stored_name: str) -> FileTensor:
    module, _, end = query.rpartition(".")
    pieces = tuple(Piece(module=module.replace("q_proj", each)) for each in ("q_proj", "k_proj", "v_proj"))
    joined = _joined(model, "", module, pieces, end)
    name = stored_name.replace(f".q_proj.{end}", f".in_proj_{end}")
    return replace(joined, out=replace(joined.out, name=name))


_OTHERS = ("vae", "text_encoder", "text_encoder_2")
"""Folders of a pipeline of Stable Diffusion 1, 2 or XL that its single file holds besides the denoiser."""
_IN_ONE_FILE = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")


def single_file_name(out: Path) -> str:
    return f"{out.resolve().name}.safetensors"


def single_file_parts(denoiser: Checkpoint, around: Mapping[str, Path]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a single file: its header, then each tensor."""
    tensors = check_single_file(denoiser, around)
    total = sum(each.out.n_bytes for each in tensors)
    (shard,) = lay_out([each.out for each in tensors], max_shard_bytes=max(total, 1))
    yield shard.header
    for each in tensors:
        yield bytes_of(each.read().flatten()).data


def check_single_file(denoiser: Checkpoint, around: Mapping[str, Path]) -> list[FileTensor]:
    if "_class_name" not in denoiser.config:
        expected = "a denoiser of a diffusers pipeline"
        raise KingyoError("--single-file", expected, denoiser.reference, "Leave --single-file out.")
    library("--single-file", "diffusers")
    is_known = denoiser.pipeline_index.get("_class_name") in _IN_ONE_FILE
    names = [name for name in _OTHERS if is_known and f"{name}/config.json" in around]
    others = {name: read_checkpoint(name, around[f"{name}/config.json"].parent) for name in names}
    return single_file(denoiser, others)
