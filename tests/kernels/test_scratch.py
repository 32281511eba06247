"""Scratch: memory is handed out once at a time, and kept within bounds."""

from __future__ import annotations

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
    scratch.give(first)
    scratch.give(second)
    assert scratch.take(8) is first
    assert scratch.take(8) is not second
