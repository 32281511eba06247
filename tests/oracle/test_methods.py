"""All methods of mergekit 0.1.5 against mergekit itself, in float32: the deterministic ones.

The random ones are compared here with density 1, otherwise in ``test_random``.
"""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from kingyo.merging.methods import METHODS
from tests.oracle.cases import PLAIN, VARIED, Case
from tests.oracle.definitions import DEFINITIONS
from tests.oracle.methods import MISSING, defined, undecided
from tests.oracle.peer import Ours, Peer, difference
from tests.oracle.world import World

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-5
OUTSIDE_LAST = ("model.norm.weight", "lm_head.weight")
"""Tensors after the layers get the first value of a gradient in mergekit, the last in kingyo."""


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_method_is_here(name: str) -> None:
    if name in MISSING:
        assert name not in METHODS.names(), f"{name} is here: take it out of MISSING"
        pytest.skip(f"{name} is still to be written")
    assert name in METHODS.names()


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_mergekit_matches_the_definitions(case: Case, peer: Peer, world: World) -> None:
    """The definitions hold: a failure here means that mergekit changed, or was misread."""
    theirs = peer.merge(case.recipe(world))
    assert theirs.keys() == world.tensors["base"].keys()
    for name, tensor in theirs.items():
        expected = defined(case, world, name)
        mismatch = np.abs(tensor.double().numpy() - expected) > TOLERANCE * np.abs(expected).max()
        assert not np.any(mismatch & ~undecided(case, world, name)), name


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_plain_values(case: Case, peer: Peer, ours: Ours, world: World) -> None:
    if case.method in MISSING:
        pytest.skip(f"{case.method} is still to be written")
    compare(ours.merge(case.recipe(world)), peer.merge(case.recipe(world)), case, world)


@pytest.mark.parametrize("case", VARIED, ids=str)
def test_gradients_and_filters(case: Case, peer: Peer, ours: Ours, world: World) -> None:
    if case.method in MISSING:
        pytest.skip(f"{case.method} is still to be written")
    ours_, theirs = ours.merge(case.recipe(world)), peer.merge(case.recipe(world))
    assert ours_.keys() == theirs.keys()
    if _has_gradient_outside(case):
        for tensors in (ours_, theirs):
            for name in OUTSIDE_LAST:
                del tensors[name]
    compare(ours_, theirs, case, world)


def compare(ours: dict[str, Tensor], theirs: dict[str, Tensor], case: Case, world: World) -> None:
    """The same names, shapes and dtypes, and numbers within the tolerance."""
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        ambiguous = undecided(case, world, name)
        if ambiguous.any():
            assert ambiguous.mean() < 0.05
            for tensors in (ours, theirs):
                tensors[name] = tensors[name].masked_fill(_mask(ambiguous), 0.0)
        assert difference(ours[name], theirs[name]) <= TOLERANCE, name


def _mask(mask: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(mask)


def _has_gradient_outside(case: Case) -> bool:
    """Whether a gradient may reach tensors outside the layers."""
    values = [value for parameters in (case.shared, *case.each) for value in parameters.values()]
    plain = [value for value in values if isinstance(value, list) and not isinstance(value[0], dict)]
    entries = [
        entry for value in values if isinstance(value, list) for entry in value if isinstance(entry, dict)
    ]
    catch_all = [entry for entry in entries if entry.get("filter") in (None, "*")]
    return bool(plain) or any(isinstance(entry["value"], list) for entry in catch_all)
