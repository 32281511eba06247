"""The compiled calls against the reference: the same bits, for any weighted, dtype, length and thread."""

import math
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kingyo.merging.kernels import BernoulliMask, MagnitudeMask, Term, Threshold, WeightedSum, to_tensor
from kingyo.merging.kernels.masks import uniform
from kingyo.merging.kernels.order_statistics import (
    largest,
    most_varied,
    row_ranks,
    size_counts,
    size_order,
    threshold_of,
)
from kingyo.merging.kernels.statistics import (
    energies,
    gram,
    kept_by_density,
    kept_magnitudes,
    magnitude,
    magnitudes_by_draw,
)
from kingyo.merging.kernels.threads import execution, has_compiler, map_spans
from kingyo.merging.kernels.writing import ParallelWrites, prepare, write
from tests.merging.kernels.sums import DTYPES, Odd, few, lengths, make, masks, same_bits, weighted_sums
from tests.slow import THOROUGH, slow

pytestmark = pytest.mark.skipif(not has_compiler(), reason="numba is not installed: nothing is compiled")


@few
@given(weighted_sums(), st.sampled_from(DTYPES), st.data())
def test_weighted_sums(weighted: WeightedSum, dtype: torch.dtype, data: st.DataObject) -> None:
    n = weighted.n_elements
    start, stop = sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n))))
    expected = to_tensor(weighted)[start:stop].to(dtype)
    ahead = data.draw(st.sampled_from([0, 1, 32])) + (start if data.draw(st.booleans()) else 0)
    got = torch.empty(ahead + stop - start, dtype=dtype)[ahead:]  # entry 0 may be at a multiple of a line
    with execution(compiled=True, bypass_caches=data.draw(st.booleans())):
        finite = write(weighted, (start, stop), got)
    assert same_bits(got, expected)
    assert finite == bool(torch.isfinite(expected).all())


@pytest.mark.parametrize("dtype", [torch.float32, *slow(torch.bfloat16, torch.float16)])
@pytest.mark.parametrize("elect", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float32])
def test_nonfinite_values_are_found(dtype: torch.dtype, elect: bool, bad: float, stored: torch.dtype) -> None:
    sources, base = make(0, 100, 2, [stored] * 3)
    sources[1][37] = bad
    terms = tuple(Term(source=source, factor=1.0) for source in sources)
    weighted = WeightedSum(shape=(100,), terms=terms, base=base, elect=elect, normalize=elect)
    expected, got = to_tensor(weighted).to(dtype), torch.empty(100, dtype=dtype)
    with execution(compiled=True):
        finite = write(weighted, (0, 100), got)
    assert finite == bool(torch.isfinite(expected).all())
    assert torch.equal(torch.isnan(got), torch.isnan(expected))
    assert torch.equal(got[~torch.isnan(got)], expected[~torch.isnan(expected)])


@settings(few, max_examples=10)
@given(
    lengths,
    st.integers(1, 2),
    st.sampled_from(DTYPES if THOROUGH else DTYPES[:1]),
    st.integers(0, 3),
    st.data(),
)
def test_statistics(n: int, count: int, dtype: torch.dtype, seed: int, data: st.DataObject) -> None:
    sources, base = make(seed, n, count, [dtype] * (count + 1))
    kept = data.draw(masks(n).filter(lambda mask: not getattr(mask, "inverse", False)))
    selected = Threshold(least=1e-4, before=data.draw(st.integers(0, n)))
    k = data.draw(st.integers(0, n))

    def measure() -> list[object]:
        total = magnitude(sources[0], base)
        return [
            gram(sources).tolist(),
            gram(sources, base).tolist(),
            total,
            None if kept is None else kept_magnitudes(sources[:1] * 2, base, [kept] * 2, [total] * 2),
            energies(sources, base, selected).tolist(),
            energies(sources, base, None).tolist(),
            largest(sources[0], base, k),
            most_varied(sources, base, k),
            size_counts(sources[0], base).tolist(),
            row_ranks(sources[0], base).tolist(),
            size_order(sources[0], base).tolist(),
        ]

    expected = measure()
    for threads in (1, 2):
        with execution(compiled=True, threads=threads):
            assert measure() == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_thresholds_among_equal_magnitudes(dtype: torch.dtype) -> None:
    """Most magnitudes are equal, the others a little larger; both fall into one bin."""
    n = 100_000
    base, source = torch.zeros(n, dtype=dtype), torch.ones(n, dtype=dtype)
    source[::7], source[5::1000] = 0.0, 1.001 if dtype == torch.float32 else 1.0078125
    source[40_000], source[70_000] = math.nan, math.inf
    counts = [1, 2, 3, 50, 102, 103, 5000, 60_000, 85_800, 90_000]
    expected = [largest(source, base, count) for count in counts]
    for threads in (1, 2):
        with execution(compiled=True, threads=threads):
            assert [largest(source, base, count) for count in counts] == expected


@few
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_ranks_of_rows(n_rows: int, width: int, seed: int) -> None:
    (source,), base = make(seed, n_rows * width, 1, [torch.bfloat16] * 2)
    source, base = source.view(n_rows, width), base.view(n_rows, width)
    expected = row_ranks(source, base)
    sizes = (source.float() - base.float()).abs().numpy()
    order = np.argsort(sizes, axis=1, kind="stable")
    ranked = np.take_along_axis(expected.reshape(n_rows, width), order, 1)
    assert np.array_equal(ranked, np.broadcast_to(np.arange(width), ranked.shape))
    with execution(compiled=True):
        assert np.array_equal(row_ranks(source, base), expected)


@few
@given(lengths, st.sampled_from(DTYPES), st.integers(0, 3), st.data())
def test_an_order_gives_every_threshold(n: int, dtype: torch.dtype, seed: int, data: st.DataObject) -> None:
    (source,), base = make(seed, n, 1, [dtype] * 2)
    count = data.draw(st.integers(1, n))
    sizes = (source.float() - base.float()).abs()
    threshold = threshold_of(source, base, size_order(source, base), count)
    assert torch.equal(threshold.excludes(sizes, 0), largest(source, base, count).excludes(sizes, 0))
    assert int((~threshold.excludes(sizes, 0)).sum()) == count


@pytest.mark.slow
@few
@given(lengths, st.sampled_from(DTYPES), st.integers(0, 3), st.floats(0, 1), st.floats(-30, 30))
def test_sums_by_draw_give_the_kept_magnitude_of_every_density(
    n: int, dtype: torch.dtype, seed: int, density: float, power: float
) -> None:
    (source,), base = make(seed, n, 1, [dtype] * 2)
    if dtype == torch.float32:
        source, base = source * 10.0**power, base * 10.0**power
    kept, before = BernoulliMask(key=(3, seed), density=density), magnitude(source, base)
    sums = magnitudes_by_draw(source, base, kept.key, before)
    with execution(compiled=True, threads=2):
        assert np.array_equal(magnitudes_by_draw(source, base, kept.key, before), sums)
    (measured,) = kept_magnitudes([source], base, [kept], [before])
    assert kept_by_density(sums, kept) == measured
    exact = [
        float(size)
        for size, number in zip((source.float() - base.float()).abs(), uniform(kept.key, 0, n), strict=True)
        if number < kept.density
    ]
    assert measured == pytest.approx(math.fsum(exact), rel=1e-12, abs=n * before * 2.0**-51)


def test_many_writes_are_shared_between_threads() -> None:
    """With any division of work, and with writes that torch must do among them."""
    sizes = [1, 17, 40_000, 3, 100_000, 33_000, 5]
    worlds = [make(i, n, 2, [torch.bfloat16] * 3) for i, n in enumerate(sizes)]
    masks_ = (
        None,
        BernoulliMask(key=(1, 2), density=0.3),
        MagnitudeMask(low=Threshold(least=0.004, before=7)),
    )
    sums_ = [
        WeightedSum(
            shape=(n,),
            terms=tuple(Term(source=each, factor=0.5, mask=masks_[i % 3]) for each in sources),
            base=base if i != 1 else None,
            elect=i % 2 == 0,
        )
        for i, (n, (sources, base)) in enumerate(zip(sizes, worlds, strict=True))
    ]
    results: list[Tensor | WeightedSum] = [*sums_, to_tensor(sums_[2])]
    expected = [(each if isinstance(each, Tensor) else to_tensor(each)).bfloat16() for each in results]
    for threads, others_alone in ((1, False), (2, False), (2, True), (3, False), (3, True)):
        got = [torch.zeros_like(each) for each in expected]
        with execution(compiled=True, threads=threads):
            writes = [
                prepare(each, (0, place.numel()), place) for each, place in zip(results, got, strict=True)
            ]
            assert ParallelWrites(writes, others_alone=others_alone).finish() == [True] * len(results)
        assert all(same_bits(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_loop_that_fails_raises_its_error(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from kingyo.merging.kernels import machine_code

    def fails(*_: object) -> None:
        raise IndexError

    monkeypatch.setattr(machine_code, "weighted_sums", fails)
    (source,), base = make(0, 100_000, 1, [torch.float32] * 2)
    weighted = WeightedSum(shape=(100_000,), terms=(Term(source=source, factor=1.0),), base=base)
    with execution(compiled=True, threads=threads):
        writes = [prepare(weighted, (0, 100_000), torch.empty(100_000))]
        with pytest.raises(IndexError):
            ParallelWrites(writes, others_alone=threads > 1).finish()


def test_a_users_mask_runs_by_torch() -> None:
    (source,), base = make(0, 101, 1, [torch.bfloat16] * 2)
    weighted = WeightedSum(shape=(101,), terms=(Term(source=source, factor=1.0, mask=Odd()),), base=base)
    got = torch.empty(101)
    with execution(compiled=True):
        assert write(weighted, (0, 101), got)
        assert kept_magnitudes([source], base, [Odd()], [1.0])[0] > 0
    assert torch.equal(got, to_tensor(weighted))


def test_numpy_adds_an_outer_axis_in_order() -> None:
    """``block_sums`` relies on it."""
    generator = np.random.default_rng(0)
    numbers = generator.standard_normal((3, 1024, 32)) * 10.0 ** generator.integers(-8, 8, (3, 1024, 32))
    expected = numbers[:, 0].copy()
    for row in range(1, 1024):
        expected = expected + numbers[:, row]
    assert np.array_equal(np.add.reduce(numbers, axis=1), expected)


def test_callers_at_once_have_threads_of_their_own() -> None:
    (source,), base = make(1, 300_000, 1, [torch.bfloat16] * 2)
    mask = BernoulliMask(key=(1, 2), density=0.3)
    weighted = WeightedSum(shape=(300_000,), terms=(Term(source=source, factor=0.5, mask=mask),), base=base)
    expected = to_tensor(weighted).bfloat16()

    def fill(_: int) -> bool:
        out = torch.empty_like(expected)
        with execution(compiled=True, threads=2):
            ParallelWrites([prepare(weighted, (0, out.numel()), out)]).finish()
        return torch.equal(out, expected)

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(fill, range(30)))


def test_the_caller_does_the_work_of_busy_threads() -> None:
    release = Event()
    with execution(compiled=False, threads=2) as here:
        assert here.pool is not None
        busy = here.pool.submit(release.wait)
        try:
            spans = map_spans(1 << 20, lambda span: span)
        finally:
            release.set()
    assert busy.result()
    assert spans == [(0, 1 << 19), (1 << 19, 1 << 20)]
