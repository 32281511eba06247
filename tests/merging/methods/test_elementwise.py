"""Methods that merge entry by entry, compared with float64 references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.methods import METHODS, MethodValues, check_together
from tests.merging.methods import definitions
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
