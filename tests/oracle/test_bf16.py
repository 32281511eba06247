"""In bfloat16 ours is the exact result rounded once, so no other answer in bfloat16 is nearer to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.oracle.cases import PLAIN, Case
from tests.oracle.definitions import Vector
from tests.oracle.peer import Ours, Peer, PeerError
from tests.oracle.test_methods import MISSING, defined, undecided, wide
from tests.oracle.world import World

pytestmark = pytest.mark.oracle

ROUNDED_OTHERWISE = 2e-3
"""The share of entries that float32 may put on the other side of a midpoint of two bfloat16 numbers."""


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_error_against_float64(case: Case, peer: Peer, ours: Ours, half_world: World) -> None:
    if case.method in MISSING:
        pytest.skip(f"{case.method} is still to be written")
    recipe = case.recipe(half_world, dtype="bfloat16")
    merged, theirs = ours.merge(recipe), peer_merge(peer, recipe)
    wrong = total = 0
    for name, tensor in merged.items():
        assert tensor.dtype == torch.bfloat16
        exact, decided = defined(case, half_world, name), ~undecided(case, half_world, name)
        wrong += int(np.sum((wide(tensor) != rounded(exact)) & decided))
        total += tensor.numel()
        if theirs is not None:
            assert error(tensor, exact, decided) <= error(theirs[name], exact, decided) * (1 + 1e-4), name
    assert wrong <= ROUNDED_OTHERWISE * total


def peer_merge(peer: Peer, recipe: dict[str, object]) -> dict[str, Tensor] | None:
    """Its result, or None where it cannot work in bfloat16."""
    try:
        return peer.merge(recipe)
    except PeerError:
        return None


def rounded(exact: Vector) -> Vector:
    """The nearest bfloat16."""
    return wide(torch.from_numpy(exact).to(torch.bfloat16))


def error(tensor: Tensor, exact: Vector, decided: np.ndarray) -> float:
    """Root mean square; NaN of a tool counts as infinite."""
    off = (wide(tensor) - exact)[decided]
    found = float(np.sqrt(np.mean(off**2)))
    return found if found == found else float("inf")
