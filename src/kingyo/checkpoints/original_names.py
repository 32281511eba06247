"""The names of a diffusion model's modules in its authors' code, which LoRAs and single files often use.

diffusers renames modules and splits some: the rows of an original ``qkv`` are ``to_q``, ``to_k``, ``to_v``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

Names = Mapping[str, str]
"""Module in diffusers -> module in the original code; modules with one value are its rows, in this order."""

_RESNET: Names = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_ALONE: Names = {
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


@dataclass(frozen=True, kw_only=True)
class _Transformer:
    """The names of a transformer: of its blocks by their list in diffusers, and of all other modules."""

    blocks: Mapping[str, tuple[str, Names]]
    alone: Names
    swapped_at_end: tuple[str, ...] = ()
    """Modules of the last block with exchanged halves."""


_NO_NAMES: Names = MappingProxyType({})
_OUT = "norm_out.linear"
"""Its halves, shift and scale, are exchanged in the original code."""
_TRANSFORMERS = {
    "FluxTransformer2DModel": _Transformer(
        blocks={
            "transformer_blocks": (
                "double_blocks",
                {
                    "norm1.linear": "img_mod.lin",
                    "norm1_context.linear": "txt_mod.lin",
                    "attn.to_q": "img_attn.qkv",
                    "attn.to_k": "img_attn.qkv",
                    "attn.to_v": "img_attn.qkv",
                    "attn.norm_q": "img_attn.norm.query_norm",
                    "attn.norm_k": "img_attn.norm.key_norm",
                    "attn.add_q_proj": "txt_attn.qkv",
                    "attn.add_k_proj": "txt_attn.qkv",
                    "attn.add_v_proj": "txt_attn.qkv",
                    "attn.norm_added_q": "txt_attn.norm.query_norm",
                    "attn.norm_added_k": "txt_attn.norm.key_norm",
                    "attn.to_out.0": "img_attn.proj",
                    "attn.to_add_out": "txt_attn.proj",
                    "ff.net.0.proj": "img_mlp.0",
                    "ff.net.2": "img_mlp.2",
                    "ff_context.net.0.proj": "txt_mlp.0",
                    "ff_context.net.2": "txt_mlp.2",
                },
            ),
            "single_transformer_blocks": (
                "single_blocks",
                {
                    "norm.linear": "modulation.lin",
                    "attn.to_q": "linear1",
                    "attn.to_k": "linear1",
                    "attn.to_v": "linear1",
                    "proj_mlp": "linear1",
                    "attn.norm_q": "norm.query_norm",
                    "attn.norm_k": "norm.key_norm",
                    "proj_out": "linear2",
                },
            ),
        },
        alone={
            "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
            "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
            "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
            "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
            "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
            "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
            "context_embedder": "txt_in",
            "x_embedder": "img_in",
            "proj_out": "final_layer.linear",
            _OUT: "final_layer.adaLN_modulation.1",
        },
    ),
    "SD3Transformer2DModel": _Transformer(
        blocks={
            "transformer_blocks": (
                "joint_blocks",
                {
                    "norm1.linear": "x_block.adaLN_modulation.1",
                    "norm1_context.linear": "context_block.adaLN_modulation.1",
                    "attn.to_q": "x_block.attn.qkv",
                    "attn.to_k": "x_block.attn.qkv",
                    "attn.to_v": "x_block.attn.qkv",
                    "attn.norm_q": "x_block.attn.ln_q",
                    "attn.norm_k": "x_block.attn.ln_k",
                    "attn.to_out.0": "x_block.attn.proj",
                    "attn.add_q_proj": "context_block.attn.qkv",
                    "attn.add_k_proj": "context_block.attn.qkv",
                    "attn.add_v_proj": "context_block.attn.qkv",
                    "attn.norm_added_q": "context_block.attn.ln_q",
                    "attn.norm_added_k": "context_block.attn.ln_k",
                    "attn.to_add_out": "context_block.attn.proj",
                    "attn2.to_q": "x_block.attn2.qkv",
                    "attn2.to_k": "x_block.attn2.qkv",
                    "attn2.to_v": "x_block.attn2.qkv",
                    "attn2.norm_q": "x_block.attn2.ln_q",
                    "attn2.norm_k": "x_block.attn2.ln_k",
                    "attn2.to_out.0": "x_block.attn2.proj",
                    "ff.net.0.proj": "x_block.mlp.fc1",
                    "ff.net.2": "x_block.mlp.fc2",
                    "ff_context.net.0.proj": "context_block.mlp.fc1",
                    "ff_context.net.2": "context_block.mlp.fc2",
                },
            )
        },
        alone={
            "pos_embed.proj": "x_embedder.proj",
            "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
            "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
            "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
            "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
            "context_embedder": "context_embedder",
            "proj_out": "final_layer.linear",
            _OUT: "final_layer.adaLN_modulation.1",
        },
        swapped_at_end=("norm1_context.linear",),
    ),
}
"""Class in diffusers -> its names."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A module of diffusers that is all or some of the rows (outputs) of an original module.

    If ``is_swapped``, the original has the two halves of these rows in the other order.
    """

    module: str
    is_swapped: bool = False


def original_modules(modules: Collection[str], config: Mapping[str, object]) -> dict[str, tuple[Piece, ...]]:
    """Return the original modules of a denoiser, and the modules of diffusers that are their rows, in order.

    Args:
        modules: the modules of the denoiser in diffusers.
        config: its config.json.
    """
    names = _TRANSFORMERS.get(str(config.get("_class_name")))
    if names is None:
        return {
            name: (Piece(module=module),)
            for module in modules
            for name in _ldm_names(module, modules, config)
        }
    last = _last_blocks(modules)
    found: dict[str, list[tuple[int, Piece]]] = {}
    for module in modules:
        block, number, rest = _split(module)
        is_at_end = rest in names.swapped_at_end and number == last[block]
        name, place = _in_transformer(module, names)
        if name:
            piece = Piece(module=module, is_swapped=is_at_end or module == _OUT)
            found.setdefault(name, []).append((place, piece))
    return {
        name: tuple(piece for _, piece in sorted(pieces, key=lambda pair: pair[0]))
        for name, pieces in found.items()
    }


def _last_blocks(modules: Collection[str]) -> dict[str, str]:
    numbers: dict[str, set[str]] = {}
    for module in modules:
        block, number, _ = _split(module)
        if number.isdecimal():
            numbers.setdefault(block, set()).add(number)
    return {block: max(each, key=int) for block, each in numbers.items()}


def _split(module: str) -> tuple[str, str, str]:
    block, _, inner = module.partition(".")
    number, _, rest = inner.partition(".")
    return block, number, rest


def _in_transformer(module: str, names: _Transformer) -> tuple[str, int]:
    """Return the original name of a transformer's module, and its place among those with this name."""
    block, number, rest = _split(module)
    prefix, inner = names.blocks.get(block, ("", _NO_NAMES))
    if rest in inner:
        return f"{prefix}.{number}.{inner[rest]}", list(inner).index(rest)
    return names.alone.get(module, ""), 0


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
