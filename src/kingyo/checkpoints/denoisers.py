"""Group the tensors of a denoiser (a UNet or diffusion transformer of diffusers) as image tools do.

- ``conv+attn``: projections of attention, and all else (Sakana AI, EvoSDXL-JP and Evo-Ukiyoe).
- ``mbw``: merge block weights, the blocks that sd-webui-supermerger and sd-mecha give weights to. These tools
  number the blocks of the original UNet: a block is one layer (resnet and attention) or one downsampler.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from kingyo.checkpoints.stacks import Stack
from kingyo.errors import KingyoError

DENOISER_GROUPS = ("conv+attn", "mbw")
"""Ways to group the tensors of a denoiser."""

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_DOWN, _MIDDLE, _UP = "down_blocks", "mid_block", "up_blocks"
_DOUBLE, _SINGLE = "transformer_blocks", "single_transformer_blocks"
_IN_BLOCK = re.compile(r"[^.]+\.([0-9]{1,9})\.([^.]+)\.(?:([0-9]{1,9})\.)?")
_LAST_OF_UNET = re.compile(r"conv_(norm_)?out\.")
_LAST_OF_TRANSFORMER = re.compile(r"[^.]*(?<![^._])(out|final)(?![^._])|scale_shift_table")


def denoiser_groups(
    how: str, names: Sequence[str], stacks: Sequence[Stack], config: Mapping[str, object]
) -> dict[str, list[str]]:
    """Split the tensors of a denoiser into groups.

    Args:
        how: one of ``DENOISER_GROUPS``.
        names: names of its tensors.
        stacks: its stacks of blocks.
        config: its ``config.json``.

    Raises:
        KingyoError: the model is not a denoiser.
    """
    is_unet = _is_unet(names)
    if not is_unet and not _is_transformer(stacks, config):
        expected = f"a denoiser for {how}: a UNet or a diffusion transformer in the format of diffusers"
        received = str(config.get("_class_name") or config.get("model_type") or "a model of another kind")
        remedy = "Set merge.groups to one, kind, block, block+kind or layers:N."
        raise KingyoError("groups", expected, received, remedy)
    if how == "conv+attn":
        is_attention = {name: any(part in name for part in _ATTENTION) for name in names}
        return _grouped({name: "attn" if is_attention[name] else "conv" for name in names}, ("attn", "conv"))
    blocks = dict(_unet_blocks(names) if is_unet else _transformer_blocks(names, stacks))
    return _grouped(blocks, sorted(set(blocks.values()), key=_block_order))


def filter_order(groups: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Put single blocks first, whose names contain those of double blocks (``transformer_blocks.0.``)."""
    return dict(sorted(groups.items(), key=lambda group: not group[1][0].startswith(_SINGLE)))


def _grouped(group_of: Mapping[str, str], order: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {group: [] for group in order}
    for name, group in group_of.items():
        groups[group].append(name)
    return {group: names for group, names in groups.items() if names}


def _block_order(block: str) -> tuple[int, int]:
    letters = block.rstrip("0123456789")
    return ("BASE", "IN", "M", "D", "S", "B", "OUT").index(letters), int(block[len(letters) :] or 0)


def _is_unet(names: Iterable[str]) -> bool:
    return {_DOWN, _UP} <= {name.partition(".")[0] for name in names}


def _is_transformer(stacks: Iterable[Stack], config: Mapping[str, object]) -> bool:
    stacks = list(stacks)
    if "_class_name" in config:
        return "Transformer" in str(config["_class_name"]) and bool(stacks)
    return any(stack.prefix in (_DOUBLE, _SINGLE) for stack in stacks)


def _unet_blocks(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each tensor of a UNet and its block, numbered by the layers and samplers that the UNet has."""
    down, up = _Side(_DOWN, names), _Side(_UP, names)
    for name in names:
        top = name.partition(".")[0]
        if top in (_DOWN, _UP):
            yield name, f"IN{1 + down.place(name):02}" if top == _DOWN else f"OUT{up.place(name):02}"
        elif top in (_MIDDLE, "conv_in"):
            yield name, "M00" if top == _MIDDLE else "IN00"
        else:
            yield name, f"OUT{up.size - 1:02}" if _LAST_OF_UNET.match(name) else "BASE"


class _Side:
    """The layers of one side of a UNet, numbered over all its blocks.

    A downsampler counts as a layer of its own; an upsampler belongs to the layer before it.
    """

    def __init__(self, side: str, names: Iterable[str]) -> None:
        layers: dict[int, int] = {}
        samplers: set[int] = set()
        for name in names:
            if name.startswith(f"{side}."):
                number, layer = _block_and_layer(name)
                layers[number] = max(layers.get(number, 1), 1 + (layer or 0))
                samplers |= {number} if layer is None and side == _DOWN else set()
        sizes = {number: layers[number] + (number in samplers) for number in sorted(layers)}
        self.size = sum(sizes.values())
        self._end = dict(zip(sizes, accumulate(sizes.values()), strict=True))
        self._first = {number: end - sizes[number] for number, end in self._end.items()}

    def place(self, name: str) -> int:
        number, layer = _block_and_layer(name)
        return self._end[number] - 1 if layer is None else self._first[number] + layer


def _block_and_layer(name: str) -> tuple[int, int | None]:
    """Return the numbers of a tensor's block and of its layer, None for a sampler."""
    found = _IN_BLOCK.match(name)
    if found is None:
        return 0, 0
    is_sampler = found[2].endswith("samplers")
    return int(found[1]), None if is_sampler else int(found[3] or 0)


def _transformer_blocks(names: Iterable[str], stacks: Sequence[Stack]) -> Iterator[tuple[str, str]]:
    """Yield each tensor of a diffusion transformer and its block.

    Of a model with double and single blocks, such as Flux, these are D00, … and S00, …; of others B00, … .
    """
    prefixes = {stack.prefix for stack in stacks}
    letters = {_DOUBLE: "D", _SINGLE: "S"}
    if not letters.keys() <= prefixes:
        letters = {max(stacks, key=lambda stack: len(stack.blocks)).prefix: "B"}
    blocks = {
        name: f"{letters[stack.prefix]}{number:02}"
        for stack in stacks
        if stack.prefix in letters
        for number, inside in stack.blocks.items()
        for name in inside
    }
    for name in names:
        yield name, blocks.get(name) or ("OUT" if _LAST_OF_TRANSFORMER.match(name) else "IN")
