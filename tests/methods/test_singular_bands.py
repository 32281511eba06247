"""Singular bands, compared with numpy's decomposition and with task arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.kernels import to_tensor
from kingyo.kernels.statistics_cache import TensorStats
from kingyo.methods import METHODS, TensorContext, merge_tensor, singular_bands
from tests.methods.definitions import Vector
from tests.methods.definitions import singular_bands as defined
from tests.methods.drawn import assert_close, run, values, wide

METHOD = "singular_bands"


def models(shape: tuple[int, ...], n: int, seed: int = 0) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    return [base + torch.randn(shape, generator=generator) for _ in range(n)], base


@given(
    st.sampled_from([(4, 4), (5, 9), (9, 5), (80, 6), (6, 80), (2, 2), (1, 9)]),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_it_is_as_defined(shape: tuple[int, int], n: int, seed: int) -> None:
    sources, base = models(shape, n, seed)
    weights, gains = [1.0, 0.5, 1.5][:n], [(0.5, 1.5, 1.0), (2.0, 0.0, 0.5), (1.0, 1.0, -1.0)][:n]
    top, middle, rest = ([gain[band] for gain in gains] for band in range(3))
    merged = run(METHOD, sources, base, weight=weights, top=top, middle=middle, rest=rest, **{"lambda": 0.5})
    first, *others = wide([base, *sources])
    parts = [
        w * defined(other - first, gain)
        for w, other, gain in zip(weights, others, gains, strict=True)
        if min(shape) >= 2
    ]
    plain = [w * (other - first) for w, other in zip(weights, others, strict=True)]
    assert_close(merged, np.asarray(first + 0.5 * sum(parts or plain)), 1e-4)


@pytest.mark.parametrize("shape", [(7,), (), (2, 3, 4), (1, 9), (9, 1)])
def test_non_matrices_use_the_plain_weight(shape: tuple[int, ...]) -> None:
    sources, base = models(shape, 2)
    merged = run(METHOD, sources, base, weight=[0.3, 0.7], top=0.0, middle=2.0, rest=0.5)
    assert torch.equal(merged, run("task_arithmetic", sources, base, weight=[0.3, 0.7]))


def test_a_filter_may_give_a_matrix_the_plain_weight() -> None:
    sources, base = models((8, 9), 2)
    merged = run(METHOD, sources, base, weight=0.5, top=0.0, spectral=False)
    assert torch.equal(merged, run("task_arithmetic", sources, base, weight=0.5))


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (300, 7), (7, 300)])
def test_equal_gains_are_task_arithmetic(shape: tuple[int, int]) -> None:
    sources, base = models(shape, 3)
    plain = run("task_arithmetic", sources, base, weight=[0.4, 0.9, 1.3])
    assert torch.equal(run(METHOD, sources, base, weight=[0.4, 0.9, 1.3]), plain)
    halved = run(METHOD, sources, base, weight=[0.8, 1.8, 2.6], top=0.5, middle=0.5, rest=0.5)
    torch.testing.assert_close(halved, plain, rtol=1e-6, atol=1e-6)


def test_bands_add_up_and_hold_a_third_each() -> None:
    (source,), base = models((60, 40), 1)
    bands = [
        run(
            METHOD,
            [source],
            base,
            weight=1.0,
            **{**dict.fromkeys(("top", "middle", "rest"), 0.0), band: 1.0},
        )
        - base
        for band in ("top", "middle", "rest")
    ]
    torch.testing.assert_close(bands[0] + bands[1] + bands[2], source - base, rtol=1e-4, atol=1e-4)
    energy = (source - base).square().sum()
    for band in bands:
        assert float(band.square().sum() / energy) == pytest.approx(1 / 3, abs=0.08)
    assert torch.linalg.matrix_norm(bands[0], 2) > torch.linalg.matrix_norm(bands[1], 2)
    assert torch.linalg.matrix_norm(bands[1], 2) > torch.linalg.matrix_norm(bands[2], 2)


def test_one_direction_is_the_top() -> None:
    base = torch.zeros(9, 7)
    source = torch.outer(torch.arange(9.0), torch.arange(7.0))
    assert_close(run(METHOD, [source], base, weight=1.0, top=2.0, middle=5.0, rest=7.0), 2 * source.numpy())


def test_a_source_is_decomposed_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates of one search share measures of the sources."""
    counted: list[int] = []
    real = singular_bands.leading_parts

    def count(source: Tensor, base: Tensor) -> Vector:
        counted.append(1)
        return real(source, base)

    monkeypatch.setattr(singular_bands, "leading_parts", count)
    sources, base = models((30, 20), 3)
    facts, names = TensorStats(), ["a", "b", "c"]
    merged = [_candidate(sources, base, facts, names, top) for top in (0.2, 0.7, 1.0, 0.2)]
    assert len(counted) == 3
    assert torch.equal(merged[0], merged[3]) and not torch.equal(merged[0], merged[1])
    assert torch.equal(merged[2], run("task_arithmetic", sources, base, weight=0.5))


def test_without_room_it_gives_the_same_bits() -> None:
    sources, base = models((30, 20), 2)
    names = ["a", "b"]
    kept = _candidate(sources, base, TensorStats(), names, 0.3)
    assert torch.equal(kept, _candidate(sources, base, TensorStats(max_bytes=8), names, 0.3))


def _candidate(
    sources: Sequence[Tensor], base: Tensor, facts: TensorStats, names: Sequence[str], top: float
) -> Tensor:
    context = TensorContext(0, "a.weight", facts, names, "base")
    return to_tensor(
        merge_tensor(
            METHODS.get(METHOD), sources, base, values(METHOD, len(sources), weight=0.5, top=top), context
        )
    )
