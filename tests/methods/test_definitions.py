"""Weighted sums, slerp, TIES and DARE against their definitions in float64, on small vectors of any kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.kernels.random_numbers import uniform
from tests.methods import definitions
from tests.methods.drawn import CONTEXT, assert_close, densities, draw_weights, models, run, wide


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


@given(models(least=1, most=1), st.floats(0, 1))
def test_slerp(drawn: tuple[Tensor, list[Tensor]], t: float) -> None:
    base, sources = drawn
    merged = run("slerp", sources, base, t=t)
    first, second = wide([base, *sources])
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    if norms > 0 and -1 <= first @ second / norms < -0.999:
        return  # opposite tensors: both branches are valid, and sin Ω is near zero
    np.testing.assert_allclose(merged.numpy(), definitions.slerp(first, second, t), rtol=1e-4, atol=1e-4)


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


def test_large_tensors_are_merged_as_small_ones() -> None:
    """Limits of TIES and ratios of DARE are of the complete tensor, also with several blocks."""
    generator = torch.Generator().manual_seed(0)
    n = 200_001
    base = torch.randn(n, generator=generator)
    sources = [base + 0.01 * torch.randint(-20, 21, (n,), generator=generator) for _ in range(2)]
    weights, kept = (1.0, 0.5), (0.3, 0.001)
    deltas = [(source - base).numpy().astype(np.float64) for source in sources]
    trimmed = [definitions.trim(delta, density) for delta, density in zip(deltas, kept, strict=True)]
    merged = run("ties", sources, base, weight=weights, density=kept, normalize=False)
    expected = wide([base])[0] + definitions.combine(trimmed, weights, False, elect=True)
    np.testing.assert_allclose(merged.numpy(), expected, atol=1e-6)
    random = [uniform(CONTEXT.key(i), 0, n).numpy().astype(np.float64) for i in range(2)]
    thin = [
        definitions.dare(d, r, np.float32(k), "norm") for d, r, k in zip(deltas, random, kept, strict=True)
    ]
    merged = run("dare_linear", sources, base, weight=weights, density=kept)
    expected = wide([base])[0] + definitions.combine(thin, weights, False, elect=False)
    np.testing.assert_allclose(merged.numpy(), expected, rtol=1e-5, atol=1e-5)


@given(st.integers(1, 400), st.floats(0, 1, exclude_max=True))
def test_ties_keeps_exactly_k(n: int, density: float) -> None:
    source = torch.ones(n)  # all magnitudes are equal
    merged = run("ties", [source], torch.zeros(n), weight=1.0, density=density)
    k = max(1, int(density * n))
    assert merged.tolist() == [1.0] * k + [0.0] * (n - k)


def test_dare_keeps_the_norm_and_the_paper_keeps_the_mean() -> None:
    base, source = torch.zeros(20_000), torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    given_ = {"weight": 1.0, "density": 0.25}
    merged = run("dare_linear", [source], base, **given_)
    kept = merged != 0
    assert abs(float(kept.float().mean()) - 0.25) < 4 * (0.25 * 0.75 / 20_000) ** 0.5
    assert float(merged.abs().sum()) == pytest.approx(float(source.abs().sum()), rel=1e-5)
    merged = run("dare_linear", [source], base, **given_, rescale_by_density=True)
    torch.testing.assert_close(merged, torch.where(kept, source / 0.25, 0.0))


def test_masks_of_low_density_lie_within_those_of_higher_density() -> None:
    base, source = torch.zeros(5_000), torch.ones(5_000)
    kept = []
    for density in (0.1, 0.5, 0.9):
        merged = run("dare_linear", [source], base, weight=1.0, density=density, rescale=False)
        kept.append(merged > 0)
    assert bool((kept[0] <= kept[1]).all()) and bool((kept[1] <= kept[2]).all())


def test_a_vote_of_zero_elects_plus() -> None:
    sources = [torch.tensor([0.5, -0.25]), torch.tensor([-0.5, 0.25])]
    assert run("ties", sources, torch.zeros(2), weight=1.0).tolist() == [0.5, 0.25]
