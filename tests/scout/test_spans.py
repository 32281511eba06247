"""A source has a weight in each of four spans of layers, and its change there is known."""

from __future__ import annotations

import math

import pytest

from kingyo.checkpoints import Layout
from kingyo.scout.spans import Spans
from tests.space.spaces import LAYOUT, TENSORS

VISION = [f"vision_tower.encoder.layers.{i}.attn.weight" for i in range(2)]


def spans(groups: str, whole: Layout = LAYOUT) -> Spans:
    return Spans(whole=whole, merged=LAYOUT, groups=groups)


def test_norms_of_spans() -> None:
    """Embeddings count with the first span, the head with the last."""
    squares = {"embedding": 1.0, "block.0": 3.0, "block.5": 4.0, "block.6": 9.0, "head": 16.0}
    assert spans("layers:2").norms(squares) == pytest.approx((math.sqrt(8), 5.0))
    assert spans("one").norms(squares) == pytest.approx((math.sqrt(33),))
    assert spans("layers:4").norms({}) == (0.0,) * 4


def test_parts_that_are_not_merged_do_not_count() -> None:
    whole = Layout([*TENSORS, *VISION])
    blocks = dict.fromkeys(whole.groups("block"), 1.0)
    n_language = len(LAYOUT.groups("block"))
    assert len(blocks) > n_language
    assert spans("one", whole).norms(blocks) == pytest.approx((math.sqrt(n_language),))
