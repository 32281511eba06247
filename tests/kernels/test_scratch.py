"""Scratch: memory is handed out once at a time, and kept within bounds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kingyo.kernels.scratch import Scratch


@given(st.lists(st.integers(0, 5)))
def test_what_is_in_use_is_nobody_elses(sizes: list[int]) -> None:
    scratch = Scratch(8)
    for round_ in range(2):
        taken = [scratch.take(size) for size in sizes]
        for i, array in enumerate(taken):
            array[:] = i + round_
        assert [array.tolist() for array in taken] == [[i + round_] * n for i, n in enumerate(sizes)]
        for array in taken:
            scratch.give(array)


def test_what_was_given_back_comes_again_as_long_as_there_is_room() -> None:
    scratch = Scratch(8)
    first, second = scratch.take(8), scratch.take(8)
    for _ in range(3):
        scratch.give(first)
        scratch.give(second)
        assert scratch.n_bytes == 8
        assert any(scratch.take(8) is each for each in (first, second)) and scratch.n_bytes == 0
    scratch.give(np.empty(9, dtype=np.uint8))
    assert scratch.n_bytes == 0


def test_sizes_that_are_no_longer_used_make_room() -> None:
    scratch = Scratch(8)
    scratch.give(scratch.take(8))
    other = scratch.take(6)
    scratch.give(other)
    assert scratch.take(6) is other


def test_threads_never_share_memory() -> None:
    scratch = Scratch(64)

    def use(number: int) -> bool:
        for _ in range(300):
            array = scratch.take(8)
            array[:] = number
            is_own = bool((array == number).all())
            scratch.give(array)
            if not is_own:
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(4)))
    assert scratch.n_bytes <= 64
