"""The compiled calls against the reference: the same bits, for any weighted, dtype, length and thread."""

from __future__ import annotations

import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.kernels import (
    BernoulliMask,
    MagnitudeMask,
    RankedBernoulliMask,
    RescaledSum,
    Term,
    Threshold,
    WeightedSum,
    to_tensor,
)
from kingyo.kernels.order_statistics import (
    largest,
    most_varied,
    row_ranks,
    size_counts,
    size_order,
    threshold_of,
)
from kingyo.kernels.random_numbers import uniform
from kingyo.kernels.raw_tensor import bytes_of
from kingyo.kernels.statistics import (
    energies,
    gram,
    kept_by_density,
    kept_magnitude,
    magnitude,
    magnitudes_by_draw,
)
from kingyo.kernels.threads import compiled_loop, execution, has_compiler, map_spans
from kingyo.kernels.writing import ParallelWrites, prepare, write
from tests.kernels.sums import DTYPES, few, lengths, make, masks, same_bits, weighted_sums

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


@pytest.mark.parametrize("start", [0, 1, 2, 15, 16, 17])
@pytest.mark.parametrize("offset", [0, 1, 16])
def test_any_place_will_do(start: int, offset: int) -> None:
    n = 1000
    sources, base = make(0, n, 1, [torch.bfloat16] * 2)
    term = Term(source=sources[0], factor=0.5, mask=BernoulliMask(key=(1, 2), density=0.5))
    weighted = WeightedSum(shape=(n,), terms=(term,), base=base)
    got = torch.empty(offset + n - start, dtype=torch.bfloat16)[offset:]
    with execution(compiled=True):
        assert write(weighted, (start, n), got)
    assert same_bits(got, to_tensor(weighted)[start:].bfloat16())


@pytest.mark.parametrize("dtype", DTYPES)
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


@few
@given(lengths, st.integers(1, 2), st.sampled_from(DTYPES), st.integers(0, 3), st.data())
def test_statistics(n: int, count: int, dtype: torch.dtype, seed: int, data: st.DataObject) -> None:
    sources, base = make(seed, n, count, [dtype] * (count + 1))
    kept = data.draw(masks(n))
    selected = Threshold(least=1e-4, before=data.draw(st.integers(0, n)))
    k = data.draw(st.integers(0, n))

    def measure() -> list[object]:
        total = magnitude(sources[0], base)
        return [
            gram(sources).tolist(),
            gram(sources, base).tolist(),
            total,
            None if kept is None else kept_magnitude(sources[0], base, kept, total),
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
    measured = kept_magnitude(source, base, kept, before)
    assert kept_by_density(sums, kept) == measured
    exact = [
        float(size)
        for size, number in zip((source.float() - base.float()).abs(), uniform(kept.key, 0, n), strict=True)
        if number < kept.density
    ]
    assert measured == pytest.approx(math.fsum(exact), rel=1e-12, abs=n * before * 2.0**-51)


def test_many_threads_give_the_same_bits() -> None:
    n = 3_000_001
    sources, base = make(1, n, 2, [torch.bfloat16] * 3)
    with execution(compiled=True):
        alone = gram(sources, base), largest(sources[0], base, n // 3), magnitude(sources[1], base)
    with execution(compiled=True, threads=3):
        together = gram(sources, base), largest(sources[0], base, n // 3), magnitude(sources[1], base)
    assert np.array_equal(alone[0], together[0]) and alone[1:] == together[1:]


@pytest.mark.parametrize("compiled", [True, False])
def test_kernels_run_equally_in_threads(compiled: bool) -> None:
    weighted = WeightedSum(shape=(1,), terms=(Term(source=torch.zeros(1), factor=1.0),))
    with execution(compiled=compiled, threads=2):
        runs = map_spans(4_000_000, lambda _: (compiled_loop(weighted) is not None, threading.get_ident()))
    assert {each for each, _ in runs} == {compiled}
    assert len({thread for _, thread in runs}) == 2 and runs[0][1] == threading.get_ident()


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
@pytest.mark.parametrize("error", [IndexError, MemoryError])
def test_a_loop_that_fails_raises_its_error(
    threads: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kingyo.kernels import compiled_loops

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(compiled_loops, "weighted_sums", fails)
    (source,), base = make(0, 100_000, 1, [torch.float32] * 2)
    weighted = WeightedSum(shape=(100_000,), terms=(Term(source=source, factor=1.0),), base=base)
    with execution(compiled=True, threads=threads):
        writes = [prepare(weighted, (0, 100_000), torch.empty(100_000))]
        with pytest.raises(error):
            ParallelWrites(writes, others_alone=threads > 1).finish()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_nonfinite_value_among_many_is_reported(threads: int) -> None:
    (source,), base = make(0, 100, 1, [torch.float32] * 2)
    bad = source.clone()
    bad[3] = float("nan")
    sums_ = [
        WeightedSum(shape=(100,), terms=(Term(source=each, factor=1.0),), base=base) for each in (source, bad)
    ]
    with execution(compiled=True, threads=threads):
        writes = [prepare(each, (0, 100), torch.empty(100)) for each in (*sums_, sums_[0])]
        assert ParallelWrites(writes).finish() == [True, False, True]


def test_a_users_mask_runs_by_torch() -> None:
    class Odd:
        def apply(self, delta: Tensor, span: tuple[int, int]) -> None:
            delta[span[0] % 2 :: 2] = 0.0

    (source,), base = make(0, 101, 1, [torch.bfloat16] * 2)
    weighted = WeightedSum(shape=(101,), terms=(Term(source=source, factor=1.0, mask=Odd()),), base=base)
    got = torch.empty(101)
    with execution(compiled=True):
        assert write(weighted, (0, 101), got)
        assert kept_magnitude(source, base, Odd(), 1.0) > 0
    assert torch.equal(got, to_tensor(weighted))


def test_numpy_adds_an_outer_axis_in_order() -> None:
    """``block_sums`` relies on it."""
    generator = np.random.default_rng(0)
    numbers = generator.standard_normal((3, 1024, 32)) * 10.0 ** generator.integers(-8, 8, (3, 1024, 32))
    expected = numbers[:, 0].copy()
    for row in range(1, 1024):
        expected = expected + numbers[:, row]
    assert np.array_equal(np.add.reduce(numbers, axis=1), expected)


@few
@given(
    st.lists(lengths, min_size=1, max_size=4),
    st.sampled_from(DTYPES),
    st.integers(1, 3),
    st.floats(0, 0.5),
    st.sampled_from([None, math.nan, math.inf]),
)
def test_rescaled_sums_are_computed_together(
    sizes: list[int], dtype: torch.dtype, threads: int, least: float, odd: float | None
) -> None:
    """Many at once, by threads, have the bits of torch one by one; one of them is not finite."""
    odds = [*[None] * (len(sizes) - 1), odd]
    given_sums = [
        rescaled_sum(n, dtype, least, key, each)
        for key, (n, each) in enumerate(zip(sizes, odds, strict=True))
    ]
    expected = [to_tensor(each).to(dtype) for each in given_sums]
    results = [
        rescaled_sum(n, dtype, least, key, each)
        for key, (n, each) in enumerate(zip(sizes, odds, strict=True))
    ]
    out = [torch.empty(n, dtype=dtype) for n in sizes]
    with execution(compiled=True, threads=threads):
        for _ in range(2):  # the second time in memory that was used
            writes = [prepare(*each) for each in zip(results, [(0, n) for n in sizes], out, strict=True)]
            assert all(pending.sums for pending in (writes if odd is None else writes[:-1]))
            finite = ParallelWrites(writes, others_alone=True).finish()
    assert finite == [bool(torch.isfinite(each).all()) for each in expected]
    for got, each in zip(out, expected, strict=True):
        assert same_bits(got[~each.isnan()], each[~each.isnan()]) and torch.equal(got.isnan(), each.isnan())


def rescaled_sum(n: int, dtype: torch.dtype, least: float, key: int, odd: float | None = None) -> RescaledSum:
    """Return a sum of two masked sources, both rescaled, and a third that is not; ``odd`` is an entry."""
    sources, base = make(key, n, 3, [dtype] * 4)
    if odd is not None:
        sources[1][-1] = odd
    ranks = np.arange(n, dtype=np.int32)[::-1].copy()
    masks = [RankedBernoulliMask(key=(key, i), ranks=ranks, least=least, step=0.5 / n) for i in range(2)]
    terms = [
        Term(source=source, factor=0.5, mask=mask)
        for source, mask in zip(sources, [*masks, None], strict=True)
    ]
    magnitudes = (magnitude(sources[0], base), magnitude(sources[1], base), None)
    return RescaledSum(
        unscaled=WeightedSum(shape=(n,), terms=tuple(terms), base=base, elect=True), magnitudes=magnitudes
    )


def test_stores_that_bypass_the_caches_start_at_a_line() -> None:
    (source,), base = make(1, 1000, 1, [torch.bfloat16] * 2)
    weighted = WeightedSum(shape=(1000,), terms=(Term(source=source, factor=0.5),), base=base)
    memory = torch.empty(1064, dtype=torch.bfloat16)
    line = next(i for i in range(32) if memory[i:].data_ptr() % 64 == 0)
    for past, start, expected in ((True, line, True), (True, line + 1, False), (False, line, False)):
        with execution(compiled=True, bypass_caches=past):
            calls = prepare(weighted, (0, 1000), memory[start : start + 1000]).calls
        assert calls is not None
        assert calls[0].arguments.words[1] == expected


@pytest.mark.parametrize("stage", ["weighted_sums", "exact_sums"])
def test_threads_stay_for_the_next_caller_but_after_an_error(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked child has its own threads."""
    from kingyo.kernels import compiled_loops

    results = [rescaled_sum(n, torch.bfloat16, 0.3, key) for key, n in enumerate((70_000, 40_000, 300_000))]

    def fill() -> list[Tensor]:
        out = [torch.empty(each.shape, dtype=torch.bfloat16) for each in results]
        with execution(compiled=True, threads=3, keep_threads=True) as here:
            pools.append(here.pool)
            pairs = zip(results, out, strict=True)
            ParallelWrites([prepare(each, (0, place.numel()), place) for each, place in pairs]).finish()
        return out

    pools: list[object] = []
    expected = fill()
    assert all(map(torch.equal, fill(), expected)) and pools[0] is pools[1]
    with monkeypatch.context() as patch:
        patch.setattr(compiled_loops, stage, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fill()
    assert all(map(torch.equal, fill(), expected)) and pools[3] is not pools[2]
    child = os.fork()
    if child == 0:
        bytes_ = zip(map(bytes_of, fill()), map(bytes_of, expected), strict=True)
        os._exit(0 if all(map(np.array_equal, *zip(*bytes_, strict=True))) else 1)  # torch's threads are gone
    assert os.waitpid(child, 0)[1] == 0


def test_callers_at_once_have_threads_of_their_own() -> None:
    weighted = rescaled_sum(300_000, torch.bfloat16, 0.3, 1)
    expected = to_tensor(weighted).bfloat16()

    def fill(_: int) -> bool:
        out = torch.empty_like(expected)
        with execution(compiled=True, threads=2):
            ParallelWrites([prepare(weighted, (0, out.numel()), out)]).finish()
        return torch.equal(out, expected)

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(fill, range(30)))
