"""All methods of mergekit 0.1.5 against mergekit itself, in float32: the deterministic ones.

The random ones are compared here with density 1, otherwise in ``test_random``.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.merging.methods.definitions import arcee_importance, arcee_threshold
from tests.oracle.cases import PLAIN, VARIED, Case
from tests.oracle.peer import Ours, Peer, difference
from tests.oracle.world import World

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-5
OUTSIDE_LAST = ("model.norm.weight", "lm_head.weight")
"""Tensors after the layers get the first value of a gradient in mergekit, the last in kingyo."""


@pytest.mark.parametrize("case", (*PLAIN, *VARIED), ids=str)
def test_the_same_recipe_gives_the_same_weights(case: Case, peer: Peer, ours: Ours, world: World) -> None:
    kingyos, theirs = ours.merge(case.recipe(world)), peer.merge(case.recipe(world))
    assert kingyos.keys() == theirs.keys()
    for name in theirs.keys() - set(OUTSIDE_LAST if _has_gradient_outside(case) else ()):
        assert kingyos[name].dtype == theirs[name].dtype, name
        ambiguous = undecided(case, world, name)
        assert ambiguous.double().mean() < 0.05
        both = (tensors[name].masked_fill(ambiguous, 0.0) for tensors in (kingyos, theirs))
        assert difference(*both) <= TOLERANCE, name


def undecided(case: Case, world: World, name: str) -> Tensor:
    """Entries that rounding decides: Arcee's divergence cancels in float32, so its limit is blurred there."""
    base, source = (world.tensors[model][name].double().numpy() for model in ("base", case.models[0]))
    if case.method != "arcee_fusion":
        return torch.zeros(base.shape, dtype=torch.bool)
    importance = arcee_importance(base, source)
    return torch.from_numpy(np.abs(importance / arcee_threshold(importance) - 1) < 2e-3)


def _has_gradient_outside(case: Case) -> bool:
    """Whether a gradient may reach tensors outside the layers."""
    values = [value for parameters in (case.shared, *case.each) for value in parameters.values()]
    plain = [value for value in values if isinstance(value, list) and not isinstance(value[0], dict)]
    entries = [
        entry for value in values if isinstance(value, list) for entry in value if isinstance(entry, dict)
    ]
    catch_all = [entry for entry in entries if entry.get("filter") in (None, "*")]
    return bool(plain) or any(isinstance(entry["value"], list) for entry in catch_all)
