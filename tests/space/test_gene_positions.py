from __future__ import annotations

import pytest

from kingyo.checkpoints import Layout
from kingyo.space import group_positions
from tests.space.spaces import LAYOUT, space


@pytest.mark.parametrize("how", ["one", "kind"])
def test_groups_all_over_the_model_have_no_place(how: str) -> None:
    assert set(group_positions(LAYOUT, how).values()) == {None}
    assert {axis.place for axis in space(groups=how).axes} == {None}


def test_blocks_lie_at_their_middles_between_embedding_and_head() -> None:
    positions = group_positions(LAYOUT, "block")
    assert (positions["embedding"], positions["head"]) == (0, 1)
    assert [positions[f"block.{i}"] for i in range(12)] == pytest.approx([(i + 0.5) / 12 for i in range(12)])


def test_parts_of_a_block_share_its_place() -> None:
    positions = group_positions(LAYOUT, "block+kind")
    assert positions["block.3.attention"] == positions["block.3.mlp"] == pytest.approx(3.5 / 12)


def test_spans_lie_at_their_middles() -> None:
    assert list(group_positions(LAYOUT, "layers:3").values()) == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    assert list(group_positions(LAYOUT, "layers:1").values()) == pytest.approx([0.5])


def test_axes_carry_the_place_of_their_group() -> None:
    positions = {axis.name: axis.place for axis in space(groups="block").axes}
    assert positions["density/ja/block.11"] == pytest.approx(11.5 / 12)
    assert positions["weight/maths/head"] == 1


def test_a_model_without_blocks_has_no_places() -> None:
    assert group_positions(Layout(["a.weight", "b.weight"]), "layers:1") == {"layers.0": None}
