"""Whether layers of two models may follow one another: a checkpoint has one config, for all of its layers.

What is written layer by layer (kinds of attention, which layers are dense) may differ, as each layer keeps
its own. It looks at configs and reads no weight.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import cast

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.defaults import complete
from kingyo.checkpoints.layers import find_levels
from kingyo.checkpoints.meaning import Difference, differences
from kingyo.checkpoints.relayered import kept_by_layers
from kingyo.errors import KingyoError

_WINDOWS = {"sliding_window", "use_sliding_window"}
_OF_ENDS = re.compile(r"final_logit_softcapping|logits_scaling|logit_scale|embedding_multiplier")
"""What is done before and behind the layers, by the model that gives all but these."""
_DERIVED = {"head_dim", "type"}
"""Keys that say again what others say: heads have shapes, and ``rope_type`` was once ``type``."""
_WIDTHS = re.compile(r"hidden_size|n_embd|d_model")
_SIZES = re.compile(r"\w*size|n_embd|d_model|n_inner|n(um)?_\w*experts|\w*bias")
_ONE = "a path has one config for all of its layers"
_BY_NUMBER = {"diffllama", "minimax"}
"""Architectures (model_type) whose layers compute with their own number."""


def check_passing(like: Checkpoint, other: Checkpoint, *, part: str, is_framed: bool) -> None:
    """Refuse layers of a model that would mean something else under the config of another.

    Args:
        like: whose config the result has.
        other: whose layers are taken.
        part: whose layers they are.
        is_framed: whether ``like`` alone gives all that is no layer.

    Raises:
        KingyoError: the configs differ in something that holds for all layers; both values are named.
    """
    if other is like:
        return
    kept = kept_by_layers(like.config, part) & kept_by_layers(other.config, part)
    known = _known(like)
    found = [each for each in differences(like, other) if _counts(each, kept, known, is_framed=is_framed)]
    if found:
        raise _differs(min(found, key=_weight), like, other)
    _check_window(like, other, part)


def check_places(like: Checkpoint, numbers: Collection[int]) -> None:
    """Refuse another order of layers whose function depends on their number.

    Args:
        like: whose config the result has.
        numbers: which layers they were, in their new order.

    Raises:
        KingyoError: they would compute something else in their new places.
    """
    kind, turned_on = like.config.get("model_type"), "scale_attn_by_inverse_layer_idx"
    is_numbered = kind in _BY_NUMBER or like.config.get(turned_on) is True
    if is_numbered and any(number != place for place, number in enumerate(numbers)):
        raise KingyoError(
            f"path of {like.reference}",
            expected="each layer in its own place",
            received=f"another order, in a model of type {kind} whose layers compute with their number",
            remedy="Take models of another architecture: these layers mean something else elsewhere.",
        )


def _known(like: Checkpoint) -> Collection[str] | None:
    """Keys that transformers reads; None where it does not know the architecture."""
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


def _weight(each: Difference) -> tuple[int, str]:
    """What explains the other differences comes first."""
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
        else f"Take models that agree on it; or, if the layers of {other.reference} do as well with "
        f"{_json(each.mine)}, write that into the config.json of a copy.",
    )


def _json(value: object) -> str:
    """A value as a config.json has it."""
    return json.dumps(value, default=str)[:80]


def _check_window(like: Checkpoint, other: Checkpoint, part: str) -> None:
    """Attention of a window: all that have one have the same."""
    mine, yours = _window(like, part), _window(other, part)
    if yours is None or mine == yours:
        return
    remedy = (
        f"Let {other.reference} give all but the layers: it says what a window is."
        if mine is None
        else "Take models of one window."
    )
    raise KingyoError(
        "sliding_window in config.json",
        expected=f"{'no window' if mine is None else mine} as in {like.reference}: {_ONE}",
        received=f"{yours} in {other.reference}",
        remedy=remedy,
    )


def _window(model: Checkpoint, part: str) -> int | None:
    """How far layers of a model look back, those that do not look at all."""
    level = find_levels(model.config, part)[-1]
    full = complete(model.config)
    for key in level.path:
        full = cast("Mapping[str, object]", full.get(key) or {})
    stated = {**level.stated, **full}
    kinds, window = stated.get("layer_types"), stated.get("sliding_window")
    if isinstance(kinds, list) and not any("sliding" in str(each) for each in cast("list[object]", kinds)):
        return None
    return window if isinstance(window, int) else None
