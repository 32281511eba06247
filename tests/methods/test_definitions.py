"""Weighted sums, slerp, TIES and DARE against their definitions in float64, on small vectors of any kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.kernels.noise import uniform
from kingyo.methods import METHODS, MethodValues
from tests.methods import definitions
from tests.methods.drawn import CONTEXT, assert_close, densities, draw_weights, merge, models, wide


@given(models(), st.booleans(), st.data())
def test_linear(drawn: tuple[Tensor, list[Tensor]], normalize: bool, data: st.DataObject) -> None:
    _, sources = drawn
    weights = draw_weights(data, len(sources))
    values = MethodValues(shared={"normalize": normalize}, per_source={"weight": weights})
    if normalize and abs(sum(weights)) < 1e-8:
        with pytest.raises(KingyoError, match="sum to divide by"):
            METHODS.get("linear")(sources, None, values, CONTEXT)
        return
    merged = merge("linear", sources, None, values)
    assert_close(merged, definitions.linear(wide(sources), weights, normalize))


@given(models(), st.booleans(), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), st.data())
def test_task_arithmetic(
    drawn: tuple[Tensor, list[Tensor]], normalize: bool, lam: float, data: st.DataObject
) -> None:
    base, sources = drawn
    weights = draw_weights(data, len(sources))
    values = MethodValues(shared={"normalize": normalize, "lambda": lam}, per_source={"weight": weights})
    merged = merge("task_arithmetic", sources, base, values)
    wanted = definitions.task_arithmetic(*wide([base]), wide(sources), weights, lam, normalize)
    assert_close(merged, wanted)


@given(models(least=1, most=1), st.floats(0, 1))
def test_slerp(drawn: tuple[Tensor, list[Tensor]], t: float) -> None:
    base, sources = drawn
    merged = merge("slerp", sources, base, MethodValues(shared={"t": t}))
    first, second = wide([base, *sources])
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    if norms > 0 and -1 <= first @ second / norms < -0.999:
        return  # opposite tensors: either branch is as good, and sin Ω is near zero
    np.testing.assert_allclose(merged.numpy(), definitions.slerp(first, second, t), rtol=1e-4, atol=1e-4)


@given(models(), st.booleans(), st.data())
def test_ties(drawn: tuple[Tensor, list[Tensor]], normalize: bool, data: st.DataObject) -> None:
    base, sources = drawn
    weights = draw_weights(data, len(sources))
    kept = tuple(data.draw(densities) for _ in sources)
    values = MethodValues(
        shared={"normalize": normalize, "lambda": 1.0}, per_source={"weight": weights, "density": kept}
    )
    merged = merge("ties", sources, base, values)
    assert_close(merged, definitions.ties(*wide([base]), wide(sources), weights, kept, normalize))


@given(models(), st.booleans(), st.booleans(), st.sampled_from(["norm", "density", "none"]), st.data())
def test_dare(
    drawn: tuple[Tensor, list[Tensor]], elect: bool, normalize: bool, rescale: str, data: st.DataObject
) -> None:
    base, sources = drawn
    weights = draw_weights(data, len(sources))
    kept = tuple(data.draw(st.floats(0.05, 1)) for _ in sources)
    values = MethodValues(
        shared={
            "normalize": normalize,
            "lambda": 1.0,
            "rescale": rescale != "none",
            "rescale_by_density": rescale == "density",
        },
        per_source={"weight": weights, "density": kept},
    )
    merged = merge("dare_ties" if elect else "dare_linear", sources, base, values)
    random = [
        uniform(CONTEXT.key(i), 0, base.numel()).numpy().astype(np.float64) for i in range(len(sources))
    ]
    thin = [
        definitions.dare(delta - wide([base])[0], numbers, float(np.float32(density)), rescale)
        for delta, numbers, density in zip(wide(sources), random, kept, strict=True)
    ]
    votes = sum(w * d for w, d in zip(weights, thin, strict=True))
    if elect and bool(np.any((np.abs(votes) < 1e-5) & (votes != 0))):
        return  # a vote that only rounding decides
    wanted = wide([base])[0] + definitions.combine(thin, weights, normalize, elect)
    np.testing.assert_allclose(merged.numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_large_tensors_are_merged_as_small_ones() -> None:
    """Several blocks give what one would: TIES' limits and DARE's ratios are of the whole tensor."""
    generator = torch.Generator().manual_seed(0)
    n = 200_001
    base = torch.randn(n, generator=generator)
    sources = [base + 0.01 * torch.randint(-20, 21, (n,), generator=generator) for _ in range(2)]
    weights, kept = (1.0, 0.5), (0.3, 0.001)
    values = MethodValues(
        shared={"normalize": False, "lambda": 1.0, "rescale": True, "rescale_by_density": False},
        per_source={"weight": weights, "density": kept},
    )
    deltas = [(source - base).numpy().astype(np.float64) for source in sources]
    trimmed = [definitions.trim(delta, density) for delta, density in zip(deltas, kept, strict=True)]
    merged = merge("ties", sources, base, values)
    wanted = wide([base])[0] + definitions.combine(trimmed, weights, False, elect=True)
    np.testing.assert_allclose(merged.numpy(), wanted, atol=1e-6)
    random = [uniform(CONTEXT.key(i), 0, n).numpy().astype(np.float64) for i in range(2)]
    thin = [
        definitions.dare(d, r, np.float32(k), "norm") for d, r, k in zip(deltas, random, kept, strict=True)
    ]
    merged = merge("dare_linear", sources, base, values)
    wanted = wide([base])[0] + definitions.combine(thin, weights, False, elect=False)
    np.testing.assert_allclose(merged.numpy(), wanted, rtol=1e-5, atol=1e-5)


@given(st.integers(1, 400), st.floats(0, 1, exclude_max=True))
def test_ties_keeps_exactly_k(n: int, density: float) -> None:
    source = torch.ones(n)  # all magnitudes are equal
    values = MethodValues(
        shared={"normalize": True, "lambda": 1.0}, per_source={"weight": (1.0,), "density": (density,)}
    )
    merged = merge("ties", [source], torch.zeros(n), values)
    k = max(1, int(density * n))
    assert merged.tolist() == [1.0] * k + [0.0] * (n - k)


def test_dare_keeps_the_norm_and_the_paper_keeps_the_mean() -> None:
    base, source = torch.zeros(20_000), torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    shared = {"normalize": False, "lambda": 1.0, "rescale": True, "rescale_by_density": False}
    per_source = {"weight": (1.0,), "density": (0.25,)}
    merged = merge("dare_linear", [source], base, MethodValues(shared=shared, per_source=per_source))
    kept = merged != 0
    assert abs(float(kept.float().mean()) - 0.25) < 4 * (0.25 * 0.75 / 20_000) ** 0.5
    assert float(merged.abs().sum()) == pytest.approx(float(source.abs().sum()), rel=1e-5)
    paper = MethodValues(shared=shared | {"rescale_by_density": True}, per_source=per_source)
    merged = merge("dare_linear", [source], base, paper)
    torch.testing.assert_close(merged, torch.where(kept, source / 0.25, 0.0))


def test_masks_of_low_density_lie_within_those_of_higher_density() -> None:
    base, source = torch.zeros(5_000), torch.ones(5_000)
    kept = []
    for density in (0.1, 0.5, 0.9):
        values = MethodValues(
            shared={"normalize": False, "lambda": 1.0, "rescale": False, "rescale_by_density": False},
            per_source={"weight": (1.0,), "density": (density,)},
        )
        kept.append(merge("dare_linear", [source], base, values) > 0)
    assert bool((kept[0] <= kept[1]).all()) and bool((kept[1] <= kept[2]).all())


def test_a_vote_of_zero_elects_plus() -> None:
    sources = [torch.tensor([0.5, -0.25]), torch.tensor([-0.5, 0.25])]
    values = MethodValues(
        shared={"normalize": True, "lambda": 1.0}, per_source={"weight": (1.0, 1.0), "density": (1.0, 1.0)}
    )
    assert merge("ties", sources, torch.zeros(2), values).tolist() == [0.5, 0.25]
