"""Whether two checkpoints can be merged: the same tensors, the same shapes, read by the same model.

It looks at names, shapes and configs; it reads no weight.
"""

from __future__ import annotations

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.header import TensorInfo
from kingyo.errors import KingyoError

_SAME_CONFIG = ("model_type", "num_attention_heads", "num_key_value_heads", "head_dim", "n_head")
"""Keys that change what weights of the same shapes mean."""


def check_fit(like: Checkpoint, other: Checkpoint) -> None:
    """Check that two checkpoints have the same tensors, of the same shapes, and the same heads.

    Raises:
        KingyoError: they have not; the first difference is named, with both sides of it.
    """
    if other is like:
        return
    here, there = like.tensors, other.tensors
    if here.keys() != there.keys():
        name = min(here.keys() ^ there.keys())
        owner, lacking = (like, other) if name in here else (other, like)
        raise KingyoError(
            f"{like.reference} and {other.reference}",
            expected="models with the same tensors",
            received=f"'{name}' in {owner.reference} but not in {lacking.reference}",
            remedy="Merge models of one architecture.",
        )
    for name, info in here.items():
        _check_same_form(info, there[name], like.reference, other.reference)
    for key in _SAME_CONFIG:
        if like.config.get(key) != other.config.get(key):
            raise KingyoError(
                f"{key} in config.json",
                expected=f"{like.config.get(key)!r} as in {like.reference}",
                received=f"{other.config.get(key)!r} in {other.reference}",
                remedy="Merge models of one architecture.",
            )


def _check_same_form(mine: TensorInfo, yours: TensorInfo, here: str, there: str) -> None:
    if mine.shape != yours.shape:
        raise KingyoError(
            mine.name,
            expected=f"one shape in all models: {list(mine.shape)} as in {here}",
            received=f"{list(yours.shape)} in {there}",
            remedy="Merge models of one architecture and vocabulary.",
        )
    if mine.is_floating != yours.is_floating:
        raise KingyoError(
            mine.name,
            expected=f"{mine.dtype} as in {here}",
            received=f"{yours.dtype} in {there}",
            remedy="Merge models in floating point, not quantised ones.",
        )
