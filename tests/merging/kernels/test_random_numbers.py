"""The random numbers: uniform, independent, and the same on every machine."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from kingyo.merging.kernels.masks import key_of, uniform

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
