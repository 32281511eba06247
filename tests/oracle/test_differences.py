"""Where kingyo differs from mergekit on purpose: both sides of each difference."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kingyo.errors import KingyoError
from tests.oracle.peer import Ours, Peer, PeerError, difference
from tests.oracle.world import World, change, write_llama

pytestmark = pytest.mark.oracle

Result = Callable[[Tensor, Tensor], Tensor]
"""What the base and the task vector of ``s0`` give."""
CHANGED = "lm_head.weight"
"""The tensor that the special sources leave unchanged or zero."""
SAME = ("same0", "same1", "same2")
OUTSIDE = ("model.norm.weight", CHANGED)


@pytest.fixture(scope="module")
def special(tmp_path_factory: pytest.TempPathFactory) -> World:
    """``s0`` and ``s1`` as usual; ``same…`` are the base, ``zero`` is zero in every tensor."""
    folder = tmp_path_factory.mktemp("special")
    base = write_llama(folder / "base", seed=0)
    for seed in (1, 2):
        change(base, folder / f"s{seed - 1}", lambda old, noise: old + 0.02 * noise[0], seed)
    for name in SAME:
        change(base, folder / name, lambda old, _: old, 3)
    change(base, folder / "zero", lambda old, _: torch.zeros_like(old), 4)
    return World(folder=folder)


def recipe(
    special: World, method: str, *models: str, base: bool = True, **shared: object
) -> dict[str, object]:
    spec: dict[str, object] = {
        "merge_method": method,
        "dtype": "float32",
        "models": [{"model": special.path(name)} for name in models],
    }
    spec |= {"base_model": special.path("base")} if base else {}
    return spec | ({"parameters": shared} if shared else {})


def tensor(special: World, model: str, name: str = CHANGED) -> Tensor:
    return special.tensors[model][name].double()


def near(one: Tensor, other: Tensor) -> bool:
    return difference(one, other) < 1e-5


DIFFERENCES: Mapping[str, tuple[Sequence[str], dict[str, float], Result, Result | str]] = {
    "a zero tensor has no angle": (
        ("slerp", "zero"),
        {"t": 0.3},
        lambda base, _: 0.7 * base,
        lambda base, _: math.sin(0.7 * math.pi / 2) * base,
    ),
    "an unchanged tensor has no angle": (
        ("nuslerp", "s0", SAME[0]),
        {"weight": 1.0},
        lambda base, delta: base + 0.5 * delta,
        lambda base, delta: base + math.sqrt(0.5) * delta,
    ),
    "unchanged sources have no direction": (
        ("multislerp", *SAME),
        {"weight": 1.0},
        lambda base, _: base,
        "zero",
    ),
    "a single source does not vary": (
        ("sce", "s0"),
        {"select_topk": 0.5},
        lambda base, delta: base + delta,
        lambda base, _: base,
    ),
}
"""What differs -> method and sources, values, our result and mergekit's, or a word of its error."""


@pytest.mark.parametrize("name", DIFFERENCES)
def test_results_differ(name: str, special: World, peer: Peer, ours: Ours) -> None:
    (method, *models), shared, kingyos, theirs = DIFFERENCES[name]
    spec = recipe(special, method, *models, **shared)
    base, delta = tensor(special, "base"), tensor(special, "s0") - tensor(special, "base")
    assert near(ours.merge(spec)[CHANGED], kingyos(base, delta))
    if isinstance(theirs, str):
        with pytest.raises(PeerError, match=theirs):
            peer.merge(spec)
    else:
        assert near(peer.merge(spec)[CHANGED], theirs(base, delta))


@pytest.mark.parametrize("method", ["linear", "karcher"])
def test_a_base_that_is_not_among_the_models_is_not_merged(
    method: str, special: World, peer: Peer, ours: Ours
) -> None:
    shared = {"weight": 1.0} if method == "linear" else {}
    with_base = recipe(special, method, "s0", "s1", **shared)
    without_base = recipe(special, method, "s0", "s1", base=False, **shared)
    listed = recipe(special, method, "base", "s0", "s1", base=False, **shared)
    assert near(ours.merge(with_base)[CHANGED], ours.merge(without_base)[CHANGED])
    assert near(peer.merge(with_base)[CHANGED], ours.merge(listed)[CHANGED])


def test_weights_that_sum_to_zero_are_an_error(special: World, peer: Peer, ours: Ours) -> None:
    spec = recipe(special, "linear", "s0", "s1", base=False)
    spec["models"] = [
        {"model": special.path(name), "parameters": {"weight": weight}}
        for name, weight in (("s0", 1.0), ("s1", -1.0))
    ]
    with pytest.raises(KingyoError, match=r"weight: .*a sum of 0"):
        ours.merge(spec)
    assert not np.isfinite(peer.merge(spec)[CHANGED].numpy()).all()


@pytest.mark.parametrize("method", ["della", "della_linear"])
def test_probabilities_above_one_are_clipped(method: str, special: World, peer: Peer, ours: Ours) -> None:
    spec = recipe(special, method, "s0", weight=1.0, density=0.95)
    assert not near(ours.merge(spec)[CHANGED], tensor(special, "base"))
    with pytest.raises(PeerError, match="Epsilon"):
        peer.merge(spec)


@pytest.mark.parametrize("method", ["breadcrumbs", "breadcrumbs_ties"])
def test_at_least_one_entry_is_kept(method: str, special: World, peer: Peer, ours: Ours) -> None:
    spec = recipe(special, method, "s0", weight=1.0, density=0.01)
    name, base = "model.norm.weight", tensor(special, "base", "model.norm.weight")
    assert int(((ours.merge(spec)[name].double() - base).abs() > 1e-7).sum()) == 1
    assert near(peer.merge(spec)[name], base)


def test_final_norm_and_head_get_the_last_value_of_a_gradient(special: World, peer: Peer, ours: Ours) -> None:
    spec = recipe(special, "passthrough", "s0", base=False, scale=[1.0, 3.0])
    kingyos, theirs = ours.merge(spec), peer.merge(spec)
    for name in OUTSIDE:
        assert near(kingyos[name], 3 * tensor(special, "s0", name))
        assert near(theirs[name], tensor(special, "s0", name))


@pytest.mark.parametrize(("name", "meant"), [("normalise", "normalize"), ("gamma", "gamma")])
def test_unknown_parameters_are_errors(name: str, meant: str, special: World, peer: Peer, ours: Ours) -> None:
    spec = recipe(special, "linear", "s0", "s1", base=False, weight=1.0, **{name: 0.1})
    peer.merge(spec)
    with pytest.raises(KingyoError, match=meant):
        ours.merge(spec)


def test_a_shared_value_on_a_source_is_an_error(special: World, peer: Peer, ours: Ours) -> None:
    """mergekit ignores it."""
    spec = recipe(special, "task_arithmetic", "s0", weight=0.5)
    plain = peer.merge(spec)
    spec["models"] = [{"model": special.path("s0"), "parameters": {"lambda": 0.1}}]
    assert near(peer.merge(spec)[CHANGED], plain[CHANGED])
    with pytest.raises(KingyoError, match="lambda"):
        ours.merge(spec)


def test_low_precision_applies_only_to_the_output(
    half_world: World, peer: Peer, ours: Ours, tmp_path: Path
) -> None:
    """mergekit computes in ``dtype``; kingyo computes in float32 and rounds the output to it."""
    spec: dict[str, object] = {
        "merge_method": "task_arithmetic",
        "models": [{"model": half_world.path(name)} for name in ("s0", "s1", "s2")],
        "base_model": half_world.path("base"),
        "parameters": {"weight": 0.3},
    }
    exact = peer.merge(spec | {"dtype": "float32"})
    rounded = {name: each.bfloat16() for name, each in exact.items()}
    kingyos, theirs = (tool.merge(spec | {"dtype": "bfloat16"}) for tool in (ours, peer))
    share = {
        tool: np.mean([float((tensors[name] == rounded[name]).double().mean()) for name in rounded])
        for tool, tensors in (("kingyo", kingyos), ("mergekit", theirs))
    }
    assert share["kingyo"] > 0.99 > share["mergekit"]
