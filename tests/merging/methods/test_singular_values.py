"""Methods on singular values, compared with definitions in numpy."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.merging.kernels import to_tensor
from kingyo.merging.kernels.statistics_cache import TensorStats
from kingyo.merging.methods import METHODS, TensorContext, merge_tensor, singular_values
from tests.merging.methods import definitions
from tests.merging.methods.definitions import Vector
from tests.merging.methods.drawn import assert_close, run, values, wide

Definition = Callable[[Sequence[Vector], Sequence[float]], Vector]
DEFINITIONS: dict[str, Definition] = {
    "tsv": definitions.tsv,
    "iso_c": definitions.iso_c,
    "iso_cts": lambda deltas, weights: definitions.iso_cts(deltas, weights, 0.8),
}


def matrices(shape: tuple[int, ...], n: int, seed: int = 0, rank: int | None = None) -> list[Tensor]:
    """Return a base and n sources with task vectors of a rank."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    if rank is None:
        return [base, *(base + torch.randn(shape, generator=generator) for _ in range(n))]
    rows, columns = shape
    parts = [
        torch.randn(rows, rank, generator=generator) @ torch.randn(rank, columns, generator=generator)
        for _ in range(n)
    ]
    return [base, *(base + part for part in parts)]


@pytest.mark.parametrize("method", DEFINITIONS)
@given(
    st.sampled_from([(4, 4), (5, 9), (9, 5), (80, 6), (6, 80), (41, 40)]),
    st.integers(1, 3),
    st.sampled_from([0.5, 1.0]),
    st.integers(0, 99),
)
def test_full_rank_is_as_in_the_paper(
    method: str, shape: tuple[int, int], n: int, lam: float, seed: int
) -> None:
    base, *sources = matrices(shape, n, seed)
    weights = [1.0, 0.5, 1.5][:n]
    merged = run(method, sources, base, weight=weights, **{"lambda": lam})
    first, *others = wide([base, *sources])
    expected = first + lam * DEFINITIONS[method]([other - first for other in others], weights)
    assert_close(merged, expected, 2e-4)


@pytest.mark.parametrize("method", DEFINITIONS)
def test_non_matrices_are_averaged(method: str) -> None:
    for shape in ((7,), (), (2, 3, 4), (1, 9), (2, 9)):
        base, *sources = matrices(shape, 3)
        merged = run(method, sources, base, **{"lambda": 0.5})
        torch.testing.assert_close(merged, base + 0.5 * (sum(sources) / 3 - base))
    base, *sources = matrices((8, 9), 3)
    torch.testing.assert_close(run(method, sources, base, spectral=False), sum(sources) / 3)


@pytest.mark.parametrize("method", DEFINITIONS)
@pytest.mark.parametrize("rank", [1, 3, 12])
def test_tall_matrices_are_merged_like_small_ones(method: str, rank: int) -> None:
    """Rows of zeros do not change the result; they only make the matrix too tall to decompose."""
    small = matrices((40, 12), 2, rank=rank)
    tall = [torch.cat([each, torch.zeros(400, 12)]) for each in small]
    merged = run(method, tall[1:], tall[0])
    torch.testing.assert_close(merged[:40], run(method, small[1:], small[0]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(merged[40:], torch.zeros(400, 12), rtol=0, atol=1e-5)
    if method != "iso_cts":  # it projects only from the left
        turned = run(method, [each.t() for each in tall[1:]], tall[0].t())
        torch.testing.assert_close(turned.t(), merged, rtol=1e-4, atol=1e-4)


def test_equal_low_rank_sources_give_the_source() -> None:
    """Equal sources do not interfere, and there are no arbitrary directions."""
    base, source = matrices((20, 16), 1, rank=3)
    merged = run("tsv", [source, source], base)
    torch.testing.assert_close(merged, source, rtol=1e-4, atol=1e-4)


def test_isotropic_directions_of_low_rank_are_equally_long() -> None:
    low, *sources = matrices((30, 20), 2, rank=2)
    sizes = torch.linalg.svdvals(run("iso_c", sources, low) - low)
    torch.testing.assert_close(sizes[:4], sizes[:4].mean().expand(4), rtol=1e-4, atol=0)
    assert float(sizes[4]) < 1e-4 * float(sizes[0])


BANDS = "singular_bands"


@given(
    st.sampled_from([(4, 4), (5, 9), (9, 5), (80, 6), (6, 80), (2, 2), (1, 9)]),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_singular_bands_are_as_defined(shape: tuple[int, int], n: int, seed: int) -> None:
    base, *sources = matrices(shape, n, seed)
    weights, gains = [1.0, 0.5, 1.5][:n], [(0.5, 1.5, 1.0), (2.0, 0.0, 0.5), (1.0, 1.0, -1.0)][:n]
    top, middle, rest = ([gain[band] for gain in gains] for band in range(3))
    merged = run(BANDS, sources, base, weight=weights, top=top, middle=middle, rest=rest, **{"lambda": 0.5})
    first, *others = wide([base, *sources])
    parts = [
        w * definitions.singular_bands(other - first, gain)
        for w, other, gain in zip(weights, others, gains, strict=True)
        if min(shape) >= 2
    ]
    plain = [w * (other - first) for w, other in zip(weights, others, strict=True)]
    assert_close(merged, np.asarray(first + 0.5 * sum(parts or plain)), 1e-4)


@pytest.mark.parametrize("shape", [(7,), (), (2, 3, 4), (1, 9), (9, 1)])
def test_non_matrices_use_the_plain_weight(shape: tuple[int, ...]) -> None:
    base, *sources = matrices(shape, 2)
    merged = run(BANDS, sources, base, weight=[0.3, 0.7], top=0.0, middle=2.0, rest=0.5)
    assert torch.equal(merged, run("task_arithmetic", sources, base, weight=[0.3, 0.7]))


@pytest.mark.parametrize("shape", [(30, 20), (7, 300)])
def test_equal_gains_are_task_arithmetic(shape: tuple[int, int]) -> None:
    base, *sources = matrices(shape, 3)
    plain = run("task_arithmetic", sources, base, weight=[0.4, 0.9, 1.3])
    assert torch.equal(run(BANDS, sources, base, weight=[0.4, 0.9, 1.3]), plain)
    halved = run(BANDS, sources, base, weight=[0.8, 1.8, 2.6], top=0.5, middle=0.5, rest=0.5)
    torch.testing.assert_close(halved, plain, rtol=1e-6, atol=1e-6)


def test_a_source_is_decomposed_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates of one search share measures of the sources."""
    counted: list[int] = []
    real = singular_values.leading_parts

    def count(source: Tensor, base: Tensor) -> Vector:
        counted.append(1)
        return real(source, base)

    monkeypatch.setattr(singular_values, "leading_parts", count)
    base, *sources = matrices((30, 20), 3)
    facts, names = TensorStats(), ["a", "b", "c"]

    def candidate(top: float) -> Tensor:
        context = TensorContext(0, "a.weight", facts, names, "base")
        return to_tensor(
            merge_tensor(METHODS.get(BANDS), sources, base, values(BANDS, 3, weight=0.5, top=top), context)
        )

    merged = [candidate(top) for top in (0.2, 0.7, 1.0, 0.2)]
    assert len(counted) == 3
    assert torch.equal(merged[0], merged[3]) and not torch.equal(merged[0], merged[1])
    assert torch.equal(merged[2], run("task_arithmetic", sources, base, weight=0.5))
