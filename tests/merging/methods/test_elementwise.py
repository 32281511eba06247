"""Methods that merge entry by entry or depend on angles, compared with float64 references."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.methods import METHODS, MethodValues, check_together
from tests.merging.methods import definitions
from tests.merging.methods.definitions import Vector
from tests.merging.methods.drawn import assert_close, draw_weights, models, run, shapes, wide


@given(models(1, 1), st.sampled_from([0.0, 1 / 64, 0.5, 3.0]))
def test_nearswap(drawn: tuple[Tensor, list[Tensor]], t: float) -> None:
    base, sources = drawn
    assert_close(run("nearswap", sources, base, t=t), definitions.nearswap(*wide([base, *sources]), t))


@given(models(1, 4), st.sampled_from([0.0, 1e-5, 0.3]), st.sampled_from([0.0, 0.1, 2.0]))
def test_ram(drawn: tuple[Tensor, list[Tensor]], epsilon: float, r: float) -> None:
    base, sources = drawn
    first, *others = wide([base, *sources])
    assert_close(run("ram", sources, base, epsilon=epsilon), definitions.ram(first, others, epsilon))
    merged = run("ramplus_tl", sources, base, epsilon=epsilon, r=r, alpha=0.7)
    assert_close(merged, definitions.ram(first, others, epsilon, r, 0.7))


@given(models(1, 4), st.sampled_from([0.0, 0.4, 1.5]), st.sampled_from([0.5, 1.0]), st.data())
def test_consensus(drawn: tuple[Tensor, list[Tensor]], limit: float, lam: float, data: st.DataObject) -> None:
    base, sources = drawn
    weights = draw_weights(data, len(sources))
    agreement = data.draw(st.integers(0, len(sources)))
    limits = [limit * (i + 1) / 2 for i in range(len(sources))]
    given_ = {"weight": weights, "tall_lambda": limits, "agreement": agreement, "lambda": lam}
    merged = run("consensus", sources, base, **given_)
    first, *others = wide([base, *sources])
    total = sum(w * (o - first) for w, o in zip(weights, others, strict=True))
    margins = [
        np.abs(np.abs(o - first) - each * np.abs(total - (o - first)))
        for o, each in zip(others, limits, strict=True)
    ]
    decided = np.min([np.where(margin == 0, 1.0, margin) for margin in margins], axis=0) > 1e-6
    expected = definitions.consensus(first, others, weights, limits, agreement, lam)
    assert_close(merged[torch.from_numpy(decided)], expected[decided])


def test_consensus_with_a_count_above_the_number_of_sources() -> None:
    with pytest.raises(KingyoError, match=r"agreement: .*at most 1"):
        check_together(METHODS.get("consensus"), MethodValues(shared={"agreement": 2}), 1)


@given(models(1, 1, shapes))
def test_arcee_fusion(drawn: tuple[Tensor, list[Tensor]]) -> None:
    base, sources = drawn
    first, source = wide([base, *sources])
    merged = run("arcee_fusion", sources, base).numpy()
    importance = definitions.arcee_importance(first, source)
    threshold = definitions.arcee_threshold(importance)
    clear = np.abs(importance - threshold) > 1e-4 * importance.max()
    expected = np.where(importance >= threshold, source, first)
    np.testing.assert_array_equal(merged[clear], expected[clear])
    assert np.all((merged == first) | (merged == source))


@given(models(1, 1, shapes), st.sampled_from([0.0, 0.7, 1.0, -2.0]))
def test_passthrough(drawn: tuple[Tensor, list[Tensor]], scale: float) -> None:
    _, sources = drawn
    assert_close(run("passthrough", sources, None, scale=scale), scale * wide(sources)[0])
    assert torch.equal(run("passthrough", sources, None), sources[0])


@given(models(least=1, most=1), st.floats(0, 1))
def test_slerp(drawn: tuple[Tensor, list[Tensor]], t: float) -> None:
    base, sources = drawn
    merged = run("slerp", sources, base, t=t)
    first, second = wide([base, *sources])
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    if norms > 0 and -1 <= first @ second / norms < -0.999:
        return  # opposite tensors: both branches are valid, and sin Ω is near zero
    np.testing.assert_allclose(
        merged.numpy(), definitions.slerp(first, second, t, 0.9995), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("line", ["whole", "row", "column"])
@given(models(2, 2, shapes), st.booleans(), st.data())
def test_nuslerp(line: str, drawn: tuple[Tensor, list[Tensor]], on_base: bool, data: st.DataObject) -> None:
    base, sources = drawn
    weights = draw_weights(data, 2)
    switches = {"nuslerp_flatten": line == "whole", "nuslerp_row_wise": line == "column"}
    if sum(weights) == 0:
        with pytest.raises(KingyoError, match=r"weight: .*a sum of 0"):
            run("nuslerp", sources, None, weight=weights, **switches)
        return
    first, *others = wide([base, *sources])
    merged = run("nuslerp", sources, base if on_base else None, weight=weights, **switches)
    expected = definitions.nuslerp(first if on_base else None, others, weights, line)
    deltas = [other - first if on_base else other for other in others]
    defined = ~opposite(*deltas, line)
    np.testing.assert_allclose(merged.numpy()[defined], expected[defined], rtol=1e-4, atol=1e-4)


def opposite(a: Vector, b: Vector, line: str) -> np.ndarray:
    """Return where two lines are opposite: both branches are valid, and sin Ω is near zero."""
    axis = None if line == "whole" or a.ndim < 2 else -1 if line == "row" else 0
    norms = np.sqrt((a * a).sum(axis, keepdims=True) * (b * b).sum(axis, keepdims=True))
    return np.broadcast_to((a * b).sum(axis, keepdims=True) < -0.999 * norms, a.shape)


@pytest.mark.parametrize("angle", [1e-9, 1e-7, 1e-5, 1e-3, 0.1, 1.0, 3.0])
def test_nuslerp_at_any_angle(angle: float) -> None:
    """Small angles lose no digits: slerp approaches linear interpolation."""
    a = torch.tensor([1.0, 0.0])
    b = torch.tensor([math.cos(angle), math.sin(angle)])
    merged = run("nuslerp", [a, b], None, weight=[0.75, 0.25])
    assert_close(merged, np.array([math.cos(angle / 4), math.sin(angle / 4)]), 1e-6)


@given(models(1, 4), st.booleans(), st.booleans(), st.data())
def test_multislerp(
    drawn: tuple[Tensor, list[Tensor]], on_base: bool, normalize: bool, data: st.DataObject
) -> None:
    base, sources = drawn
    weights = draw_weights(data, len(sources))
    if normalize and abs(sum(weights)) < 1e-8:
        return
    first, *others = wide([base, *sources])
    expected = definitions.multislerp(first if on_base else None, others, weights, normalize)
    merged = run(
        "multislerp", sources, base if on_base else None, weight=weights, normalize_weights=normalize
    )
    assert bool(torch.isfinite(merged).all())
    if expected is not None:
        assert_close(merged, expected, 1e-4)


def test_directions_that_cancel_give_the_weighted_sum() -> None:
    a = torch.tensor([3.0, -4.0, 12.0])
    for method, weights in (("multislerp", {"weight": 1.0}), ("karcher", {})):
        merged = run(method, [a, -2 * a], None, **weights)
        assert_close(merged, -0.5 * a.numpy(), 1e-6)


@given(models(1, 4), st.sampled_from([0, 1, 2, 10, 30]), st.sampled_from([0.0, 1e-5, 0.1]))
def test_karcher(drawn: tuple[Tensor, list[Tensor]], max_iter: int, tol: float) -> None:
    _, sources = drawn
    expected = definitions.karcher(wide(sources), max_iter, tol)
    merged = run("karcher", sources, None, max_iter=max_iter, tol=tol)
    assert bool(torch.isfinite(merged).all())
    if expected is not None and not near_opposite(wide(sources)):
        assert_close(merged, expected, 1e-3)


def near_opposite(vectors: list[Vector]) -> bool:
    """Return whether a source is nearly opposite to the mean, so that its logarithm is ill-conditioned."""
    units = [vector / np.linalg.norm(vector) for vector in vectors if np.linalg.norm(vector) > 0]
    mean = np.mean(units, axis=0)
    return bool(min(float(unit @ mean / np.linalg.norm(mean)) for unit in units) < -0.5)


@given(models(2, 4, shapes), st.booleans())
def test_model_stock(drawn: tuple[Tensor, list[Tensor]], filter_wise: bool) -> None:
    base, sources = drawn
    merged = run("model_stock", sources, base, filter_wise=filter_wise)
    assert bool(torch.isfinite(merged).all())
    first, *others = wide([base, *sources])
    deltas = [other - first for other in others]
    lines = list(np.ndindex(first.shape[:-1])) if filter_wise and first.ndim > 1 else [()]
    for line in lines:
        t = definitions.model_stock_ratio([delta[line] for delta in deltas])
        if t is not None:
            expected = t * np.mean([other[line] for other in others], axis=0) + (1 - t) * first[line]
            assert_close(merged[line], expected, 1e-4)


def test_opposite_task_vectors_leave_the_base() -> None:
    base, delta = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -0.25])
    assert torch.equal(run("model_stock", [base + delta, base - delta], base), base)
