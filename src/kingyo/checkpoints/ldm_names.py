"""Names of a UNet's modules in Stability's own code (latent diffusion), which LoRAs of SDXL use."""

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
    """Yield the latent diffusion name of a module, if it has one.

    Latent diffusion numbers layers through all blocks; a down- or upsampler is a layer or part of one.

    Args:
        module: the module's name in diffusers.
        modules: all modules of the UNet.
        config: the UNet's ``config.json``.
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
