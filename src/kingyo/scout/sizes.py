"""Say in a few words how the architectures and sizes in two configs differ.

Of models with several parts only the language parts are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from kingyo.core.io.units import counted
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.checkpoints.config_comparison import layers_config
from kingyo.scout.candidate import architecture_of

_SIZES: Mapping[str, Sequence[str]] = {
    "layer": ("num_hidden_layers", "n_layer", "num_layers"),
    "width": ("hidden_size", "n_embd", "d_model"),
    "inner width": ("intermediate_size", "n_inner", "d_ff"),
    "head": ("num_attention_heads", "n_head", "num_heads"),
    "key-value head": ("num_key_value_heads",),
    "head size": ("head_dim", "d_kv"),
    "expert": ("num_local_experts", "num_experts", "n_routed_experts"),
    "vocabulary size": ("vocab_size",),
    "widths": ("block_out_channels",),
    "width of prompts": ("cross_attention_dim", "joint_attention_dim"),
}
"""Words -> the keys that mean it, of which a config has one."""
_COUNTED = ("layer", "head", "key-value head", "expert")


def sizes_in_words(model: Checkpoint, like: Checkpoint) -> str | None:
    """Return how the config of a model differs from that of another, or None if no size does.

    For example ``2 layers, not 4; width 160, not 128 as in zoo/pool/base``.
    """
    mine, its = layers_config(model), layers_config(like)
    found = "; ".join([*_architectures(mine, its), *_sizes(mine, its)])
    return f"{found} as in {like.reference}" if found else None


def _architectures(mine: Mapping[str, object], its: Mapping[str, object]) -> Iterator[str]:
    """Yield both names if one is not made of the other, as qwen2_vl_text of qwen2."""
    one, other = architecture_of(mine), architecture_of(its)
    if one and other and not f"{one}_".startswith(f"{other}_") and not other.startswith(f"{one}_"):
        yield f"architecture {one}, not {other}"


def _sizes(mine: Mapping[str, object], its: Mapping[str, object]) -> Iterator[str]:
    found: dict[str, tuple[object, object]] = {}
    for words, keys in _SIZES.items():
        one, other = _value(mine, keys), _value(its, keys)
        repeats = words == "key-value head" and found.get("head") == (one, other)
        if one is None or other is None or one == other or repeats:
            continue
        found[words] = one, other
        size = counted(one, words) if isinstance(one, int) and words in _COUNTED else f"{words} {one}"
        yield f"{size}, not {other}"


def _value(config: Mapping[str, object], keys: Sequence[str]) -> int | list[object] | None:
    """Return the size that a config states; None if it states none."""
    value = next((config[key] for key in keys if config.get(key) is not None), None)
    is_list = isinstance(value, list) and all(isinstance(each, int) for each in cast("list[object]", value))
    return cast("int | list[object]", value) if is_list or isinstance(value, int) else None
