"""Where methods of mergekit are defined, undecided or missing."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from tests.oracle.cases import Case
from tests.oracle.definitions import Vector, define, fusion_importance
from tests.oracle.world import World

MISSING: frozenset[str] = frozenset()
"""Methods that are still to be written; it can only shrink."""


def defined(case: Case, world: World, name: str) -> Vector:
    """The definition's result for one tensor."""
    shared, each = case.values()
    sources = [wide(world.tensors[model][name]) for model in case.models]
    return define(
        case.method, wide(world.tensors["base"][name]) if case.base else None, sources, shared, each
    )


def undecided(case: Case, world: World, name: str) -> np.ndarray:
    """Entries that rounding decides: Arcee's divergence cancels in float32, so its limit is blurred there."""
    base = wide(world.tensors["base"][name])
    if case.method != "arcee_fusion":
        return np.zeros(base.shape, dtype=bool)
    importance, least = fusion_importance(base, wide(world.tensors[case.models[0]][name]))
    return np.abs(importance / least - 1) < 2e-3


def wide(tensor: Tensor) -> Vector:
    """In float64."""
    return tensor.double().numpy()
