"""In bfloat16 ours is the exact result rounded once, so no other answer in bfloat16 is nearer to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.oracle.cases import PLAIN, Case
from tests.oracle.definitions import Vector
from tests.oracle.methods import MISSING, defined, undecided, wide
from tests.oracle.peer import Ours, Peer, PeerError
from tests.oracle.world import World

pytestmark = pytest.mark.oracle

FLOAT32 = 1e-6
"""What float32 arithmetic may add, as a share of the largest entry: it decides between two equally near."""


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_error_against_float64(case: Case, peer: Peer, ours: Ours, half_world: World) -> None:
    if case.method in MISSING:
        pytest.skip(f"{case.method} is still to be written")
    recipe = case.recipe(half_world, dtype="bfloat16")
    merged, theirs = ours.merge(recipe), peer_merge(peer, recipe)
    for name, tensor in merged.items():
        assert tensor.dtype == torch.bfloat16
        exact, decided = defined(case, half_world, name), ~undecided(case, half_world, name)
        off = np.abs(wide(tensor) - exact)
        nearest = np.abs(wide(torch.from_numpy(exact).to(torch.bfloat16)) - exact)
        assert np.all((off <= nearest + FLOAT32 * np.abs(exact).max())[decided]), name
        if theirs is not None:
            assert size(off[decided]) <= size(np.abs(wide(theirs[name]) - exact)[decided]) * (1 + 1e-4), name


def peer_merge(peer: Peer, recipe: dict[str, object]) -> dict[str, Tensor] | None:
    """Its result, or None where it cannot work in bfloat16. (ramplus_tl leaves float32.)"""
    try:
        return {name: tensor.to(torch.bfloat16) for name, tensor in peer.merge(recipe).items()}
    except PeerError:
        return None


def size(errors: Vector) -> float:
    """Root mean square; NaN counts as infinite."""
    rms = float(np.sqrt(np.mean(errors**2)))
    return rms if rms == rms else float("inf")
