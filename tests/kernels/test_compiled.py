"""The compiled passes against the reference: the same bits, for any blend, dtype, length and thread."""

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
    whole,
)
from kingyo.kernels.measures import (
    energies,
    gram,
    kept_by_chance,
    kept_magnitude,
    largest,
    limit_of,
    magnitude,
    magnitudes_by_chance,
    most_varied,
    row_ranks,
    size_counts,
    size_order,
)
from kingyo.kernels.noise import uniform
from kingyo.kernels.passes import by_spans, compiled_passes, has_compiler, running
from kingyo.kernels.raw import bytes_of
from kingyo.kernels.work import Work, prepare, write
from tests.kernels.passes import DTYPES, blends, few, keeps, lengths, make, same_bits

pytestmark = pytest.mark.skipif(not has_compiler(), reason="numba is not installed: nothing is compiled")


@few
@given(blends(), st.sampled_from(DTYPES), st.data())
def test_blend(blend: WeightedSum, dtype: torch.dtype, data: st.DataObject) -> None:
    n = blend.n_elements
    start, stop = sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n))))
    wanted = whole(blend)[start:stop].to(dtype)
    ahead = data.draw(st.sampled_from([0, 1, 32])) + (start if data.draw(st.booleans()) else 0)
    got = torch.empty(ahead + stop - start, dtype=dtype)[ahead:]  # element 0 may be at a multiple of lines
    with running(compiled=True, past=data.draw(st.booleans())):
        finite = write(blend, (start, stop), got)
    assert same_bits(got, wanted)
    assert finite == bool(torch.isfinite(wanted).all())


@pytest.mark.parametrize("start", [0, 1, 2, 15, 16, 17])
@pytest.mark.parametrize("offset", [0, 1, 16])
def test_any_place_will_do(start: int, offset: int) -> None:
    n = 1000
    sources, base = make(0, n, 1, [torch.bfloat16] * 2)
    term = Term(source=sources[0], factor=0.5, keep=BernoulliMask(key=(1, 2), density=0.5))
    blend = WeightedSum(shape=(n,), terms=(term,), base=base)
    got = torch.empty(offset + n - start, dtype=torch.bfloat16)[offset:]
    with running(compiled=True):
        assert write(blend, (start, n), got)
    assert same_bits(got, whole(blend)[start:].bfloat16())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("elect", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float32])
def test_what_is_not_finite_is_found(
    dtype: torch.dtype, elect: bool, bad: float, stored: torch.dtype
) -> None:
    sources, base = make(0, 100, 2, [stored] * 3)
    sources[1][37] = bad
    terms = tuple(Term(source=source, factor=1.0) for source in sources)
    blend = WeightedSum(shape=(100,), terms=terms, base=base, elect=elect, normalize=elect)
    wanted, got = whole(blend).to(dtype), torch.empty(100, dtype=dtype)
    with running(compiled=True):
        finite = write(blend, (0, 100), got)
    assert finite == bool(torch.isfinite(wanted).all())
    assert torch.equal(torch.isnan(got), torch.isnan(wanted))
    assert torch.equal(got[~torch.isnan(got)], wanted[~torch.isnan(wanted)])


@few
@given(lengths, st.integers(1, 2), st.sampled_from(DTYPES), st.integers(0, 3), st.data())
def test_measures(n: int, count: int, dtype: torch.dtype, seed: int, data: st.DataObject) -> None:
    sources, base = make(seed, n, count, [dtype] * (count + 1))
    kept = data.draw(keeps(n))
    spread = Threshold(least=1e-4, before=data.draw(st.integers(0, n)))
    k = data.draw(st.integers(0, n))

    def measure() -> list[object]:
        whole_magnitude = magnitude(sources[0], base)
        return [
            gram(sources).tolist(),
            gram(sources, base).tolist(),
            whole_magnitude,
            None if kept is None else kept_magnitude(sources[0], base, kept, whole_magnitude),
            energies(sources, base, spread).tolist(),
            energies(sources, base, None).tolist(),
            largest(sources[0], base, k),
            most_varied(sources, base, k),
            size_counts(sources, base).tolist(),
            row_ranks(sources[0], base).tolist(),
            size_order(sources[0], base).tolist(),
        ]

    wanted = measure()
    for threads in (1, 2):
        with running(compiled=True, threads=threads):
            assert measure() == wanted


@few
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_ranks_of_rows(n_rows: int, width: int, seed: int) -> None:
    (source,), base = make(seed, n_rows * width, 1, [torch.bfloat16] * 2)
    source, base = source.view(n_rows, width), base.view(n_rows, width)
    wanted = row_ranks(source, base)
    sizes = (source.float() - base.float()).abs().numpy()
    order = np.argsort(sizes, axis=1, kind="stable")
    ranked = np.take_along_axis(wanted.reshape(n_rows, width), order, 1)
    assert np.array_equal(ranked, np.broadcast_to(np.arange(width), ranked.shape))
    with running(compiled=True):
        assert np.array_equal(row_ranks(source, base), wanted)


@few
@given(lengths, st.sampled_from(DTYPES), st.integers(0, 3), st.data())
def test_an_order_knows_every_limit(n: int, dtype: torch.dtype, seed: int, data: st.DataObject) -> None:
    (source,), base = make(seed, n, 1, [dtype] * 2)
    count = data.draw(st.integers(1, n))
    sizes = (source.float() - base.float()).abs()
    known = limit_of(source, base, size_order(source, base), count)
    assert torch.equal(known.excludes(sizes, 0), largest(source, base, count).excludes(sizes, 0))
    assert int((~known.excludes(sizes, 0)).sum()) == count


@few
@given(lengths, st.sampled_from(DTYPES), st.integers(0, 3), st.floats(0, 1), st.floats(-30, 30))
def test_sums_of_what_chance_keeps_are_known_for_every_density(
    n: int, dtype: torch.dtype, seed: int, density: float, power: float
) -> None:
    (source,), base = make(seed, n, 1, [dtype] * 2)
    if dtype == torch.float32:
        source, base = source * 10.0**power, base * 10.0**power
    kept, before = BernoulliMask(key=(3, seed), density=density), magnitude(source, base)
    sums = magnitudes_by_chance(source, base, kept.key, before)
    with running(compiled=True, threads=2):
        assert np.array_equal(magnitudes_by_chance(source, base, kept.key, before), sums)
    measured = kept_magnitude(source, base, kept, before)
    assert kept_by_chance(sums, kept) == measured
    exact = [
        float(size)
        for size, number in zip((source.float() - base.float()).abs(), uniform(kept.key, 0, n), strict=True)
        if number < kept.density
    ]
    assert measured == pytest.approx(math.fsum(exact), rel=1e-12, abs=n * before * 2.0**-51)


def test_many_threads_give_the_same_bits() -> None:
    n = 3_000_001
    sources, base = make(1, n, 2, [torch.bfloat16] * 3)
    with running(compiled=True):
        alone = gram(sources, base), largest(sources[0], base, n // 3), magnitude(sources[1], base)
    with running(compiled=True, threads=3):
        together = gram(sources, base), largest(sources[0], base, n // 3), magnitude(sources[1], base)
    assert np.array_equal(alone[0], together[0]) and alone[1:] == together[1:]


@pytest.mark.parametrize("compiled", [True, False])
def test_threads_run_passes_as_their_caller_does(compiled: bool) -> None:
    blend = WeightedSum(shape=(1,), terms=(Term(source=torch.zeros(1), factor=1.0),))
    with running(compiled=compiled, threads=2):
        told = by_spans(4_000_000, lambda _: (compiled_passes(blend) is not None, threading.get_ident()))
    assert {each for each, _ in told} == {compiled}
    assert len({thread for _, thread in told}) == 2 and told[0][1] == threading.get_ident()


def test_many_fillings_are_shared_between_threads() -> None:
    """Whatever the cuts, and with what the reference must do among them."""
    sizes = [1, 17, 40_000, 3, 100_000, 33_000, 5]
    worlds = [make(i, n, 2, [torch.bfloat16] * 3) for i, n in enumerate(sizes)]
    keeps_ = (
        None,
        BernoulliMask(key=(1, 2), density=0.3),
        MagnitudeMask(low=Threshold(least=0.004, before=7)),
    )
    blends_ = [
        WeightedSum(
            shape=(n,),
            terms=tuple(Term(source=each, factor=0.5, keep=keeps_[i % 3]) for each in sources),
            base=base if i != 1 else None,
            elect=i % 2 == 0,
        )
        for i, (n, (sources, base)) in enumerate(zip(sizes, worlds, strict=True))
    ]
    results: list[Tensor | WeightedSum] = [*blends_, whole(blends_[2])]
    wanted = [(each if isinstance(each, Tensor) else whole(each)).bfloat16() for each in results]
    for threads, others_alone in ((1, False), (2, False), (2, True), (3, False), (3, True)):
        got = [torch.zeros_like(each) for each in wanted]
        with running(compiled=True, threads=threads):
            fillings = [
                prepare(each, (0, place.numel()), place) for each, place in zip(results, got, strict=True)
            ]
            assert Work(fillings, others_alone=others_alone).end() == [True] * len(results)
        assert all(same_bits(a, b) for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("error", [IndexError, MemoryError])
def test_a_pass_that_fails_is_told(
    threads: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kingyo.kernels import fused

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(fused, "blends", fails)
    (source,), base = make(0, 100_000, 1, [torch.float32] * 2)
    blend = WeightedSum(shape=(100_000,), terms=(Term(source=source, factor=1.0),), base=base)
    with running(compiled=True, threads=threads):
        fillings = [prepare(blend, (0, 100_000), torch.empty(100_000))]
        with pytest.raises(error):
            Work(fillings, others_alone=threads > 1).end()


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_not_finite_among_many_is_told(threads: int) -> None:
    (source,), base = make(0, 100, 1, [torch.float32] * 2)
    bad = source.clone()
    bad[3] = float("nan")
    blends_ = [
        WeightedSum(shape=(100,), terms=(Term(source=each, factor=1.0),), base=base) for each in (source, bad)
    ]
    with running(compiled=True, threads=threads):
        fillings = [prepare(each, (0, 100), torch.empty(100)) for each in (*blends_, blends_[0])]
        assert Work(fillings).end() == [True, False, True]


def test_a_keep_of_ones_own_runs_by_the_reference() -> None:
    class Odd:
        def thin(self, delta: Tensor, span: tuple[int, int]) -> None:
            delta[span[0] % 2 :: 2] = 0.0

    (source,), base = make(0, 101, 1, [torch.bfloat16] * 2)
    blend = WeightedSum(shape=(101,), terms=(Term(source=source, factor=1.0, keep=Odd()),), base=base)
    got = torch.empty(101)
    with running(compiled=True):
        assert write(blend, (0, 101), got)
        assert kept_magnitude(source, base, Odd(), 1.0) > 0
    assert torch.equal(got, whole(blend))


def test_numpy_adds_an_outer_axis_in_order() -> None:
    """What ``block_sums`` relies on."""
    generator = np.random.default_rng(0)
    numbers = generator.standard_normal((3, 1024, 32)) * 10.0 ** generator.integers(-8, 8, (3, 1024, 32))
    wanted = numbers[:, 0].copy()
    for row in range(1, 1024):
        wanted = wanted + numbers[:, row]
    assert np.array_equal(np.add.reduce(numbers, axis=1), wanted)


@few
@given(
    st.lists(lengths, min_size=1, max_size=4),
    st.sampled_from(DTYPES),
    st.integers(1, 3),
    st.floats(0, 0.5),
    st.sampled_from([None, math.nan, math.inf]),
)
def test_drafts_are_drawn_together(
    sizes: list[int], dtype: torch.dtype, threads: int, least: float, odd: float | None
) -> None:
    """Of many tensors at once, by threads, what the reference draws one by one; one of them is broken."""
    drafts = [draft(n, dtype, least, key) for key, n in enumerate(sizes)]
    if odd is not None:
        drafts[-1].blend.terms[1].source[-1] = odd
    wanted = [whole(each).to(dtype) for each in drafts]
    results = [draft(n, dtype, least, key) for key, n in enumerate(sizes)]
    if odd is not None:
        results[-1].blend.terms[1].source[-1] = odd
    out = [torch.empty(n, dtype=dtype) for n in sizes]
    with running(compiled=True, threads=threads):
        for _ in range(2):  # the second time in memory that was used
            fillings = [prepare(*each) for each in zip(results, [(0, n) for n in sizes], out, strict=True)]
            assert all(filling.sums for filling in fillings)
            finite = Work(fillings, others_alone=True).end()
    assert finite == [bool(torch.isfinite(each).all()) for each in wanted]
    for got, each in zip(out, wanted, strict=True):
        assert same_bits(got[~each.isnan()], each[~each.isnan()]) and torch.equal(got.isnan(), each.isnan())


def draft(n: int, dtype: torch.dtype, least: float, key: int) -> RescaledSum:
    """A sum of what is kept of two sources, both scaled back, and of a third that is not."""
    sources, base = make(key, n, 3, [dtype] * 4)
    ranks = torch.arange(n, dtype=torch.int32).flip(0).contiguous()
    keeps = [RankedBernoulliMask(key=(key, i), ranks=ranks, least=least, step=0.5 / n) for i in range(2)]
    terms = [
        Term(source=source, factor=0.5, keep=keep)
        for source, keep in zip(sources, [*keeps, None], strict=True)
    ]
    wholes = (magnitude(sources[0], base), magnitude(sources[1], base), None)
    return RescaledSum(
        blend=WeightedSum(shape=(n,), terms=tuple(terms), base=base, elect=True), wholes=wholes
    )


def test_what_goes_past_the_caches_begins_at_a_line() -> None:
    (source,), base = make(1, 1000, 1, [torch.bfloat16] * 2)
    blend = WeightedSum(shape=(1000,), terms=(Term(source=source, factor=0.5),), base=base)
    memory = torch.empty(1064, dtype=torch.bfloat16)
    line = next(i for i in range(32) if memory[i:].data_ptr() % 64 == 0)
    for past, start, wanted in ((True, line, True), (True, line + 1, False), (False, line, False)):
        with running(compiled=True, past=past):
            passes = prepare(blend, (0, 1000), memory[start : start + 1000]).passes
        assert passes is not None
        assert passes[0][0].words[1] == wanted


@pytest.mark.parametrize("stage", ["blends", "exact_sums"])
def test_threads_stay_for_the_next_caller_but_after_an_error(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a child that was forked has its own."""
    from kingyo.kernels import fused

    results = [draft(n, torch.bfloat16, 0.3, key) for key, n in enumerate((70_000, 40_000, 300_000))]

    def fill() -> list[Tensor]:
        out = [torch.empty(each.shape, dtype=torch.bfloat16) for each in results]
        with running(compiled=True, threads=3, keep=True) as here:
            pools.append(here.pool)
            pairs = zip(results, out, strict=True)
            Work([prepare(each, (0, place.numel()), place) for each, place in pairs]).end()
        return out

    pools: list[object] = []
    wanted = fill()
    assert all(map(torch.equal, fill(), wanted)) and pools[0] is pools[1]
    with monkeypatch.context() as patch:
        patch.setattr(fused, stage, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fill()
    assert all(map(torch.equal, fill(), wanted)) and pools[3] is not pools[2]
    child = os.fork()
    if child == 0:
        bytes_ = zip(map(bytes_of, fill()), map(bytes_of, wanted), strict=True)
        os._exit(0 if all(map(np.array_equal, *zip(*bytes_, strict=True))) else 1)  # torch's threads are gone
    assert os.waitpid(child, 0)[1] == 0


def test_callers_at_once_have_threads_of_their_own() -> None:
    blend = draft(300_000, torch.bfloat16, 0.3, 1)
    wanted = whole(blend).bfloat16()

    def fill(_: int) -> bool:
        out = torch.empty_like(wanted)
        with running(compiled=True, threads=2):
            Work([prepare(blend, (0, out.numel()), out)]).end()
        return torch.equal(out, wanted)

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(fill, range(30)))
