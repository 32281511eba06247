"""Random numbers, counts of entries that vary, the cache of statistics, sums on another device."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kingyo.merging.kernels import RankedBernoulliMask, Term, WeightedSum, to_tensor
from kingyo.merging.kernels.masks import key_of, uniform
from kingyo.merging.kernels.order_statistics import count_varied
from kingyo.merging.kernels.statistics_cache import TensorStats, memory_size
from kingyo.merging.kernels.threads import execution
from kingyo.merging.kernels.writing import prepare
from tests.merging.kernels.sums import Odd, few, same_bits, weighted_sums

entries = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5])


@pytest.mark.parametrize(
    "dtypes",
    [[torch.bfloat16] * 3, [torch.float16] * 3, [torch.float32] * 3, [torch.bfloat16, torch.float32]],
)
@given(st.data())
def test_entries_vary_where_numbers_differ(dtypes: list[torch.dtype], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 50))
    numbers = [data.draw(st.lists(entries, min_size=n, max_size=n)) for _ in dtypes]
    sources = [torch.tensor(each).to(dtype) for each, dtype in zip(numbers, dtypes, strict=True)]
    assert count_varied(sources) == sum(len(set(column)) > 1 for column in zip(*numbers, strict=True))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), max_size=40), st.integers(0, 800))
def test_the_cache_keeps_its_bound(writes: list[tuple[int, int]], limit: int) -> None:
    stats = TensorStats(limit)
    for name, length in writes:
        stats.put(str(name), np.full(length, name, dtype=np.float64))
        kept = [stored for each in range(10) if (stored := stats.get(str(each))) is not None]
        assert stats.n_bytes == sum(fact.nbytes for fact in kept) <= limit
        assert stats.has_room(limit // 4) or stats.n_bytes > limit // 2
    for name in range(10):
        stored = stats.get(str(name))
        assert stored is None or set(stored.tolist()) <= {float(name)}


def test_a_container_may_have_less_than_the_machine(tmp_path: Path) -> None:
    machine_memory = memory_size([])
    assert machine_memory > 1 << 28
    for content, expected in (
        ("max\n", machine_memory),
        ("1048576\n", 1 << 20),
        (f"{2**63}\n", machine_memory),
    ):
        (tmp_path / "limit").write_text(content)
        assert memory_size([tmp_path / "absent", tmp_path / "limit"]) == expected


@few
@given(weighted_sums())
def test_a_sum_of_copies_is_the_sum(weighted: WeightedSum) -> None:
    copied: list[Tensor] = []

    def copy(tensor: Tensor) -> Tensor:
        copied.append(tensor)
        return tensor.clone()

    there = weighted.on_device(copy)
    assert there is not None
    assert same_bits(to_tensor(there), to_tensor(weighted))
    tables = sum(isinstance(term.mask, RankedBernoulliMask) for term in weighted.terms)
    assert len(copied) == len(weighted.terms) + tables + (weighted.base is not None)


def test_a_users_mask_stays_on_the_processor() -> None:
    term = Term(source=torch.ones(5), factor=1.0, mask=Odd())
    assert WeightedSum(shape=(5,), terms=(term,)).on_device(lambda tensor: tensor) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@few
@given(weighted_sums(), st.sampled_from([torch.bfloat16, torch.float16, torch.float32]))
def test_a_gpu_gives_the_bits_of_the_processor(weighted: WeightedSum, dtype: torch.dtype) -> None:
    there = weighted.on_device(lambda tensor: tensor.cuda())
    assert there is not None
    n = weighted.n_elements
    place, expected = torch.empty(n, dtype=dtype, device="cuda"), torch.empty(n, dtype=dtype)
    with execution(compiled=True):
        is_finite = prepare(there, (0, n), place).run()
        assert prepare(weighted, (0, n), expected).run() == is_finite
    assert same_bits(place.cpu(), expected)


N = 1 << 16
keys = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))


def mix(bits: int, key: tuple[int, int]) -> int:
    """The documented hash, on one Python integer."""
    bits ^= key[0]
    bits ^= bits >> 16
    bits = bits * 0x7FEB352D % 2**32 ^ key[1]
    bits ^= bits >> 15
    bits = bits * 0x846CA68B % 2**32
    return bits ^ bits >> 16


@given(keys, st.integers(0, 2**32 - 40), st.integers(0, 40))
def test_it_is_the_documented_hash(key: tuple[int, int], start: int, count: int) -> None:
    numbers = uniform(key, start, start + count)
    hashes = [mix(i // 2 % 2**32, key) for i in range(start, start + count)]
    places = range(start, start + count)
    expected = [(bits >> 16 * (i % 2)) % 2**16 / 2**16 for i, bits in zip(places, hashes, strict=True)]
    assert numbers.dtype == torch.float32
    assert numbers.tolist() == expected


def test_known_values() -> None:
    """Frozen: a change here changes every DARE merge of every user."""
    numbers = uniform(key_of(42, 1, "model.embed_tokens.weight"), 0, 4)
    assert [round(number * 2**16) for number in numbers.tolist()] == [14393, 28505, 42022, 34827]


@given(keys)
def test_uniform(key: tuple[int, int]) -> None:
    numbers = uniform(key, 0, N)
    assert float(numbers.min()) >= 0 and float(numbers.max()) < 1
    counts = torch.histc(numbers, bins=64, min=0, max=1)
    chi_square = float(((counts - N / 64) ** 2 / (N / 64)).sum())
    assert chi_square < 63 + 6.5 * math.sqrt(2 * 63), f"chi-square {chi_square:.0f} of 63 degrees of freedom"


@given(keys, st.integers(1, 1000))
def test_neighbours_are_independent(key: tuple[int, int], lag: int) -> None:
    numbers = uniform(key, 0, N + lag)
    assert abs(correlation(numbers[:N], numbers[lag:])) < 6


@given(st.integers(0, 1000), st.integers(0, 7), st.integers(0, 7))
def test_seeds_sources_and_tensors_are_independent(seed: int, a: int, b: int) -> None:
    here = uniform(key_of(seed, a, "a.weight"), 0, N)
    others = [(seed + 1, a, "a.weight"), (seed, a, "b.weight")]
    others += [(seed, b, "a.weight")] if a != b else []
    for other in others:
        assert abs(correlation(here, uniform(key_of(*other), 0, N))) < 6


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Sample correlation in units of its standard deviation under independence."""
    return float(torch.corrcoef(torch.stack([a, b]).double())[0, 1]) * math.sqrt(len(a))
