"""Groups of tensors: those of a denoiser as image tools make them, and any groups as mergekit filters.

A denoiser is a UNet or a diffusion transformer of diffusers.

- ``conv+attn``: projections of attention, and all else (Sakana AI, EvoSDXL-JP and Evo-Ukiyoe).
- ``mbw``: merge block weights, the blocks that sd-webui-supermerger and sd-mecha give weights to. These tools
  number the blocks of the original UNet: a block is one layer (resnet and attention) or one downsampler.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.stacks import Stack

DENOISER_GROUPS = ("conv+attn", "mbw")
"""Ways to group the tensors of a denoiser."""

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_DOWN, _MIDDLE, _UP = "down_blocks", "mid_block", "up_blocks"
_DOUBLE, _SINGLE = "transformer_blocks", "single_transformer_blocks"
_IN_BLOCK = re.compile(r"[^.]+\.([0-9]{1,9})\.([^.]+)\.(?:([0-9]{1,9})\.)?")
_LAST_OF_UNET = re.compile(r"conv_(norm_)?out\.")
_MANY = 64
_LAST_OF_TRANSFORMER = re.compile(r"[^.]*(?<![^._])(out|final)(?![^._])|scale_shift_table")


def denoiser_groups(
    how: str, names: Sequence[str], stacks: Sequence[Stack], config: Mapping[str, object]
) -> dict[str, list[str]]:
    """Split the tensors of a denoiser into groups by one of ``DENOISER_GROUPS``."""
    is_unet = {_DOWN, _UP} <= {name.partition(".")[0] for name in names}
    is_transformer = (
        "Transformer" in str(config["_class_name"]) and bool(stacks)
        if "_class_name" in config
        else any(stack.prefix in (_DOUBLE, _SINGLE) for stack in stacks)
    )
    if not is_unet and not is_transformer:
        expected = f"a denoiser for {how}: a UNet or a diffusion transformer in the format of diffusers"
        received = str(config.get("_class_name") or config.get("model_type") or "a model of another kind")
        remedy = "Set merge.groups to one, kind, block, block+kind or layers:N."
        raise KingyoError("groups", expected, received, remedy)
    if how == "conv+attn":
        kinds = {name: "attn" if any(part in name for part in _ATTENTION) else "conv" for name in names}
        return _grouped(kinds, ("attn", "conv"))
    blocks = dict(_unet_blocks(names) if is_unet else _transformer_blocks(names, stacks))

    def order(block: str) -> tuple[int, int]:
        letters = block.rstrip("0123456789")
        return ("BASE", "IN", "M", "D", "S", "B", "OUT").index(letters), int(block[len(letters) :] or 0)

    return _grouped(blocks, sorted(set(blocks.values()), key=order))


def _grouped(group_of: Mapping[str, str], order: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {group: [] for group in order}
    for name, group in group_of.items():
        groups[group].append(name)
    return {group: names for group, names in groups.items() if names}


def _unet_blocks(names: Sequence[str]) -> Iterator[tuple[str, str]]:
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


def shortest_filters(groups: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str | None, str]]:
    """Cover each group by few, short filters: pairs of filter and group.

    A name belongs to the group of the first filter that is a substring of it; None matches every name. Single
    blocks of a denoiser come first: their names contain those of double blocks (``transformer_blocks.0.``).
    """
    groups = dict(sorted(groups.items(), key=lambda group: not group[1][0].startswith(_SINGLE)))
    owner = {name: group for group, names in groups.items() for name in names}
    left = set(owner)
    for group in groups:
        if all(owner[name] == group for name in left):
            yield None, group
            return
        foreign = [name for name, its in owner.items() if its != group]
        while open_ := [name for name in groups[group] if name in left]:
            later = [name for name in foreign if name in left]
            best = next((part for part in _best_parts(open_) if _is_sound(part, later, foreign)), open_[0])
            longer = [name for name in later if best in name]
            if longer:  # the filter is a substring of other names: these come first, by their full names
                best = max(longer, key=len)
            yield best, owner[next(name for name in left if best in name)]
            left = {name for name in left if best not in name}


def _is_sound(part: str, later: list[str], foreign: list[str]) -> bool:
    numbered = any(word.isdigit() for word in part.split("."))
    return not any(part in name for name in (later if numbered else foreign))


def _best_parts(names: list[str]) -> list[str]:
    """Return candidates for a filter: those that match most names first, short before long."""
    some = names[:: 1 + len(names) // _MANY]  # a few experts of thousands show all words
    parts = {part for name in some for part in _parts(name)}
    return sorted(parts, key=lambda part: (-sum(part in name for name in some), len(part), part))


def _parts(name: str) -> Iterator[str]:
    """Yield runs of complete words of a name; numbers only after their list's name, and ending in a dot."""
    words = name.split(".")
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            part = ".".join(words[start:end])
            dotted = f".{part}" if start else part
            closed = "." if end < len(words) else ""
            if words[end - 1].isdigit():
                if end - start > 1 and not words[start].isdigit():
                    yield from (f"{part}{closed}", f"{dotted}{closed}")
            elif not words[start].isdigit():
                yield from (part, dotted, f"{part}{closed}", f"{dotted}{closed}")
    yield name
