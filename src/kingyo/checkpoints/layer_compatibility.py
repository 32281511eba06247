"""Check that layers of two models can be combined: a checkpoint has one config for all its layers.

Values that a config states per layer (kinds of attention, which layers are dense) may differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import cast

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.config_comparison import Difference, differences
from kingyo.checkpoints.config_defaults import complete
from kingyo.checkpoints.layer_config import kept_by_layers
from kingyo.checkpoints.layers import find_levels
from kingyo.errors import KingyoError

_WINDOWS = {"sliding_window", "use_sliding_window"}
_OF_ENDS = re.compile(r"final_logit_softcapping|logits_scaling|logit_scale|embedding_multiplier")
"""Keys that apply before and after the layers."""
_DERIVED = {"head_dim", "type"}
"""Keys that repeat others: ``head_dim`` follows from shapes, and ``type`` is the old ``rope_type``."""
_WIDTHS = re.compile(r"hidden_size|n_embd|d_model")
_SIZES = re.compile(r"\w*size|n_embd|d_model|n_inner|n(um)?_\w*experts|\w*bias")
_ONE = "a path has one config for all of its layers"
_BY_NUMBER = {"diffllama", "minimax"}
"""Architectures (model_type) whose layers use their own number in the computation."""


def check_passing(like: Checkpoint, other: Checkpoint, *, part: str, is_framed: bool) -> None:
    """Check that a model's layers compute the same function under the config of another.

    Args:
        like: the model that gives the config.
        other: the model that gives layers.
        part: the part that the layers belong to.
        is_framed: whether ``like`` gives everything outside the layers.

    Raises:
        KingyoError: the configs differ in a value that applies to all layers.
    """
    if other is like:
        return
    kept = kept_by_layers(like.config, part) & kept_by_layers(other.config, part)
    known = _known(like)
    conflicts = [each for each in differences(like, other) if _counts(each, kept, known, is_framed=is_framed)]
    if conflicts:
        raise _differs(min(conflicts, key=_rank), like, other)
    _check_window(like, other, part)


def check_places(like: Checkpoint, numbers: Collection[int]) -> None:
    """Check that layers may be reordered: in some architectures their function depends on their number.

    Args:
        like: the model that gives the config.
        numbers: original numbers of the layers, in their new order.

    Raises:
        KingyoError: the layers would compute a different function in their new places.
    """
    kind, turned_on = like.config.get("model_type"), "scale_attn_by_inverse_layer_idx"
    is_numbered = kind in _BY_NUMBER or like.config.get(turned_on) is True
    if is_numbered and any(number != place for place, number in enumerate(numbers)):
        raise KingyoError(
            f"path of {like.reference}",
            expected="each layer in its original place",
            received=f"another order, in a model of type {kind} whose layers depend on their number",
            remedy="Take models of another architecture.",
        )


def _known(like: Checkpoint) -> Collection[str] | None:
    """Return the keys that transformers reads; None if it does not know the architecture."""
    kind = like.config.get("model_type")
    bare = complete({"model_type": kind})
    return bare.keys() if len(bare) > 1 else None


def _counts(
    each: Difference, kept: Collection[str], known: Collection[str] | None, *, is_framed: bool
) -> bool:
    if each.last in kept or (each.last in _WINDOWS and "layer_types" in kept):
        return False
    if is_framed and _OF_ENDS.fullmatch(each.last):
        return False
    if each.last in _DERIVED and None in (each.mine, each.yours):
        return False
    return known is None or each.key.partition(".")[0] in known


def _rank(each: Difference) -> tuple[int, str]:
    """Return the sort key of a difference; those that explain others come first."""
    patterns = (re.compile("model_type"), _WIDTHS)
    rank = next((i for i, pattern in enumerate(patterns) if pattern.fullmatch(each.last)), len(patterns))
    return rank, each.key


def _differs(each: Difference, like: Checkpoint, other: Checkpoint) -> KingyoError:
    is_shape = each.is_meaning or bool(_SIZES.fullmatch(each.last))
    return KingyoError(
        f"{each.key} in config.json",
        expected=f"{_json(each.mine)} as in {like.reference}: {_ONE}",
        received=f"{_json(each.yours)} in {other.reference}",
        remedy="Take models of one architecture and size."
        if is_shape
        else f"Take models with the same {each.last}; or, if the layers of {other.reference} work as well "
        f"with {_json(each.mine)}, write it into the config.json of a copy.",
    )


def _json(value: object) -> str:
    """Format a value as in a config.json."""
    return json.dumps(value, default=str)[:80]


def _check_window(like: Checkpoint, other: Checkpoint, part: str) -> None:
    """Check that all layers with windowed attention have the same window."""
    window, other_window = _window(like, part), _window(other, part)
    if other_window is None or window == other_window:
        return
    remedy = (
        f"Let {other.reference}, which has a window, give everything but the layers."
        if window is None
        else "Take models with the same window."
    )
    raise KingyoError(
        "sliding_window in config.json",
        expected=f"{'no window' if window is None else window} as in {like.reference}: {_ONE}",
        received=f"{other_window} in {other.reference}",
        remedy=remedy,
    )


def _window(model: Checkpoint, part: str) -> int | None:
    """Return the attention window of a model's layers, or None if they attend to all tokens."""
    level = find_levels(model.config, part)[-1]
    full = complete(model.config)
    for key in level.path:
        full = cast("Mapping[str, object]", full.get(key) or {})
    stated = {**level.stated, **full}
    kinds, window = stated.get("layer_types"), stated.get("sliding_window")
    if isinstance(kinds, list) and not any("sliding" in str(each) for each in cast("list[object]", kinds)):
        return None
    return window if isinstance(window, int) else None
