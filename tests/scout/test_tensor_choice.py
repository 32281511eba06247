"""Within a limit of bytes, tensors of all blocks and of all kinds are measured."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kingyo.scout.measuring import choose_tensors

KINDS = {"norm": 1, "q": 40, "k": 10, "up": 100, "down": 100}
GROUPS = {
    "embedding": ["embed"],
    **{f"block.{i}": [f"{i}.{kind}" for kind in KINDS] for i in range(32)},
    "head": ["lm_head"],
}
SIZES = {"embed": 400, "lm_head": 400} | {
    f"{i}.{kind}": size for i in range(32) for kind, size in KINDS.items()
}
ALL = sum(SIZES.values())


def chosen(limit: int) -> dict[str, str]:
    found = choose_tensors(GROUPS, SIZES, limit)
    assert sum(SIZES[name] for name in found) <= limit
    return found


def test_everything_fits() -> None:
    found = chosen(ALL)
    assert list(found) == [name for names in GROUPS.values() for name in names]
    assert found["3.up"] == "block.3"


def test_every_block_and_kind_is_there() -> None:
    for part in (0.5, 0.25):
        found = chosen(int(part * ALL))
        blocks = {group for group in found.values() if group.startswith("block")}
        kinds = Counter(name.partition(".")[2] for name in found)
        assert len(blocks) == 32 and all(kinds[kind] >= 3 for kind in KINDS), kinds
        assert sum(SIZES[name] for name in found) > 0.9 * part * ALL


def test_a_small_limit_reaches_the_ends_and_the_middle() -> None:
    found = chosen(300)
    places = sorted(
        {int(name.partition(".")[0]) for name in found if name[0].isdigit() and "norm" not in name}
    )
    assert places[0] <= 8 and places[-1] >= 16 and len(places) >= 3
    assert chosen(0) == {}


def test_tensors_without_a_size_are_left_out() -> None:
    assert choose_tensors({"a": ["x", "y"], "b": ["z"]}, {"x": 1}, 5) == {"x": "a"}


@given(st.lists(st.lists(st.integers(1, 50), max_size=4), max_size=6), st.integers(0, 200))
def test_a_choice_fits_and_covers(sizes: list[list[int]], limit: int) -> None:
    groups = {f"g{i}": [f"{i}.{j}" for j in range(len(each))] for i, each in enumerate(sizes)}
    of = {f"{i}.{j}": size for i, each in enumerate(sizes) for j, size in enumerate(each)}
    found = choose_tensors(groups, of, limit)
    assert sum(of[name] for name in found) <= limit
    assert found == choose_tensors(groups, of, limit)
    if sum(min(each) for each in sizes if each) <= limit:
        assert set(found.values()) == {group for group, names in groups.items() if names}
