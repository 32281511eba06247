"""Weighted sums, and methods that keep some entries of task vectors, against their definitions in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.kernels import to_tensor
from kingyo.merging.kernels.masks import uniform
from kingyo.merging.kernels.statistics_cache import TensorStats
from kingyo.merging.kernels.threads import execution
from kingyo.merging.methods import METHODS, TensorContext, merge_tensor
from tests.merging.methods import definitions
from tests.merging.methods.drawn import (
    CONTEXT,
    assert_close,
    densities,
    draw_weights,
    models,
    run,
    shapes,
    values,
    wide,
)


@given(models(), st.booleans(), st.data())
def test_linear(drawn: tuple[Tensor, list[Tensor]], normalize: bool, data: st.DataObject) -> None:
    _, sources = drawn
    weights = draw_weights(data, len(sources))
    if normalize and abs(sum(weights)) < 1e-8:
        with pytest.raises(KingyoError, match=r"weight: .*a sum of 0"):
            run("linear", sources, None, weight=weights, normalize=normalize)
        return
    merged = run("linear", sources, None, weight=weights, normalize=normalize)
    assert_close(merged, definitions.linear(wide(sources), weights, normalize))


@given(models(), st.booleans(), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), st.data())
def test_task_arithmetic(
    drawn: tuple[Tensor, list[Tensor]], normalize: bool, lam: float, data: st.DataObject
) -> None:
    base, sources = drawn
    weights = draw_weights(data, len(sources))
    given_ = {"weight": weights, "normalize": normalize, "lambda": lam}
    merged = run("task_arithmetic", sources, base, **given_)
    expected = definitions.task_arithmetic(*wide([base]), wide(sources), weights, lam, normalize)
    assert_close(merged, expected)


@given(models(), st.booleans(), st.data())
def test_ties(drawn: tuple[Tensor, list[Tensor]], normalize: bool, data: st.DataObject) -> None:
    base, sources = drawn
    weights = draw_weights(data, len(sources))
    kept = tuple(data.draw(densities) for _ in sources)
    merged = run("ties", sources, base, weight=weights, density=kept, normalize=normalize)
    assert_close(merged, definitions.ties(*wide([base]), wide(sources), weights, kept, normalize))


@given(models(), st.booleans(), st.booleans(), st.sampled_from(["norm", "density", "none"]), st.data())
def test_dare(
    drawn: tuple[Tensor, list[Tensor]], elect: bool, normalize: bool, rescale: str, data: st.DataObject
) -> None:
    base, sources = drawn
    weights = draw_weights(data, len(sources))
    kept = tuple(data.draw(st.floats(0.05, 1)) for _ in sources)
    merged = run(
        "dare_ties" if elect else "dare_linear",
        sources,
        base,
        weight=weights,
        density=kept,
        normalize=normalize,
        rescale=rescale != "none",
        rescale_by_density=rescale == "density",
    )
    random = [
        uniform(CONTEXT.key(i), 0, base.numel()).numpy().astype(np.float64) for i in range(len(sources))
    ]
    thin = [
        definitions.dare(delta - wide([base])[0], numbers, float(np.float32(density)), rescale)
        for delta, numbers, density in zip(wide(sources), random, kept, strict=True)
    ]
    votes = sum(w * d for w, d in zip(weights, thin, strict=True))
    if elect and bool(np.any((np.abs(votes) < 1e-5) & (votes != 0))):
        return  # rounding decides the vote
    expected = wide([base])[0] + definitions.combine(thin, weights, normalize, elect)
    np.testing.assert_allclose(merged.numpy(), expected, rtol=1e-4, atol=1e-4)


@given(models(), st.booleans(), st.booleans(), st.data())
def test_breadcrumbs(
    drawn: tuple[Tensor, list[Tensor]], elect: bool, normalize: bool, data: st.DataObject
) -> None:
    base, sources = drawn
    weights = draw_weights(data, len(sources))
    kept = [data.draw(densities) for _ in sources]
    gamma = [data.draw(st.floats(0, 0.5)) for _ in sources]
    merged = run(
        "breadcrumbs_ties" if elect else "breadcrumbs",
        sources,
        base,
        weight=weights,
        density=kept,
        gamma=gamma,
        normalize=normalize,
    )
    first, *others = wide([base, *sources])
    thin = [
        definitions.breadcrumbs(other - first, d, g) for other, d, g in zip(others, kept, gamma, strict=True)
    ]
    combined = definitions.combine(thin, weights, normalize and elect, elect)
    if normalize and not elect and abs(sum(weights)) >= 1e-8:
        combined = combined / sum(weights)
    assert_close(merged, first + combined)


@pytest.mark.parametrize("rescale", ["norm", "chance", "none"])
@given(models(1, 1, shapes), st.floats(0.05, 1), st.floats(0, 0.5))
def test_della(rescale: str, drawn: tuple[Tensor, list[Tensor]], density: float, epsilon: float) -> None:
    base, sources = drawn
    merged = run(
        "della_linear",
        sources,
        base,
        weight=1.0,
        density=density,
        epsilon=epsilon,
        rescale=rescale != "none",
        rescale_by_density=rescale == "chance",
    )
    first, source = wide([base, *sources])
    delta = source - first
    random = uniform(CONTEXT.key(0), 0, base.numel()).numpy().astype(np.float64).reshape(delta.shape)
    chances = definitions.della_chances(delta, density, epsilon)
    if np.any(np.abs(random - chances) < 1e-6):
        return  # rounding decides the draw
    thin = np.where((random < chances) | (density >= 1), delta, 0.0)
    if rescale == "chance" and density < 1:
        thin = thin / np.maximum(chances, 1e-12)
    if rescale == "norm" and np.abs(thin).sum() > 0:
        thin = thin * (np.abs(delta).sum() / np.abs(thin).sum())
    assert_close(merged, first + thin, 1e-4)


@pytest.mark.parametrize("method", ["ties", "breadcrumbs", "breadcrumbs_ties"])
def test_rescaled_they_keep_the_sum_of_magnitudes(method: str) -> None:
    source = torch.randn(500, generator=torch.Generator().manual_seed(0))
    parameters = {"weight": 1.0, "density": 0.3}
    thin, full = (run(method, [source], torch.zeros(500), **parameters, rescale=on) for on in (False, True))
    assert int((thin != 0).sum()) == 150
    torch.testing.assert_close(full, thin * (source.abs().sum() / thin.abs().sum()))


def test_della_with_the_elected_sign_is_normalised() -> None:
    """With density 1 nothing is random, and della equals ties."""
    generator = torch.Generator().manual_seed(0)
    base, *sources = torch.randn(4, 50, generator=generator)
    weights = [0.5, 0.3, 0.9]
    merged = run("della", sources, base, weight=weights, density=1.0)
    torch.testing.assert_close(merged, run("ties", sources, base, weight=weights, density=1.0))


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties", "della", "della_linear"])
def test_densities_at_their_ends(method: str) -> None:
    base, source = torch.zeros(64, 8), torch.ones(64, 8)
    assert run(method, [source], base, weight=1.0, density=1.0).tolist() == source.tolist()
    assert not run(method, [source], base, weight=1.0, density=0.0).any()


@given(st.sampled_from([1, 2, 4]), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.data())
def test_sce(count: int, topk: float, data: st.DataObject) -> None:
    base, sources = data.draw(models(count, count))  # the mean of 1, 2 or 4 numbers is exact
    merged = run("sce", sources, base, select_topk=topk)
    first, *others = wide([base, *sources])
    assert_close(merged, definitions.sce(first, others, topk))


@pytest.mark.parametrize("method", ["ties", "breadcrumbs", "dare_linear", "dare_ties", "della"])
@settings(max_examples=15)
@given(st.lists(densities, min_size=3, max_size=6), st.booleans())
def test_sharing_measures_does_not_change_candidates(method: str, tried: list[float], compiled: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    base, *sources = (torch.randn(70, 601, generator=generator).bfloat16() for _ in range(3))
    shared = TensorContext(0, "w", TensorStats(), ["a", "b"], "base")
    for density in tried:
        parameters = values(method, 2, weight=0.5, density=(density, 1 - density))
        with execution(compiled=compiled):
            merged = to_tensor(merge_tensor(METHODS.get(method), sources, base, parameters, shared))
        alone = to_tensor(merge_tensor(METHODS.get(method), sources, base, parameters, TensorContext(0, "w")))
        assert torch.equal(merged, alone)
