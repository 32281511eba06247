"""The names of a UNet's modules in Stability's own code (latent diffusion), which LoRAs of SDXL use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_ALONE = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_BLOCK = re.compile(r"(?P<side>down|up)_blocks\.(?P<block>\d+)\.(?P<what>\w+)\.(?P<layer>\d+)\.(?P<rest>.+)")
_MIDDLE = re.compile(r"mid_block\.(?P<what>resnets|attentions)\.(?P<layer>\d+)\.(?P<rest>.+)")


def ldm_names(module: str, modules: Collection[str], config: Mapping[str, object]) -> Iterator[str]:
    """Yield the other name of a module, if it has one.

    There layers are numbered through all blocks, and a down- or upsampler is a layer, or part of one.

    Args:
        module: its name in diffusers.
        modules: all of the UNet.
        config: its ``config.json``.
    """
    if module in _ALONE:
        yield _ALONE[module]
    if found := _MIDDLE.fullmatch(module):
        is_resnet, layer = found["what"] == "resnets", int(found["layer"])
        rest = _RESNET.get(found["rest"], found["rest"]) if is_resnet else found["rest"]
        yield f"middle_block.{2 * layer if is_resnet else 2 * layer + 1}.{rest}"
    found, depth = _BLOCK.fullmatch(module), config.get("layers_per_block")
    if not found or not isinstance(depth, int):
        return
    side, what, rest = found["side"], found["what"], found["rest"]
    first, layer = int(found["block"]) * (depth + 1), int(found["layer"])
    if what == "downsamplers":
        yield f"input_blocks.{first + depth + 1}.0.op"
    elif what == "upsamplers":
        beside = f"up_blocks.{found['block']}.attentions."
        inner = 2 if any(each.startswith(beside) for each in modules) else 1
        yield f"output_blocks.{first + depth}.{inner}.{rest}"
    elif what in ("resnets", "attentions"):
        name, begin = ("input_blocks", first + 1) if side == "down" else ("output_blocks", first)
        inner = 0 if what == "resnets" else 1
        yield f"{name}.{begin + layer}.{inner}.{_RESNET.get(rest, rest) if not inner else rest}"
